// Books by order: those of the channel orders.

import { Book } from "./book.js";
import { type Exponents, mantissa } from "./decimal.js";
import { ASK, BID, type Side, mixOrder } from "./hash.js";
import { Levels } from "./levels.js";
import { ProtocolError, type WireLevel, type WireOrder, integer } from "./wire.js";

// An order: mantissas under the book's exponents. Of two at one price that with the lower
// rank (rankSeq, then rankIndex) is served first.
export interface Order {
  readonly id: bigint; readonly price: bigint; readonly qty: bigint;
  readonly rankSeq: bigint; readonly rankIndex: number;
}

// A book whose levels are those of its orders, with their number as count.
export class BookByOrder extends Book {
  readonly #bids: Queues;
  readonly #asks: Queues;

  constructor() {
    const bids = new Queues(BID), asks = new Queues(ASK);
    super(bids, asks);
    [this.#bids, this.#asks] = [bids, asks];
  }

  // The orders of a side, best level first, and of a level in the order in which they
  // are served; none while the book is void.
  *orders(side: Side): Generator<Order> {
    for (const l of side === BID ? this.bids : this.asks) yield* this.queue(side, l.price);
  }

  // The orders at a price, the one that is served first in front.
  queue(side: Side, price: bigint): readonly Order[] { return (this.whole && this.#side(side).byPrice.get(price)) || []; }

  // An order that the book shows.
  order(id: bigint): (Order & { readonly side: Side }) | undefined {
    for (const side of [BID, ASK]) {
      const o = this.whole ? this.#side(side).byID.get(id) : undefined;
      if (o) return { ...o, side };
    }
    return undefined;
  }

  // What is served before an order at its price; undefined where the book does not show it.
  ahead(id: bigint): { orders: number; qty: bigint } | undefined {
    const o = this.order(id);
    if (!o) return undefined;
    const before = this.queue(o.side, o.price).filter((other) => compare(other, o) < 0);
    return { orders: before.length, qty: before.reduce((sum, other) => sum + other.qty, 0n) };
  }

  #side(side: Side): Queues { return side === BID ? this.#bids : this.#asks; }
}

// One side.
//
// Invariant: byPrice has the orders of byID, at each price by rank, and there is a level
// for each price, of their quantity and number.
class Queues extends Levels {
  readonly byID = new Map<bigint, Order>();
  readonly byPrice = new Map<bigint, Order[]>();

  override change(wire: WireLevel | WireOrder, x: Exponents): number {
    const o = readOrder(wire, x), old = this.byID.get(o.id);
    if (old) this.#take(old);
    if (o.qty !== 0n) this.#put(o);
    return mixOrder(this.side, o) - (old ? mixOrder(this.side, old) : 0);
  }

  override replace(wire: readonly (WireLevel | WireOrder)[], x: Exponents): { hash: number; inOrder: boolean } {
    this.clear();
    let hash = 0, inOrder = true, before: Order | undefined;
    for (const w of wire) {
      const o = readOrder(w, x);
      const follows = !before || (o.price === before.price ? compare(before, o) < 0 : this.better(before.price, o.price));
      inOrder &&= follows && o.qty > 0n && !this.byID.has(o.id);
      if (inOrder) this.#put(o);
      hash = (hash + mixOrder(this.side, o)) >>> 0;
      before = o;
    }
    return { hash, inOrder };
  }

  override clear(): void {
    super.clear();
    this.byID.clear();
    this.byPrice.clear();
  }

  // Takes an order away, and its level with the last one.
  #take(o: Order): void {
    const queue = this.byPrice.get(o.price)!, at = this.find(o.price), level = this.levels[at]!;
    this.byID.delete(o.id);
    queue.splice(place(queue, o), 1);
    if (queue.length > 0) {
      this.levels[at] = { ...level, qty: level.qty - o.qty, count: queue.length };
      return;
    }
    this.byPrice.delete(o.price);
    this.levels.splice(at, 1);
  }

  // Takes in an order that is not there.
  #put(o: Order): void {
    const queue = this.byPrice.get(o.price) ?? [], at = this.find(o.price), level = this.levels[at];
    queue.splice(place(queue, o), 0, o);
    this.byID.set(o.id, o);
    this.byPrice.set(o.price, queue);
    const there = level?.price === o.price;
    this.levels.splice(at, there ? 1 : 0, { price: o.price, qty: o.qty + (there ? level.qty : 0n), count: queue.length });
  }
}

// In the order in which they are served; identifiers decide where ranks do not.
function compare(a: Order, b: Order): number {
  if (a.rankSeq !== b.rankSeq) return a.rankSeq < b.rankSeq ? -1 : 1;
  if (a.rankIndex !== b.rankIndex) return a.rankIndex - b.rankIndex;
  return a.id === b.id ? 0 : a.id < b.id ? -1 : 1;
}

// Where an order is in a queue, or belongs.
function place(queue: readonly Order[], o: Order): number {
  let from = 0, to = queue.length;
  while (from < to) {
    const middle = (from + to) >>> 1;
    if (compare(queue[middle]!, o) < 0) from = middle + 1;
    else to = middle;
  }
  return from;
}

function readOrder(wire: WireLevel | WireOrder, x: Exponents): Order {
  const [id, price, qty, rankSeq, rankIndex] = wire as WireOrder;
  if (!Number.isInteger(rankIndex) || rankIndex < 0 || rankIndex >= 2 ** 32) throw new ProtocolError(`${String(rankIndex)} is no rank`);
  return { id: integer(id), price: mantissa(price, x.price), qty: mantissa(qty, x.qty), rankSeq: integer(rankSeq), rankIndex };
}
