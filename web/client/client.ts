// A client of a depthcast server: it keeps one link up, of the best kind that comes through
// here, and the subscriptions on it.

import type { Event, LinkState } from "./event.js";
import { carryEvents } from "./events.js";
import { Follower } from "./follower.js";
import { reachable } from "./http.js";
import { type Item, type View, isWildcard } from "./item.js";
import { type Host, KINDS, type Kind, type Link, type Loss, type Settings, lossOf } from "./link.js";
import { Memory, type Storage } from "./memory.js";
import { carryPolls } from "./poll.js";
import { ResumeTokens } from "./resume.js";
import { SocketLink } from "./socket.js";
import { StreamLink } from "./streams.js";
import { type Followed, Subscription } from "./subscription.js";
import { Token } from "./token.js";
import type { Channel, Hello } from "./wire.js";

// Only `on` is needed in a page of the server's own.
export interface Config extends Partial<Settings> {
  // Hears of everything, in order. What it throws is reported and harms nothing here.
  readonly on: (event: Event) => void;
  // The server: https://HOST/. The page's own where it is not given.
  readonly url?: string;
  // The token to show; asked for before each link, and when one is about to end.
  readonly token?: () => string | Promise<string>;
  // Where blocked kinds are remembered: localStorage where it is not given. null: nowhere.
  readonly storage?: Storage | null;
  // First and longest wait before connecting anew, in ms: 250 and 15,000.
  readonly backoffMs?: readonly [number, number];
}

const TICK_MS = 250;
const LASTING_MS = 60_000; // after which a link that was held back before counts as one that is not

export class Client extends Follower implements Host {
  readonly settings: Settings;
  readonly tokens = new ResumeTokens();
  readonly memory: Memory;
  #token: Token;
  #backoff: readonly [number, number];
  #attempts = 0;             // that failed in a row
  #link: Link | null = null;
  #rival: Link | null = null; // of a better kind, tried beside the link
  #upAt = 0;                 // since when the link comes through; 0: it does not
  #proven: Kind | null = null; // came through last, and did not fail since
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ticker: ReturnType<typeof setInterval> | undefined;
  #state: LinkState;
  #hello: Hello | null = null;
  #closed = false;

  constructor(private readonly config: Config) {
    super();
    const { openMs = 5000, answerMs = 10_000, resyncMs = 5000, pingMs = 15_000, pongMs = 10_000 } = config;
    const { silenceMs = 45_000, lateMs = 5000, pollMs = 250 } = config;
    const { WebSocket = globalThis.WebSocket, fetch = globalThis.fetch.bind(globalThis) } = config;
    this.settings = { openMs, answerMs, resyncMs, pingMs, pongMs, silenceMs, lateMs, pollMs, WebSocket, fetch };
    this.#backoff = config.backoffMs ?? [250, 15_000];
    this.#token = new Token(config.token);
    this.memory = new Memory(config.storage === undefined ? localStorageIfAny() : config.storage, () => this.now());
    this.#state = { kind: this.memory.best(), connected: false, why: "", retryInMs: 0 };
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#connect();
  }

  get link(): LinkState { return this.#state; }

  // What the server said when the link came up; null: nothing yet, or the link is of polls.
  get greeting(): Hello | null { return this.#hello; }

  // Follows an item from now on. A connection has one topic of a view: follow the same one
  // twice, and the second is refused.
  subscribe<C extends Channel = "book">(item: Item & { readonly channel?: C }): Followed<C> {
    if (isWildcard(item)) throw new RangeError(`${item.symbol} is a pattern: see subscribeAll`);
    return this.#follow(item) as Followed<C>;
  }

  // Follows every symbol that matches a pattern (* or SIM:*), also those that are listed
  // later: each gets a subscription of its own, told by granted, whose broughtBy is this one.
  // Of instruments a pattern is an item like any other, and one topic.
  subscribeAll(item: Item): Subscription {
    if (!isWildcard(item)) throw new RangeError(`${item.symbol} is no pattern: see subscribe`);
    return this.#follow(item);
  }

  #follow(item: Item): Subscription {
    const sub = new Subscription(item);
    this.followed.push(sub);
    this.update();
    return sub;
  }

  // Makes a subscription another view, or has it come at another interval or by another
  // policy, in place; what view leaves out stays. The answer is granted, after which another
  // view begins with a snapshot, or refused, and then it goes on as it was.
  modify(sub: Subscription, view: View): void {
    if (sub.pattern) throw new RangeError("a pattern cannot be modified, what it has brought can");
    const { depth, group, counts, intervalMs, policy } = view;
    sub.change({
      ...(depth !== undefined && { depth }), ...(group !== undefined && { group }), ...(counts !== undefined && { counts }),
      ...(intervalMs !== undefined && { intervalMs }), ...(policy !== undefined && { policy }),
    });
    this.update();
  }

  // Ends one; a pattern with all that it has brought. Nothing more is told of it. What a
  // pattern has brought is not brought again.
  unsubscribe(sub: Subscription): void {
    if (sub.ended) return;
    sub.leaving = true;
    sub.broughtBy?.pattern?.declined.add(sub.item.symbol);
    for (const b of sub.brought.values()) b.leaving = true;
    this.update();
  }

  // Ends the client.
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#ticker);
    this.#rival?.close();
    this.#link?.close();
    this.#link = this.#rival = null;
    for (const sub of this.followed) sub.disconnect();
  }

  protected update(): void { queueMicrotask(() => this.#link?.update()); }
  protected ask(sub: Subscription, cause: "gap" | "mismatch"): void { this.#link?.resync(sub, cause); }

  // Host.

  now(): number { return Date.now(); }
  url(path: string): URL { return new URL(path, this.config.url ?? globalThis.location.origin); }
  token(): Promise<string | undefined> { return this.#token.present(); }
  renewToken(): Promise<string | undefined> {
    this.#token.renew();
    return this.#token.present();
  }

  heard(link: Link): void {
    this.memory.worked(link.kind);
    if (link === this.#rival) {
      this.#link?.close();
      [this.#link, this.#rival] = [link, null];
      for (const sub of this.followed) sub.disconnect();
      link.update();
    }
    [this.#upAt, this.#proven] = [this.now(), link.kind];
    this.#say({ kind: link.kind, connected: true, why: "", retryInMs: 0 });
  }

  hello(link: Link, f: Hello): void {
    if (link === this.#link) this.#hello = f;
  }

  lost(link: Link, loss: Loss): void {
    if (link === this.#rival) {
      this.#rival = null;
      return this.memory.failed(link.kind);
    }
    if (link !== this.#link) return;
    const heard = this.#upAt > 0;
    if (this.now() - this.#upAt >= this.#backoff[1] && heard) this.#attempts = 0;
    this.#drop();
    if (loss.token && this.#token.refuse()) return this.#retry(loss.why, this.#wait(loss));
    if (loss.ours && loss.retry === "never") return this.#say({ ...this.#state, connected: false, why: loss.why, retryInMs: -1 });
    const doubtful = loss.held || !heard && !loss.ours;
    if (doubtful && link.kind !== "poll") return void this.#probe(link.kind, loss);
    this.#retry(loss.why, this.#wait(loss));
  }

  // Finds out why a link did not come up: whether the server can be reached at all. Then its
  // kind does not come through here, and the next one is tried at once; but for a kind that
  // has come through before: the server may have been away a moment ago, so it is tried
  // once more, unless it was held back.
  async #probe(kind: Kind, loss: Loss): Promise<void> {
    this.#say({ ...this.#state, connected: false, why: loss.why, retryInMs: 0 });
    let there = false;
    try {
      there = await reachable(this);
    } catch (e) {
      loss = lossOf(e);
    }
    if (this.#closed) return;
    if (loss.token && this.#token.refuse()) return this.#retry(loss.why, this.#wait(loss));
    if (loss.ours && loss.retry === "never") return this.#say({ ...this.#state, why: loss.why, retryInMs: -1 });
    const blocked = there && (loss.held || this.#proven !== kind);
    if (there) this.#proven = null;
    if (blocked) this.memory.failed(kind, loss.held);
    this.#retry(loss.why, blocked ? 0 : this.#wait(loss));
  }

  // Between half and all of the first wait * 2^attempts, and no less than was asked for.
  #wait(loss: Loss): number {
    if (loss.planned) return loss.waitMs ?? 0;
    const [first, most] = this.#backoff, wait = Math.min(most, first * 2 ** this.#attempts++);
    return Math.max(wait / 2 + Math.random() * wait / 2, loss.waitMs ?? 0);
  }

  #retry(why: string, retryInMs: number): void {
    this.#say({ kind: this.memory.best(), connected: false, why, retryInMs });
    this.#timer = setTimeout(() => this.#connect(), retryInMs);
  }

  #drop(): void {
    this.#rival?.close();
    this.#link?.close();
    [this.#link, this.#rival, this.#upAt, this.#hello] = [null, null, 0, null];
    for (const sub of this.followed) sub.disconnect();
    this.forget();
  }

  #connect(): void {
    this.#token.renew();
    this.#link = this.#make(this.memory.best());
  }

  #make(kind: Kind): Link {
    switch (kind) {
      case "websocket": return new SocketLink(this);
      case "events": return new StreamLink(kind, this, carryEvents);
      case "poll": return new StreamLink(kind, this, carryPolls);
    }
  }

  #tick(): void {
    const now = this.now();
    this.#rival?.tick(now);
    this.#link?.tick(now);
    this.lookAfter(now);
    if (this.#upAt > 0 && now - this.#upAt >= LASTING_MS && this.#proven) this.memory.worked(this.#proven, true);
    this.#improve();
  }

  // Tries a better kind of link beside one that works, once that has been left alone for
  // long enough.
  #improve(): void {
    if (this.#upAt === 0 || !this.#link || this.#rival || this.followed.length === 0) return;
    const best = this.memory.best();
    if (KINDS.indexOf(best) < KINDS.indexOf(this.#link.kind)) this.#rival = this.#make(best);
  }

  #say(state: LinkState): void {
    this.#state = state;
    this.emit({ type: "link", link: state });
  }

  protected emit(event: Event): void {
    try {
      this.config.on(event);
    } catch (e) {
      if (typeof globalThis.reportError === "function") globalThis.reportError(e);
      else console.error(e);
    }
  }
}

// Pages may be forbidden to store anything; elsewhere there is no such thing.
function localStorageIfAny(): Storage | null {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}
