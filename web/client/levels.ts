// One side of a book by level.

import { type Exponents, mantissa } from "./decimal.js";
import { BID, type Side, mix } from "./hash.js";
import type { WireLevel, WireOrder } from "./wire.js";

// A level: mantissas under the book's exponents. The count is 0 where it was not asked
// for or is not known.
export interface Level { readonly price: bigint; readonly qty: bigint; readonly count: number }

export class Levels {
  // Best first.
  levels: Level[] = [];

  constructor(readonly side: Side) {}

  // Whether a price is better than another.
  better(a: bigint, b: bigint): boolean { return this.side === BID ? a > b : a < b; }

  // Where a price is, or belongs.
  find(price: bigint): number {
    let from = 0, to = this.levels.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (this.better(this.levels[middle]!.price, price)) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  // Takes a change of a frame over. Returns what that adds to the hash.
  change(wire: WireLevel | WireOrder, x: Exponents): number {
    const level = readLevel(wire, x), i = this.find(level.price), old = this.levels[i];
    let sum = 0;
    const there = old?.price === level.price;
    if (there) sum -= mix(this.side, old.price, old.qty);
    if (level.qty !== 0n) sum += mix(this.side, level.price, level.qty);
    if (level.qty !== 0n) this.levels.splice(i, there ? 1 : 0, level);
    else if (there) this.levels.splice(i, 1);
    return sum;
  }

  // Takes what a snapshot has in place of everything. Returns its hash, and whether it
  // is in order: nothing twice, nothing empty.
  replace(wire: readonly (WireLevel | WireOrder)[], x: Exponents): { hash: number; inOrder: boolean } {
    this.levels = wire.map((w) => readLevel(w, x));
    const inOrder = this.levels.every((l, i) => {
      const before = this.levels[i - 1];
      return l.qty !== 0n && (!before || this.better(before.price, l.price));
    });
    return { hash: this.levels.reduce((sum, l) => (sum + mix(this.side, l.price, l.qty)) >>> 0, 0), inOrder };
  }

  clear(): void { this.levels = []; }
}

function readLevel([price, qty, count]: WireLevel | WireOrder, x: Exponents): Level {
  const size = mantissa(qty, x.qty);
  return { price: mantissa(price, x.price), qty: size, count: typeof count === "number" ? count : 0 };
}
