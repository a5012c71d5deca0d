// What one URL asks for, and what comes of it: a part of a link of event streams or polls.

import { parameters } from "./arrange.js";
import { type Host, type Link, type Loss, lossByCode, lossOf } from "./link.js";
import { Promptness } from "./prompt.js";
import type { Subscription } from "./subscription.js";
import type { Ack, ErrorFrame, Frame } from "./wire.js";

// Of an event stream: a tick that comes so late shows that this page was asleep.
const AWAKE_MS = 2000;

// Of the table of close codes.
const NO_TOPIC = "no_topic";
const IDLE_MS = 5000; // after which it asks again, where the server does not say

// The link of a stream.
export interface Streams extends Link {
  readonly host: Host;
  heard(): void;
  drain(afterMs: number): void;
  lose(loss: Loss): void;
}

// What a carrier has of its stream.
export interface Topics {
  readonly host: Host;
  // The parameters that ask for its topics.
  query(): URLSearchParams;
  // The resume token of what has been heard; null begins anew.
  get token(): string | null;
  stands(token: string): void;
  // How long the server wants a client to wait that comes back.
  retryIn(ms: number): void;
  // Takes a frame; something else throws.
  take(f: Frame): void;
}

// Carries the frames of a stream until it is aborted: it resolves or fails when they end.
// It calls alive whenever bytes come.
export type Carrier = (topics: Topics, alive: () => void, signal: AbortSignal) => Promise<void>;

export class Stream implements Topics {
  readonly host: Host;
  #topics = new Map<number, Subscription>();
  #items: readonly unknown[];                // of its subscriptions, as asked for
  #unanswered = new Set<Subscription>();     // that a pattern had brought, and this request has not
  #prompt = new Promptness();
  #keepaliveMs = 0;
  #tickedAt: number;
  #abort = new AbortController();
  #heard = false;
  #aliveAt: number;
  #retryMs = 0;
  #againAt = 0;                // when one that had no topic asks again; 0: it has some
  #anewAt = -Infinity;         // when snapshots of everything were last asked for
  #symbols: string[] = [];     // as the URL names them: errors count its items
  #channels: string[] = [];

  constructor(private readonly link: Streams, readonly subs: Subscription[], private readonly carry: Carrier) {
    this.host = link.host;
    this.#items = subs.map((s) => s.item);
    this.#aliveAt = this.#tickedAt = this.host.now();
    this.#begin();
  }

  get #live(): Subscription[] { return this.subs.filter((s) => !s.ended); }

  // What it brings: what its URL names, and what a pattern among that has brought.
  get followed(): Subscription[] { return this.subs.flatMap((s) => [s, ...[...s.brought.values()].filter((b) => !b.byName)]); }

  // Whether it brings these and nothing else. What has ended meanwhile does no harm.
  follows(group: Subscription[]): boolean {
    const mine = this.#live;
    return mine.length === group.length && mine.every((s) => group.includes(s) && this.#items.includes(s.item));
  }

  query(): URLSearchParams {
    this.#topics.clear();
    this.#unanswered = new Set(this.followed.filter((s) => s.broughtBy));
    const q = new URLSearchParams(), live = this.#live;
    this.#symbols = [...new Set(live.map((s) => s.item.symbol))];
    this.#channels = [...new Set(live.map((s) => s.channel))];
    for (const symbol of this.#symbols) q.append("symbol", symbol);
    for (const channel of this.#channels) q.append("channel", channel);
    for (const s of live) for (const [name, value] of parameters(s)) q.set(name, value);
    return q;
  }

  // A book that has lost its levels could do nothing with what follows a token, but one that
  // loses them again and again has everything sent anew only now and then. The books that
  // are recovering a token does not name.
  get token(): string | null {
    const now = this.host.now(), live = this.#live;
    if (this.followed.some((s) => s.book?.lost) && now - this.#anewAt >= this.host.settings.resyncMs) {
      this.#anewAt = now;
      this.host.tokens.drop(live);
    }
    return this.host.tokens.of(live);
  }

  stands(token: string): void {
    this.#settle();
    this.host.tokens.keep(token, this.#live);
  }

  retryIn(ms: number): void { this.#retryMs = ms; }

  #begin(): void {
    this.#againAt = 0;
    const abort = this.#abort = new AbortController();
    const alive = (): void => { this.#aliveAt = this.host.now(); };
    this.#prompt = new Promptness();
    this.#heard = false;
    alive();
    this.carry(this, alive, abort.signal).then(
      () => this.#over(abort, { why: "the stream ended", retry: "after", ours: false }),
      (e: unknown) => this.#over(abort, lossOf(e)));
  }

  #over(abort: AbortController, loss: Loss): void {
    if (!abort.signal.aborted) this.link.lose({ waitMs: this.#retryMs, ...loss, ours: loss.ours || this.#heard });
  }

  // Asks anew for snapshots of everything; not again and again.
  resync(): void {
    const now = this.host.now();
    if (now - this.#anewAt < this.host.settings.resyncMs) return;
    this.#anewAt = now;
    this.host.tokens.drop(this.#live);
    this.#restart();
  }

  // Asks anew, from where it stands.
  #restart(): void {
    this.close();
    for (const s of this.followed) s.disconnect();
    this.#begin();
  }

  close(): void { this.#abort.abort(); }

  // Ends for good what nobody wants so any more.
  forget(): void {
    this.close();
    for (const s of this.followed) s.disconnect();
  }

  // The server has nothing to bring of what this one asks for; other streams go on.
  #idle(): void {
    this.close();
    this.#againAt = this.host.now() + (this.#retryMs || IDLE_MS);
  }

  tick(now: number): void {
    if (this.#againAt > 0) {
      if (now >= this.#againAt && this.#live.length > 0) this.#restart();
      return;
    }
    // Somebody who slept cannot tell whether others were silent.
    const awake = now - this.#tickedAt < AWAKE_MS, { openMs } = this.host.settings;
    this.#tickedAt = now;
    if (now - this.#aliveAt >= (this.#heard ? this.#silenceMs() : openMs)) {
      const held = this.#heard && awake && this.link.kind === "events";
      return this.#lose({ why: "nothing came", retry: "after", ours: this.#heard, held });
    }
    for (const s of this.followed) {
      if (s.broughtBy && s.standing === "waiting" && s.due > 0 && now >= s.due) this.host.ended(s, "its pattern does not bring it any more");
    }
    // What was refused for a while is asked for again together with the rest.
    if (this.#heard && this.subs.some((s) => s.standing === "waiting" && s.due > 0 && now >= s.due)) this.#restart();
  }

  // How long a stream may bring nothing: something is heard of each topic that is live.
  #silenceMs(): number {
    const { openMs, silenceMs } = this.host.settings, live = this.followed.some((s) => !s.pattern && s.standing === "granted" && s.state === "live");
    return this.link.kind === "events" && live && this.#keepaliveMs > 0 ? Math.min(silenceMs, Math.max(openMs, 3 * this.#keepaliveMs)) : silenceMs;
  }

  #lose(loss: Loss): void {
    this.close();
    this.link.lose(loss);
  }

  take(f: Frame): void {
    this.#heard = true;
    this.link.heard();
    switch (f.type) {
      case "hello":
        this.#keepaliveMs = f.keepalive_ms ?? 0;
        this.host.hello(this.link, f);
        break;
      case "drain": return this.link.drain(f.reconnect_after_ms);
      case "error": return this.#refused(f);
      case "pong": return;
      case "close":
        if (f.reason === NO_TOPIC) return this.#idle();
        return this.link.lose({ ...lossByCode(f.code, f.reason), ours: true, waitMs: this.#retryMs });
      case "ack":
        this.#granted(f);
        break;
      default: {
        this.#settle();
        // What a pattern has brought may have become another view, which comes elsewhere.
        const sub = this.#topics.get(f.topic);
        if (sub && !sub.ended && (this.subs.includes(sub) || !sub.byName)) this.host.frame(sub, f);
      }
    }
    this.#judge(f);
  }

  // Gives the stream up where it is held back.
  #judge(f: Frame): void {
    const now = this.host.now(), sub = "topic" in f && f.topic !== undefined ? this.#topics.get(f.topic) : undefined;
    if (this.link.kind !== "events" || now - this.#tickedAt >= AWAKE_MS) return;
    const late = this.#prompt.late(f, now, sub?.ack?.interval_ms ?? 0);
    if (late >= this.host.settings.lateMs) this.#lose({ why: "events come late", retry: "after", ours: true, held: true });
  }

  #granted(f: Ack): void {
    if (f.ended) return;
    const named = this.subs.find((s) => !s.ended && s.item.symbol === f.symbol && s.channel === f.channel);
    const pattern = this.subs.find((s) => s.pattern && !s.ended);
    const sub = named ?? (pattern && this.host.brought(pattern, f));
    if (!sub) return;
    this.#unanswered.delete(sub);
    this.#topics.set(f.topic, sub);
    this.host.granted(sub, f);
  }

  // The items of a request are answered before anything else: what a pattern had brought,
  // and is not among them, the server could not grant. The pattern may bring it again; if
  // it does not, it ends.
  #settle(): void {
    for (const sub of this.#unanswered) {
      if (sub.ended || sub.byName || sub.due > 0) continue;
      sub.disconnect();
      sub.due = this.host.now() + this.host.settings.resyncMs;
    }
    this.#unanswered.clear();
  }

  #refused(f: ErrorFrame): void {
    const pattern = this.subs.find((s) => s.pattern);
    if (pattern && f.item !== undefined && f.item > 0) return; // what a token goes on with: see settle
    if (pattern && this.#topics.get(pattern.ack?.topic ?? 0) === pattern) return this.host.incomplete(pattern, f);
    for (const sub of this.#concerned(f)) if (!sub.ended) this.host.refused(sub, f);
  }

  // Items are counted symbol by symbol, each in every channel. Without one all are meant.
  #concerned(f: ErrorFrame): Subscription[] {
    if (f.topic !== undefined) return [this.#topics.get(f.topic)].filter((s) => s !== undefined);
    if (f.item === undefined) return this.subs;
    const channels = this.#channels;
    const symbol = this.#symbols[Math.floor(f.item / channels.length)], channel = channels[f.item % channels.length];
    return this.subs.filter((s) => s.item.symbol === symbol && s.channel === channel);
  }
}
