// One item of a client, and what is known of it.

import { Book } from "./book.js";
import type { Event } from "./event.js";
import { Quote } from "./quote.js";
import { Tape } from "./tape.js";
import { type Ack, type Channel, type Policy, type State, type SubscribeItem, type TopicFrame, ProtocolError, integer, stateOf } from "./wire.js";

// What to follow. The server may grant more levels or a longer interval than asked.
export interface Item {
  readonly symbol: string;
  readonly channel?: Channel;    // book where it is not given
  readonly depth?: number;       // levels a side; 0 or not given: all
  readonly group?: string;       // sum levels over this price increment
  readonly counts?: boolean;     // order counts of levels
  readonly intervalMs?: number;  // least time between deltas; 0 or not given: every change
  readonly policy?: Policy;      // towards a client that reads slowly; conflate where it is not given
  readonly last?: number;        // trades: how many past ones to begin with
}

// waiting ──(asked for)──> asked ──(ack)──> granted ──(ended, refused, final status)──> ended;
// a lost link, and a refusal that is not for good, lead back to waiting.
export type Standing = "waiting" | "asked" | "granted" | "ended";

// What became of a frame: what to tell, and why a book is void.
export interface Taken { event?: Event; lost?: "gap" | "mismatch" }

export class Subscription {
  readonly channel: Channel;
  readonly book: Book | null;   // of the channel book
  readonly tape: Tape | null;   // of the channel trades
  readonly quote: Quote | null; // of the channel ticker

  // As granted; null before.
  ack: Ack | null = null;

  // Why it has ended; empty where the user ended it, or it has not.
  why = "";

  // Owned by the client and its link.
  standing: Standing = "waiting";
  leaving = false; // the user wants it ended, and the server cannot be told yet
  due = 0;         // waiting: not to be asked for before; asked: to be answered by; granted: the snapshot
                   // is to be asked for at that time. 0: nothing is due
  attempts = 0;    // how often the snapshot of the present loss was asked for
  request = 0;     // id of the request that did so last

  #state: State = "recovering";
  #reason = "";
  #phase = "";

  constructor(readonly item: Item) {
    this.channel = item.channel ?? "book";
    if (item.symbol === "" || item.symbol.endsWith("*")) throw new RangeError(`${JSON.stringify(item.symbol)} is no symbol`);
    this.book = this.channel === "book" ? new Book() : null;
    this.tape = this.channel === "trades" ? new Tape() : null;
    this.quote = this.channel === "ticker" ? new Quote() : null;
  }

  // State of the symbol's book, and of ours where we have one: show what is live, mark what
  // is stale, show nothing of what is recovering. Stale without a reason: the link is lost.
  get state(): State { return this.book?.state ?? this.#state; }
  get reason(): string { return this.book?.reason ?? this.#reason; }
  get phase(): string { return this.#phase; }

  // The view reaches further than the source tells.
  get partial(): boolean { return this.book?.partial ?? false; }

  // The topic is late by so much, on purpose; 0: it is not.
  get delayMs(): number { return this.ack?.delay_ms ?? 0; }

  get ended(): boolean { return this.standing === "ended"; }

  // The item as sent, with what a resume needs.
  wanted(): SubscribeItem {
    const { symbol, depth, group, counts, intervalMs, policy, last } = this.item;
    const resume = (this.book ?? this.tape ?? this.quote)?.resume();
    return {
      symbol, channel: this.channel, ...(depth && { depth }), ...(group && { group }), ...(counts && { counts }),
      ...(intervalMs && { interval_ms: intervalMs }), ...(policy && { policy }), ...(last && { last }), ...(resume && { resume }),
    };
  }

  grant(f: Ack): void {
    [this.ack, this.standing, this.due, this.attempts] = [f, "granted", 0, 0];
    this.book?.grant(f);
    this.tape?.begin(f.epoch);
    this.quote?.replace(f.epoch);
    this.#mark(f.state, f.reason, f.phase);
  }

  take(f: TopicFrame): Taken {
    if (f.type === "status") return this.#status(f);
    if (this.book) return this.#takeBook(this.book, f);
    if (f.type === "snapshot") return this.#anew(f);
    if (this.tape && f.type === "trades") {
      const news = this.tape.take(f);
      return news ? { event: { type: "traded", sub: this, news } } : {};
    }
    if (this.quote && f.type === "ticker") return this.quote.take(f) ? { event: { type: "ticker", sub: this, ticker: f } } : {};
    if (f.type !== "keepalive") throw new ProtocolError(`${f.type} in the channel ${this.channel}`);
    (this.tape ?? this.quote)?.advance(integer(f.seq));
    return { event: { type: "alive", sub: this, keepalive: f } };
  }

  #takeBook(book: Book, f: Exclude<TopicFrame, { type: "status" }>): Taken {
    let event: Event, outcome;
    switch (f.type) {
      case "snapshot":
        outcome = book.snapshot(f);
        this.#mark(f.state, f.state_reason, f.phase);
        if (outcome === "applied") [this.due, this.attempts] = [0, 0];
        event = { type: "set", sub: this, snapshot: f };
        break;
      case "delta":
        outcome = book.delta(f);
        event = { type: "changed", sub: this, delta: f };
        break;
      case "keepalive":
        outcome = book.keepalive(f);
        event = { type: "alive", sub: this, keepalive: f };
        break;
      default:
        throw new ProtocolError(`${f.type} in the channel book`);
    }
    if (outcome === "applied") return { event };
    return outcome === "ignored" ? {} : { lost: outcome };
  }

  #status(f: Extract<TopicFrame, { type: "status" }>): Taken {
    this.#mark(f.state, f.reason, f.phase);
    this.book?.status(f);
    // The snapshot comes when the book has recovered, however long that takes.
    if (this.#state === "recovering") {
      [this.due, this.attempts] = [0, 0];
      this.quote?.void();
    }
    if (f.final) this.end(f.reason ?? "ended");
    return { event: { type: "status", sub: this, final: f.final ?? false, ...(f.new_symbol && { newSymbol: f.new_symbol }) } };
  }

  // A snapshot without levels begins trades or a ticker anew.
  #anew(f: Extract<TopicFrame, { type: "snapshot" }>): Taken {
    this.tape?.replace(f.epoch, integer(f.seq));
    this.quote?.replace(f.epoch);
    this.#mark(f.state, f.state_reason, f.phase);
    return { event: { type: "status", sub: this, final: false } };
  }

  #mark(state: string | undefined, reason: string | undefined, phase: string | undefined): void {
    [this.#state, this.#reason, this.#phase] = [stateOf(state), reason ?? "", phase ?? ""];
  }

  // The link is lost: back to the beginning, with what a resume needs.
  disconnect(): void {
    [this.due, this.attempts, this.request] = [0, 0, 0];
    this.#stale();
    if (this.leaving) this.end("");
    if (!this.ended) this.standing = "waiting";
  }

  // Final.
  end(why: string): void {
    [this.standing, this.due, this.leaving, this.why] = ["ended", 0, false, why];
    this.#stale();
  }

  #stale(): void {
    this.book?.stale();
    if (this.#state === "live") [this.#state, this.#reason] = ["stale", ""];
  }
}
