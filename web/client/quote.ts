// The ticker of one symbol.

import { type Resume, type Ticker, integer } from "./wire.js";

export class Quote {
  #ticker: Ticker | null = null;
  #anew = false; // the next one replaces it, whatever its seq
  #epoch = "";
  #seq = -1n;

  // The newest one; null: not known. What it leaves out is not known either.
  get ticker(): Ticker | null { return this.#ticker; }

  // Moves on to a ticker; false where it is not newer.
  take(f: Ticker): boolean {
    const seq = integer(f.seq);
    if (this.#ticker && !this.#anew && seq < this.#seq) return false;
    [this.#ticker, this.#anew, this.#seq] = [f, false, seq];
    return true;
  }

  // Takes an ack or a snapshot: the ticker that follows counts. What is known is kept
  // until then, if it is of the same history.
  replace(epoch: string): void {
    if (epoch !== this.#epoch) this.#ticker = null;
    [this.#anew, this.#epoch] = [true, epoch];
  }

  // As a keepalive does.
  advance(seq: bigint): void {
    if (seq > this.#seq) this.#seq = seq;
  }

  // Takes away what is not known while the book is recovering.
  void(): void {
    if (!this.#ticker) return;
    const { bid: _b, bid_qty: _bq, ask: _a, ask_qty: _aq, ...rest } = this.#ticker;
    this.#ticker = rest;
  }

  resume(): Resume | undefined {
    return this.#ticker ? { epoch: this.#epoch, seq: String(this.#seq) } : undefined;
  }
}
