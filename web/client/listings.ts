// How the instruments of a symbol or pattern are listed.

import { type Instruments, type Listing, integer } from "./wire.js";

export class Listings {
  #of = new Map<string, Listing>();
  #whole = false;   // a list has come, or begun to
  #more = false;    // the frame before goes on in the next one
  #useless = false; // and was of no use
  #seq = -1n;

  // By symbol; ended ones are not among them. What is here may be of before while a new
  // list is awaited.
  get all(): ReadonlyMap<string, Listing> { return this.#of; }

  get whole(): boolean { return this.#whole; }

  // Moves on to a frame, by the rule of prev_seq and seq. A frame and those that it goes
  // on in count as one.
  take(f: Instruments): "applied" | "ignored" | "gap" {
    const goesOn = this.#more, seq = integer(f.seq);
    this.#more = f.more ?? false;
    if (f.snapshot) [this.#of, this.#whole] = [new Map(), true];
    else if (goesOn ? this.#useless : !this.#whole || seq <= this.#seq) {
      this.#useless = true;
      return "ignored";
    } else if (!goesOn && integer(f.prev_seq) > this.#seq) {
      this.void();
      return "gap";
    }
    [this.#useless, this.#seq] = [false, seq];
    for (const l of f.listings) {
      if (l.ended) this.#of.delete(l.symbol);
      else this.#of.set(l.symbol, l);
    }
    return "applied";
  }

  // As a keepalive does.
  advance(seq: bigint): void {
    if (seq > this.#seq) this.#seq = seq;
  }

  // Has it wait for a list.
  void(): void { [this.#whole, this.#more, this.#useless] = [false, false, true]; }
}
