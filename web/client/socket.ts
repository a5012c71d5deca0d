// A link over a WebSocket.

import { Asked } from "./asked.js";
import { type Host, type Link, type Loss, lossByCode, lossOf } from "./link.js";
import type { Subscription } from "./subscription.js";
import { type Ack, type ErrorFrame, type Frame, type Hello, type ModifyItem, type Request, type SubscribeItem, ProtocolError, integer, parseFrame } from "./wire.js";

const CODEC = "depthcast.v1.json";
const TOKEN = "depthcast.token.";
const OPEN = 1; // WebSocket.OPEN, also where there is no such global

export class SocketLink implements Link {
  readonly kind = "websocket";
  #socket: WebSocket | null = null;
  #ended = false;
  #ready = false;                           // hello has come, and nothing more has to be shown first
  #token: string | undefined;
  #hello: Hello | null = null;
  #openBy: number;
  #heardAt = 0;
  #pinged = false;
  #leaveAt = 0;                             // when to leave a server that drains; 0: it does not
  #renewAt = 0;                             // when to show the next token; 0: never
  #lastId = 0;
  #asked = new Asked();
  #topics = new Map<number, Subscription>();      // of patterns, too, by the number that no frame carries

  constructor(private readonly host: Host) {
    this.#openBy = host.now() + host.settings.openMs;
    this.#open().catch((e: unknown) => this.#lose(lossOf(e)));
  }

  async #open(): Promise<void> {
    const token = this.#token = await this.host.token();
    if (this.#ended) return;
    const url = this.host.url("v1/stream");
    url.protocol = url.protocol.replace("http", "ws");
    // A subprotocol is a token of RFC 9110, section 5.6.2. Another one is shown once hello asks.
    const fits = token !== undefined && /^[\w!#$%&'*+.^`|~-]+$/.test(token);
    const socket = this.#socket = new this.host.settings.WebSocket(url.href, fits ? [CODEC, TOKEN + token] : [CODEC]);
    socket.onmessage = (e: MessageEvent) => this.#message(e.data);
    socket.onerror = () => this.#lose(lossByCode(1006, "")); // nothing follows that says more
    socket.onclose = (e: CloseEvent) => this.#lose(lossByCode(e.code, e.reason));
  }

  #message(data: unknown): void {
    if (this.#ended) return;
    try {
      if (typeof data !== "string") throw new ProtocolError("a message that is no text");
      const f = parseFrame(data);
      this.#heardAt = this.host.now();
      this.#pinged = false;
      if (f) this.#take(f);
    } catch (e) {
      this.#lose({ why: `the server broke the protocol: ${lossOf(e).why}`, retry: "after", ours: true });
    }
  }

  #take(f: Frame): void {
    if (!this.#hello && f.type !== "hello") throw new ProtocolError(`${f.type} before hello`);
    switch (f.type) {
      case "hello": return this.#greet(f);
      case "ack": return this.#ack(f);
      case "error": return this.#error(f);
      case "drain":
        this.#leaveAt = this.host.now() + f.reconnect_after_ms;
        return;
      case "pong":
      case "close":
        return;
      default: {
        // Frames of topics that are not, or no longer, ours mean nothing.
        const sub = this.#topics.get(f.topic);
        if (sub) this.host.frame(sub, f);
        if (sub?.ended) this.#topics.delete(f.topic);
      }
    }
  }

  // A server that wants a token first says hello once more after it.
  #greet(f: Hello): void {
    if (f.version !== 1) {
      return this.#lose({ why: `the server speaks version ${f.version}`, retry: "never", ours: true });
    }
    if (!this.#hello) this.host.heard(this);
    this.#hello = f;
    if (f.auth_required) {
      if (this.#token === undefined) return this.#lose({ why: "a token is needed", retry: "never", ours: true, token: true });
      return this.#send({ type: "auth", token: this.#token });
    }
    if (f.auth_until && f.time && this.#token !== undefined) {
      const left = Number((integer(f.auth_until) - integer(f.time)) / 1_000_000n);
      this.#renewAt = this.host.now() + Math.max(1000, left * 4 / 5);
    }
    this.host.hello(this, f);
    this.#ready = true;
    this.update();
  }

  #ack(f: Ack): void {
    if (f.ended) return void this.#topics.delete(f.topic);
    if (f.pattern_topic) return this.#brought(f.pattern_topic, f);
    const sub = this.#asked.answered(f.id, f.item);
    if (!sub) { // a token that grants less has topics come less often
      const adjusted = this.#topics.get(f.topic);
      return void (adjusted && this.host.adjusted(adjusted, f));
    }
    if (sub.changing && sub.ack?.topic === f.topic) this.host.adjusted(sub, f);
    else {
      if (sub.changing && sub.ack) this.#topics.delete(sub.ack.topic);
      else sub.byPattern = false;
      this.#topics.set(f.topic, sub);
      this.host.granted(sub, f);
    }
    if (sub.leaving) this.update();
  }

  // Takes the ack of a topic that a pattern has brought.
  #brought(by: number, f: Ack): void {
    const pattern = this.#topics.get(by);
    if (!pattern || pattern.leaving || pattern.ended) return; // the server ends it with its pattern
    const sub = this.host.brought(pattern, f);
    if (!sub || sub.standing === "granted") return this.#send({ type: "unsubscribe", topics: [f.topic] });
    if (sub.standing === "asked") this.#asked.forget(sub);
    this.#topics.set(f.topic, sub);
    this.host.granted(sub, f);
    sub.byPattern = true;
  }

  #error(f: ErrorFrame): void {
    if (f.code === "unauthenticated" && !this.#ready) {
      return this.#lose({ why: f.message ?? f.code, retry: "never", ours: true, token: true });
    }
    for (const sub of this.#concerned(f)) {
      this.host.refused(sub, f);
      if (sub.ended && sub.ack) this.#topics.delete(sub.ack.topic);
    }
    this.update(); // somebody may have waited for the end of another
  }

  // Whom an error concerns: a topic that was taken back, the items of a request, or a book
  // whose snapshot was asked for. One that concerns what a pattern matches is told of.
  // Others concern requests that need no answer.
  #concerned(f: ErrorFrame): Subscription[] {
    const revoked = f.code === "revoked" && f.topic !== undefined ? this.#topics.get(f.topic) : undefined;
    if (revoked) return [revoked];
    const sub = f.item === undefined ? null : this.#asked.answered(f.id, f.item);
    const concerned = sub ? [sub] : f.item === undefined ? this.#asked.whole(f.id) : undefined;
    if (concerned) return concerned;
    const pattern = this.host.subs.find((s) => s.pattern && s.standing === "granted" && s.ack?.id === f.id && s.ack.item === f.item);
    if (pattern) this.host.incomplete(pattern, f);
    return this.host.subs.filter((s) => s.standing === "granted" && s.attempts > 0 && s.request === f.id);
  }

  update(): void {
    if (!this.#ready || this.#ended) return;
    const now = this.host.now();
    this.#leave(this.host.subs.filter((s) => s.leaving && s.standing !== "asked" && !s.changing));
    this.#modify(this.host.subs.filter((s) => s.wish && s.standing === "granted" && !s.changing), now);
    const ask = this.host.subs.filter((s) => s.standing === "waiting" && s.due <= now && !this.#mustWait(s));
    // A pattern passes over what the connection has: that comes first, with its resume.
    this.#subscribe([...ask.filter((s) => !s.pattern), ...ask.filter((s) => s.pattern)], now);
  }

  // The server may have what is leaving, and cannot be told yet: the same view must not be
  // asked for before it has been.
  #mustWait(sub: Subscription): boolean {
    return this.host.subs.some((s) => s.leaving && s.channel === sub.channel &&
      (s.item.symbol === sub.item.symbol || s.pattern && sub.item.symbol.startsWith(s.item.symbol.slice(0, -1))));
  }

  #leave(subs: Subscription[]): void {
    const topics: number[] = [];
    for (const sub of subs) {
      const topic = sub.standing === "granted" ? sub.ack?.topic : undefined, withPattern = sub.byPattern && sub.broughtBy?.leaving;
      if (topic !== undefined) this.#topics.delete(topic);
      if (topic !== undefined && !withPattern) topics.push(topic);
    }
    for (const sub of subs) sub.end("");
    for (let most = this.#hello?.limits?.max_items || topics.length; topics.length > 0;) {
      this.#send({ type: "unsubscribe", topics: topics.splice(0, most) });
    }
  }

  #modify(subs: Subscription[], now: number): void {
    for (let most = this.#hello?.limits?.max_items || subs.length; subs.length > 0; subs = subs.slice(most)) {
      const some = subs.slice(0, most), items: ModifyItem[] = [];
      for (const sub of some) {
        if (sub.wish) sub.become(sub.wish);
        sub.changing = true;
        const { depth = 0, group = "", counts = false, intervalMs = 0, policy = "conflate" } = sub.item;
        items.push({ topic: sub.ack?.topic ?? 0, depth, group, counts, interval_ms: intervalMs, policy });
      }
      this.#ask({ type: "modify", items }, some, now);
    }
  }

  // Asks in as few requests as the server's limits allow.
  #subscribe(subs: Subscription[], now: number): void {
    const limits = this.#hello?.limits;
    let most = limits?.max_items || subs.length;
    while (subs.length > 0) {
      const some = subs.slice(0, most);
      const items: SubscribeItem[] = some.map((s) => s.wanted());
      const bytes = 3 * JSON.stringify(items).length; // at most, in UTF-8
      if (limits && bytes > limits.max_message_bytes && some.length > 1) {
        most = Math.ceil(some.length / 2);
        continue;
      }
      for (const s of some) [s.standing, s.due] = ["asked", 0];
      this.#ask({ type: "subscribe", items }, some, now);
      subs = subs.slice(some.length);
    }
  }

  // Sends a request whose items must be answered.
  #ask(request: Request, subs: Subscription[], now: number): void {
    this.#asked.add(this.#lastId + 1, subs, now + this.host.settings.answerMs);
    this.#send(request);
  }

  resync(sub: Subscription, cause: "gap" | "mismatch"): void {
    const topic = sub.ack?.topic, book = sub.book;
    if (topic === undefined) return;
    sub.request = this.#lastId + 1;
    if (cause === "gap" || !book) this.#send({ type: "resync", topics: [topic] });
    else this.#send({ type: "mismatch", topic, seq: String(book.seq), hash: book.hash });
  }

  tick(now: number): void {
    const { pingMs, pongMs } = this.host.settings;
    if (!this.#hello) {
      if (now >= this.#openBy) this.#lose({ why: "no answer", retry: "after", ours: false });
      return;
    }
    if (this.#leaveAt > 0 && now >= this.#leaveAt) {
      return this.#lose({ why: "the server stops", retry: "now", ours: true, waitMs: 0, planned: true });
    }
    if (this.#asked.overdue(now)) {
      return this.#lose({ why: "no answer to a request", retry: "after", ours: true });
    }
    if (!this.#pinged && now - this.#heardAt >= pingMs) {
      [this.#pinged, this.#openBy] = [true, now + pongMs];
      this.#send({ type: "ping" });
    } else if (this.#pinged && now >= this.#openBy) {
      return this.#lose({ why: "no sign of life from the server", retry: "after", ours: true });
    }
    if (this.#renewAt > 0 && now >= this.#renewAt) this.#renew(now);
    this.update();
  }

  // Shows the next token. The hello that answers sets the time of the one after it; where
  // there is none yet, this is tried again.
  #renew(now: number): void {
    this.#renewAt = now + 5000;
    this.host.renewToken().then((token) => {
      if (token === undefined || token === this.#token || this.#ended) return;
      this.#token = token;
      this.#send({ type: "auth", token });
    }, () => undefined); // the connection goes on until the last one ends
  }

  #send(message: Request): void {
    if (this.#socket?.readyState === OPEN) this.#socket.send(JSON.stringify({ id: ++this.#lastId, ...message }));
  }

  close(): void {
    this.#ended = true;
    this.#socket?.close(1000);
  }

  #lose(loss: Loss): void {
    if (this.#ended) return;
    this.close();
    this.host.lost(this, loss);
  }
}

