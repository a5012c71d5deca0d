// One item of a client, and what is known of it.

import { Book } from "./book.js";
import type { Event } from "./event.js";
import { type Item, type View, isPattern, isWildcard, sameView } from "./item.js";
import { Listings } from "./listings.js";
import { BookByOrder } from "./orders.js";
import { Brought } from "./pattern.js";
import { Quote } from "./quote.js";
import { Tape } from "./tape.js";
import { type Ack, type Channel, type State, type SubscribeItem, type TopicFrame, ProtocolError, integer, stateOf } from "./wire.js";

// waiting ──(asked for)──> asked ──(ack)──> granted ──(ended, refused, final status)──> ended;
// a lost link, and a refusal that is not for good, lead back to waiting.
export type Standing = "waiting" | "asked" | "granted" | "ended";

// What became of a frame: what to tell, and why a book is void.
export interface Taken { event?: Event; lost?: "gap" | "mismatch" }

// A subscription with what its channel has.
export type Followed<C extends Channel> = Subscription & (
  C extends "book" ? { readonly book: Book } : C extends "orders" ? { readonly book: BookByOrder } :
  C extends "trades" ? { readonly tape: Tape } : C extends "ticker" ? { readonly quote: Quote } : { readonly listings: Listings });

export class Subscription {
  readonly channel: Channel;
  readonly book: Book | null;         // of the channel book; a BookByOrder of orders
  readonly tape: Tape | null;         // of the channel trades
  readonly quote: Quote | null;       // of the channel ticker
  readonly listings: Listings | null; // of the channel instruments
  readonly pattern: Brought | null;   // of a pattern in the other channels, which has none of the above

  // As granted; null before.
  ack: Ack | null = null;

  // Why it has ended; empty where the user ended it, or it has not.
  why = "";

  // Owned by the client and its link.
  standing: Standing = "waiting";
  leaving = false;           // the user wants it ended, and the server cannot be told yet
  due = 0;                   // waiting: not to be asked for before; granted: the snapshot is to be asked for at that
                             // time. 0: nothing is due
  attempts = 0;              // how often the snapshot of the present loss was asked for
  request = 0;               // id of the request that did so last
  wish: Item | null = null;  // what it is to become, and was not asked for yet
  before: Item | null = null; // what it was, until the server has granted what it is to become
  changing = false;          // the server was asked to change it in place, and has not answered
  byPattern = false;         // the server ends it with its pattern

  #item: Item;
  #state: State = "recovering";
  #reason = "";
  #phase = "";

  // broughtBy is the pattern that has brought it, if one has.
  constructor(item: Item, readonly broughtBy: Subscription | null = null) {
    this.#item = item;
    const c = this.channel = item.channel ?? "book";
    if (item.symbol === "") throw new RangeError("an item without a symbol");
    this.pattern = isWildcard(item) ? new Brought() : null;
    this.book = this.pattern ? null : c === "book" ? new Book() : c === "orders" ? new BookByOrder() : null;
    this.tape = !this.pattern && c === "trades" ? new Tape() : null;
    this.quote = !this.pattern && c === "ticker" ? new Quote() : null;
    this.listings = c === "instruments" ? new Listings() : null;
  }

  // What was asked for, as last changed.
  get item(): Item { return this.#item; }

  // Of a pattern: what it has brought, by symbol.
  get brought(): ReadonlyMap<string, Subscription> { return this.pattern?.subs ?? new Map(); }

  // Whether it is to be asked for by its name: no pattern brings it, or not so.
  get byName(): boolean { return !this.broughtBy || this.broughtBy.ended || !sameView(this.#item, this.broughtBy.item); }

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

  // Whether there is nothing to show, though the server has called it live.
  get awaits(): boolean { return this.book ? this.book.announced && !this.book.whole : this.listings ? !this.listings.whole : false; }

  // The item as sent, with what a resume needs.
  wanted(): SubscribeItem {
    const { symbol, depth, group, counts, intervalMs, policy, last } = this.#item;
    const resume = (this.book ?? this.tape ?? this.quote)?.resume();
    return {
      symbol, channel: this.channel, ...(depth && { depth }), ...(group && { group }), ...(counts && { counts }),
      ...(intervalMs && { interval_ms: intervalMs }), ...(policy && { policy }), ...(last && { last }), ...(resume && { resume }),
    };
  }

  // Notes what the user wants it to become: at once where nothing was asked of the server
  // yet, else the link takes it from here.
  change(view: View): void {
    const item = { ...(this.wish ?? this.#item), ...view };
    if (this.standing === "waiting") this.become(item);
    else this.wish = item;
  }

  // Makes it another view, until it is granted or reverted.
  become(item: Item): void {
    this.before ??= this.#item;
    [this.#item, this.wish] = [item, null];
  }

  // Makes it what it was.
  revert(): void {
    if (!this.before) return;
    [this.#item, this.before, this.changing] = [this.before, null, false];
  }

  grant(f: Ack): void {
    [this.ack, this.standing, this.due, this.attempts, this.before, this.changing] = [f, "granted", 0, 0, null, false];
    this.book?.grant(f);
    this.tape?.begin(f.epoch);
    this.quote?.replace(f.epoch);
    if (!f.resumed) this.listings?.void(); // the list follows
    this.#mark(f.state, f.reason, f.phase);
  }

  // Takes the ack of a topic that goes on as it is, but for how it comes.
  adjust(f: Ack): void { [this.ack, this.before, this.changing] = [f, null, false]; }

  take(f: TopicFrame): Taken {
    if (f.type === "status") return this.#status(f);
    if (this.book) return this.#takeBook(this.book, f);
    if (f.type === "snapshot") return this.#anew(f);
    if (this.tape && f.type === "trades") {
      const news = this.tape.take(f);
      return news ? { event: { type: "traded", sub: this, news } } : {};
    }
    if (this.listings && f.type === "instruments") return this.#list(this.listings, f);
    if (this.quote && f.type === "ticker") return this.quote.take(f) ? { event: { type: "ticker", sub: this, ticker: f } } : {};
    if (f.type !== "keepalive") throw new ProtocolError(`${f.type} in the channel ${this.channel}`);
    (this.tape ?? this.quote ?? this.listings)?.advance(integer(f.seq));
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
      case "orders":
        if ((f.type === "orders") !== (this.channel === "orders")) throw new ProtocolError(`${f.type} in the channel ${this.channel}`);
        outcome = book.delta(f);
        event = { type: "changed", sub: this, delta: f };
        break;
      case "keepalive":
        outcome = book.keepalive(f);
        event = { type: "alive", sub: this, keepalive: f };
        break;
      default:
        throw new ProtocolError(`${f.type} in the channel ${this.channel}`);
    }
    if (outcome === "applied") return { event };
    return outcome === "ignored" ? {} : { lost: outcome };
  }

  #list(listings: Listings, f: Extract<TopicFrame, { type: "instruments" }>): Taken {
    const outcome = listings.take(f);
    if (outcome === "ignored") return {};
    if (outcome === "gap") return { lost: outcome };
    if (f.snapshot) [this.due, this.attempts] = [0, 0];
    return { event: { type: "listed", sub: this, instruments: f } };
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

  // A snapshot without levels begins trades, a ticker or listings anew. Of a pattern it
  // has no state to tell.
  #anew(f: Extract<TopicFrame, { type: "snapshot" }>): Taken {
    this.tape?.replace(f.epoch, integer(f.seq));
    this.quote?.replace(f.epoch);
    if (isPattern(this.#item.symbol)) return {};
    this.#mark(f.state, f.state_reason, f.phase);
    return { event: { type: "status", sub: this, final: false } };
  }

  #mark(state: string | undefined, reason: string | undefined, phase: string | undefined): void {
    [this.#state, this.#reason, this.#phase] = [stateOf(state), reason ?? "", phase ?? ""];
  }

  // The link is lost: back to the beginning, with what a resume needs.
  disconnect(): void {
    [this.due, this.attempts, this.request, this.changing, this.byPattern] = [0, 0, 0, false, false];
    if (this.wish) this.become(this.wish); // it is asked for so from the beginning
    if (this.pattern) this.pattern.told = "";
    this.#stale();
    if (this.leaving) this.end("");
    if (!this.ended) this.standing = "waiting";
  }

  // Final.
  end(why: string): void {
    const symbol = this.#item.symbol, brought = this.broughtBy?.pattern?.subs;
    if (brought?.get(symbol) === this) brought.delete(symbol);
    [this.standing, this.due, this.leaving, this.why] = ["ended", 0, false, why];
    this.#stale();
  }

  #stale(): void {
    this.book?.stale();
    if (this.#state === "live") [this.#state, this.#reason] = ["stale", ""];
  }
}
