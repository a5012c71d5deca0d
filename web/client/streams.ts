// Links of those that ask once, with a URL: event streams and long polls. What one URL
// cannot ask for takes several.

import { type Host, type Kind, type Link, type Loss, lossByCode, lossOf } from "./link.js";
import type { Subscription } from "./subscription.js";
import type { ErrorFrame, Frame } from "./wire.js";

const MAX_TOPICS = 64; // that one URL may ask for
const MAX_LINE = 7600; // characters, about, of a URL with its resume token: proxies take lines of 8 KiB

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

export class StreamLink implements Link {
  #streams: Stream[] = [];
  #ended = false;
  #heard = false;
  #queued = false;
  #leaveAt = 0;

  constructor(readonly kind: Kind, readonly host: Host, private readonly carry: Carrier) {
    this.update();
  }

  // Arranges anew what is followed, once whoever changes it has done with it.
  update(): void {
    if (this.#queued) return;
    this.#queued = true;
    queueMicrotask(() => {
      this.#queued = false;
      if (!this.#ended) this.#arrange();
    });
  }

  #arrange(): void {
    for (const sub of this.host.subs) if (sub.leaving) sub.end("");
    const groups = arrange(this.host.subs.filter((s) => !s.ended));
    const kept = groups.map((group) => this.#streams.find((s) => s.follows(group)) ?? group);
    for (const s of this.#streams) if (!kept.includes(s)) s.forget();
    this.#streams = kept.map((k) => (k instanceof Stream ? k : new Stream(this, k, this.carry)));
  }

  tick(now: number): void {
    if (this.#leaveAt > 0 && now >= this.#leaveAt) {
      return this.lose({ why: "the server stops", retry: "now", ours: true, waitMs: 0, planned: true });
    }
    for (const s of this.#streams) s.tick(now);
  }

  resync(sub: Subscription): void {
    this.#streams.find((s) => s.subs.includes(sub))?.resync();
  }

  heard(): void {
    if (this.#heard || this.#ended) return;
    this.#heard = true;
    this.host.heard(this);
  }

  drain(afterMs: number): void {
    if (this.#leaveAt === 0) this.#leaveAt = this.host.now() + afterMs;
  }

  close(): void {
    this.#ended = true;
    for (const s of this.#streams) s.close();
  }

  lose(loss: Loss): void {
    if (this.#ended) return;
    this.close();
    this.host.lost(this, loss);
  }
}

// The topics of one URL.
class Stream implements Topics {
  readonly host: Host;
  #topics = new Map<number, Subscription>();
  #abort = new AbortController();
  #heard = false;
  #aliveAt: number;
  #retryMs = 0;
  #anewAt = -Infinity;         // when snapshots of everything were last asked for
  #symbols: string[] = [];     // as the URL names them: errors count its items
  #channels: string[] = [];

  constructor(private readonly link: StreamLink, readonly subs: Subscription[], private readonly carry: Carrier) {
    this.host = link.host;
    this.#aliveAt = this.host.now();
    this.#begin();
  }

  get #live(): Subscription[] { return this.subs.filter((s) => !s.ended); }

  // Whether it brings these and nothing else. What has ended meanwhile does no harm.
  follows(group: Subscription[]): boolean {
    const mine = this.#live;
    return mine.length === group.length && mine.every((s) => group.includes(s));
  }

  query(): URLSearchParams {
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
    if (live.some((s) => s.book?.lost) && now - this.#anewAt >= this.host.settings.resyncMs) {
      this.#anewAt = now;
      this.host.tokens.drop(live);
    }
    return this.host.tokens.of(live);
  }

  stands(token: string): void { this.host.tokens.keep(token, this.#live); }
  retryIn(ms: number): void { this.#retryMs = ms; }

  #begin(): void {
    const abort = this.#abort = new AbortController();
    const alive = (): void => { this.#aliveAt = this.host.now(); };
    this.#topics.clear();
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
    for (const s of this.subs) s.disconnect();
    this.#begin();
  }

  close(): void { this.#abort.abort(); }

  // Ends for good what nobody wants so any more.
  forget(): void {
    this.close();
    for (const s of this.subs) s.disconnect();
  }

  tick(now: number): void {
    const { openMs, silenceMs } = this.host.settings;
    if (now - this.#aliveAt >= (this.#heard ? silenceMs : openMs)) {
      this.close();
      return this.link.lose({ why: "nothing came", retry: "after", ours: this.#heard });
    }
    // What was refused for a while is asked for again together with the rest.
    if (this.#heard && this.subs.some((s) => s.standing === "waiting" && s.due > 0 && now >= s.due)) this.#restart();
  }

  take(f: Frame): void {
    this.#heard = true;
    this.link.heard();
    switch (f.type) {
      case "hello": return this.host.hello(this.link, f);
      case "drain": return this.link.drain(f.reconnect_after_ms);
      case "error": return this.#refused(f);
      case "pong": return;
      case "close":
        return this.link.lose({ ...lossByCode(f.code, f.reason), ours: true, waitMs: this.#retryMs });
      case "ack": {
        const sub = this.subs.find((s) => !s.ended && s.item.symbol === f.symbol && s.channel === f.channel);
        if (!sub || f.ended) return;
        this.#topics.set(f.topic, sub);
        return this.host.granted(sub, f);
      }
      default: {
        const sub = this.#topics.get(f.topic);
        if (sub && !sub.ended) this.host.frame(sub, f);
      }
    }
  }

  #refused(f: ErrorFrame): void {
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

// The parameters of a URL that a subscription needs beside its symbol and channel.
function parameters(s: Subscription): [string, string][] {
  const { channel: _, symbol: __, resume: ___, ...rest } = s.wanted();
  return Object.entries(rest).map(([name, value]) => [name, value === true ? "1" : String(value)]);
}

// Sorts subscriptions into as few groups as URLs can ask for: every symbol of one is
// wanted in all its channels, with the same parameters.
export function arrange(subs: Subscription[]): Subscription[][] {
  const bySymbol = new Map<string, Subscription[][]>();
  for (const s of subs) {
    const sets = bySymbol.get(s.item.symbol) ?? [];
    bySymbol.set(s.item.symbol, sets);
    const set = sets.find((all) => all.every((o) => o.channel !== s.channel && agree(o, s)));
    if (set) set.push(s);
    else sets.push([s]);
  }
  const groups = new Map<string, Subscription[][]>();
  for (const set of [...bySymbol.values()].flat()) {
    set.sort((a, b) => (a.channel < b.channel ? -1 : 1));
    const signature = JSON.stringify(set.map((s) => [s.channel, parameters(s)]));
    const alike = groups.get(signature) ?? [];
    groups.set(signature, alike);
    const room = alike.find((g) => g.length + set.length <= MAX_TOPICS && taken([...g, ...set]) <= MAX_LINE);
    if (room) room.push(...set);
    else alike.push([...set]);
  }
  return [...groups.values()].flat();
}

// About how many characters these take in a URL: their symbols, and their places in the token.
function taken(subs: Subscription[]): number {
  const symbols = new Set(subs.map((s) => s.item.symbol));
  const names = [...symbols].reduce((sum, s) => sum + "&symbol=".length + encodeURIComponent(s).length, 0);
  return subs.reduce((sum, s) => sum + (48 + s.item.symbol.length) * 4 / 3, names);
}

// Parameters that concern every channel must be the same.
const agree = (a: Subscription, b: Subscription): boolean =>
  (a.item.intervalMs ?? 0) === (b.item.intervalMs ?? 0) && (a.item.policy ?? "conflate") === (b.item.policy ?? "conflate");
