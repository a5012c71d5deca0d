// One view of a symbol's book, rebuilt from the frames of its topic. It has no I/O and
// no clock.

import { type Exponents, decimal, exponents, mantissa } from "./decimal.js";
import { ASK, BID, type Side, mix } from "./hash.js";
import { type Ack, type Delta, type Keepalive, type Resume, type Snapshot, type State, type Status, type WireLevel, hex, integer, stateOf } from "./wire.js";

// What came of a frame. Applied: the book is as the frame says, and its hash was checked.
// Ignored: the book had it already, or is void. Gap: frames are missing before it.
// Mismatch: the book's hash differs from the server's. After both the book is void.
export type Outcome = "applied" | "ignored" | "gap" | "mismatch";

// A level: mantissas under the book's exponents. The count is 0 where it was not asked
// for or is not known.
export interface Level { readonly price: bigint; readonly qty: bigint; readonly count: number }

// The levels of a side, best first.
class Levels {
  levels: Level[] = [];

  constructor(private readonly side: Side) {}

  // Where a price is, or belongs.
  find(price: bigint): number {
    let from = 0, to = this.levels.length;
    while (from < to) {
      const middle = (from + to) >>> 1, at = this.levels[middle]!.price;
      if (this.side === BID ? at > price : at < price) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  // Sets or, with quantity 0, deletes a level. Returns what that adds to the hash.
  set(level: Level): number {
    const i = this.find(level.price), old = this.levels[i];
    let sum = 0;
    const there = old?.price === level.price;
    if (there) sum -= mix(this.side, old.price, old.qty);
    if (level.qty !== 0n) sum += mix(this.side, level.price, level.qty);
    if (level.qty !== 0n) this.levels.splice(i, there ? 1 : 0, level);
    else if (there) this.levels.splice(i, 1);
    return sum;
  }

  hash(): number {
    return this.levels.reduce((sum, l) => (sum + mix(this.side, l.price, l.qty)) >>> 0, 0);
  }

  // Whether the levels rise or fall as they must, none twice and none empty.
  inOrder(): boolean {
    return this.levels.every((l, i) => {
      const before = this.levels[i - 1];
      return l.qty !== 0n && (!before || (this.side === BID ? before.price > l.price : before.price < l.price));
    });
  }
}

export class Book {
  #bids = new Levels(BID);
  #asks = new Levels(ASK);

  // Invariant: while whole, #hash is the state hash of the levels, and that of the last
  // frame applied. After a mismatch it is the one that differed.
  #hash = 0;
  #whole = false;
  #epoch = "";
  #seq = -1n;
  #state: State = "recovering";
  #reason = "no_snapshot";
  #exponents: Exponents = { price: 0, qty: 0 };

  // The server's words, as of the last ack, snapshot or status.
  phase = "";
  partial = false;
  locked = false;
  crossed = false;
  indicativePrice: string | undefined;
  indicativeQty: string | undefined;

  // Best first; none while the book is void.
  get bids(): readonly Level[] { return this.#whole ? this.#bids.levels : []; }
  get asks(): readonly Level[] { return this.#whole ? this.#asks.levels : []; }
  get exponents(): Exponents { return this.#exponents; }
  get epoch(): string { return this.#epoch; }
  get seq(): bigint { return this.#seq; }
  get hash(): string { return hex(this.#hash); }

  // Whether there are levels to show. A void book has none.
  get whole(): boolean { return this.#whole; }

  // Live only while the book is whole and known to be current.
  get state(): State { return this.#whole ? this.#state : "recovering"; }

  // Why it is not live: the server's word; no_snapshot while only the snapshot is missing;
  // empty where it is stale since the link is lost.
  get reason(): string { return !this.#whole && this.#state !== "recovering" ? "no_snapshot" : this.#reason; }

  // Whether the server calls the book live: then a snapshot is due where it is not whole.
  get announced(): boolean { return this.#state === "live"; }

  // Whether there is a book that could be shown, but not here.
  get lost(): boolean { return !this.#whole && this.#state !== "recovering"; }

  price(l: Level): string { return decimal(l.price, this.#exponents.price); }
  qty(l: Level): string { return decimal(l.qty, this.#exponents.qty); }

  // Takes the grant of a topic. Unless it says that the book goes on, the book is void
  // until its snapshot. A server that is behind catches up first: till then the book is
  // what it was, and stale.
  grant(a: Ack): void {
    const behind = a.state === "stale" && a.reason === "behind";
    const granted = exponents(a.price_exponent, a.qty_exponent), mine = this.#exponents;
    const same = a.epoch === this.#epoch && granted.price === mine.price && granted.qty === mine.qty;
    if ((!a.resumed && !behind) || !same) this.void();
    this.#setState(stateOf(a.state), a.reason, a.phase);
  }

  // A frame that cannot be read leaves the book void: it is whole again only after all of
  // a frame has been applied.
  snapshot(f: Snapshot): Outcome {
    this.void();
    this.#epoch = f.epoch;
    this.#seq = integer(f.seq);
    this.#exponents = exponents(f.price_exponent, f.qty_exponent);
    this.#bids.levels = f.bids.map((l) => this.#level(l));
    this.#asks.levels = f.asks.map((l) => this.#level(l));
    this.#hash = (this.#bids.hash() + this.#asks.hash()) >>> 0;
    if (!this.#bids.inOrder() || !this.#asks.inOrder()) return this.#lose("mismatch");
    this.#whole = true;
    this.#mark(f);
    this.#setState(stateOf(f.state), f.state_reason, f.phase);
    return this.#check(f.hash);
  }

  // The client's rule: prev_seq <= mine < seq.
  delta(f: Delta): Outcome {
    const prev = integer(f.prev_seq), seq = integer(f.seq);
    if (!this.#whole || seq <= this.#seq) return "ignored";
    if (prev > this.#seq) return this.#lose("gap");
    [this.#seq, this.#whole] = [seq, false];
    for (const l of f.bids) this.#hash = (this.#hash + this.#bids.set(this.#level(l))) >>> 0;
    for (const l of f.asks) this.#hash = (this.#hash + this.#asks.set(this.#level(l))) >>> 0;
    this.#whole = true;
    return this.#check(f.hash);
  }

  // A keepalive of an earlier seq says nothing of this book.
  keepalive(f: Keepalive): Outcome {
    const seq = integer(f.seq);
    if (!this.#whole || seq < this.#seq) return "ignored";
    this.#seq = seq;
    return this.#check(f.hash);
  }

  // A void book becomes live by a snapshot only, never by a status.
  status(f: Status): void {
    this.#mark(f);
    this.#setState(stateOf(f.state), f.reason, f.phase);
  }

  // Empties the book, which then waits for a snapshot.
  void(): void {
    this.#whole = false;
    this.#bids.levels = [];
    this.#asks.levels = [];
    this.partial = this.locked = this.crossed = false;
  }

  // Marks a live book as not known to be current, until the next grant.
  stale(): void {
    if (this.#state === "live") [this.#state, this.#reason] = ["stale", ""];
  }

  // Where a resume may go on; undefined where there is nothing to go on with.
  resume(): Resume | undefined {
    return this.#whole ? { epoch: this.#epoch, seq: String(this.#seq), hash: this.hash } : undefined;
  }

  #level([price, qty, count]: WireLevel): Level {
    const size = mantissa(qty, this.#exponents.qty);
    return { price: mantissa(price, this.#exponents.price), qty: size, count: count ?? 0 };
  }

  #mark(f: Snapshot | Status): void {
    this.partial = f.partial ?? false;
    this.locked = f.locked ?? false;
    this.crossed = f.crossed ?? false;
    this.indicativePrice = f.indicative_price;
    this.indicativeQty = f.indicative_qty;
  }

  #setState(state: State, reason: string | undefined, phase: string | undefined): void {
    [this.#state, this.#reason, this.phase] = [state, reason ?? "", phase ?? ""];
    if (state === "recovering") this.void();
  }

  #check(hash: string): Outcome {
    return this.hash === hash ? "applied" : this.#lose("mismatch");
  }

  #lose(why: "gap" | "mismatch"): Outcome {
    this.void();
    return why;
  }
}
