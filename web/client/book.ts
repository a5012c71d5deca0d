// One view of a symbol's book, rebuilt from the frames of its topic. It has no I/O and
// no clock.

import { type Exponents, decimal, exponents } from "./decimal.js";
import { ASK, BID } from "./hash.js";
import { type Level, Levels } from "./levels.js";
import { type Ack, type Delta, type Keepalive, type OrdersDelta, type Resume, type Snapshot, type State, type Status, hex, integer, stateOf } from "./wire.js";

// What came of a frame. Applied: the book is as the frame says, and its hash was checked.
// Ignored: the book had it already, or is void. Gap: frames are missing before it.
// Mismatch: the book's hash differs from the server's. After both the book is void.
export type Outcome = "applied" | "ignored" | "gap" | "mismatch";

// By level; see BookByOrder for those by order.
export class Book {
  readonly #bids: Levels;
  readonly #asks: Levels;

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

  constructor(bids = new Levels(BID), asks = new Levels(ASK)) {
    [this.#bids, this.#asks] = [bids, asks];
  }

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
    // One of the two is empty: a view is by level or by order.
    const bids = this.#bids.replace([...f.bids, ...f.bid_orders ?? []], this.#exponents);
    const asks = this.#asks.replace([...f.asks, ...f.ask_orders ?? []], this.#exponents);
    this.#hash = (bids.hash + asks.hash) >>> 0;
    if (!bids.inOrder || !asks.inOrder) return this.#lose("mismatch");
    this.#whole = true;
    this.#mark(f);
    this.#setState(stateOf(f.state), f.state_reason, f.phase);
    return this.#check(f.hash);
  }

  // The client's rule: prev_seq <= mine < seq.
  delta(f: Delta | OrdersDelta): Outcome {
    const prev = integer(f.prev_seq), seq = integer(f.seq);
    if (!this.#whole || seq <= this.#seq) return "ignored";
    if (prev > this.#seq) return this.#lose("gap");
    [this.#seq, this.#whole] = [seq, false];
    for (const l of f.bids) this.#hash = (this.#hash + this.#bids.change(l, this.#exponents)) >>> 0;
    for (const l of f.asks) this.#hash = (this.#hash + this.#asks.change(l, this.#exponents)) >>> 0;
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
    this.#bids.clear();
    this.#asks.clear();
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
