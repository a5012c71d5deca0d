// Code generated from web/*.ts by make generate. DO NOT EDIT.

// web/client/wire.ts
var FRAMES = /* @__PURE__ */ new Set(["hello", "ack", "error", "snapshot", "delta", "status", "keepalive", "trades", "ticker", "drain", "pong", "close"]);
var ProtocolError = class extends Error {
};
function isFrame(value) {
  if (typeof value !== "object" || value === null) throw new ProtocolError("a frame that is no object");
  return "type" in value && typeof value.type === "string" && FRAMES.has(value.type);
}
function parseFrame(text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ProtocolError("a frame that is no JSON");
  }
  return isFrame(value) ? value : null;
}
var hex = (hash) => hash.toString(16).padStart(8, "0");
function integer(text) {
  if (typeof text !== "string" || !/^-?\d{1,19}$|^\d{20}$/.test(text)) throw new ProtocolError(`${String(text)} is no integer`);
  return BigInt(text);
}
var stateOf = (word) => word === "live" || word === "stale" ? word : "recovering";

// web/client/decimal.ts
var MIN_EXPONENT = -18;
var MAX_EXPONENT = 9;
function exponents(price, qty) {
  for (const e of [price, qty]) {
    if (!Number.isInteger(e) || e < MIN_EXPONENT || e > MAX_EXPONENT) throw new ProtocolError(`exponent ${e}`);
  }
  return { price, qty };
}
function mantissa(text, exponent) {
  if (text === "0") return 0n;
  const digits = Math.max(0, -exponent), parts = /^-?\d+(?:\.(\d+))?$/.exec(text);
  if (!parts || (parts[1] ?? "").length !== digits) {
    throw new ProtocolError(`${text} is no decimal with ${digits} digits after the point`);
  }
  let m = BigInt(text.replace(".", ""));
  if (exponent > 0) {
    const unit = 10n ** BigInt(exponent);
    if (m % unit !== 0n) throw new ProtocolError(`${text} is no multiple of ${unit}`);
    m /= unit;
  }
  if (m !== BigInt.asIntN(64, m)) throw new ProtocolError(`${text} exceeds 64 bits`);
  return m;
}
function decimal(m, exponent) {
  if (exponent >= 0) return String(m * 10n ** BigInt(exponent));
  const digits = String(m < 0n ? -m : m).padStart(1 - exponent, "0");
  return `${m < 0n ? "-" : ""}${digits.slice(0, exponent)}.${digits.slice(exponent)}`;
}

// web/client/hash.ts
var BID = 1;
var ASK = 2;
var low = (v) => Number(BigInt.asUintN(32, v)) | 0;
var high = (v) => Number(BigInt.asUintN(32, v >> 32n)) | 0;
function mix(side, price, qty) {
  let v = Math.imul(low(price), 2654435761) + Math.imul(high(price), 2246822519) + Math.imul(low(qty), 3266489917) + Math.imul(high(qty), 668265263) + Math.imul(side, 374761393) | 0;
  v ^= v >>> 16;
  v = Math.imul(v, 2246822507);
  v ^= v >>> 13;
  v = Math.imul(v, 3266489909);
  return (v ^ v >>> 16) >>> 0;
}

// web/client/book.ts
var Levels = class {
  constructor(side) {
    this.side = side;
  }
  side;
  levels = [];
  // Where a price is, or belongs.
  find(price) {
    let from = 0, to = this.levels.length;
    while (from < to) {
      const middle = from + to >>> 1, at = this.levels[middle].price;
      if (this.side === BID ? at > price : at < price) from = middle + 1;
      else to = middle;
    }
    return from;
  }
  // Sets or, with quantity 0, deletes a level. Returns what that adds to the hash.
  set(level) {
    const i = this.find(level.price), old = this.levels[i];
    let sum = 0;
    const there = old?.price === level.price;
    if (there) sum -= mix(this.side, old.price, old.qty);
    if (level.qty !== 0n) sum += mix(this.side, level.price, level.qty);
    if (level.qty !== 0n) this.levels.splice(i, there ? 1 : 0, level);
    else if (there) this.levels.splice(i, 1);
    return sum;
  }
  hash() {
    return this.levels.reduce((sum, l) => sum + mix(this.side, l.price, l.qty) >>> 0, 0);
  }
  // Whether the levels rise or fall as they must, none twice and none empty.
  inOrder() {
    return this.levels.every((l, i) => {
      const before = this.levels[i - 1];
      return l.qty !== 0n && (!before || (this.side === BID ? before.price > l.price : before.price < l.price));
    });
  }
};
var Book = class {
  #bids = new Levels(BID);
  #asks = new Levels(ASK);
  // Invariant: while whole, #hash is the state hash of the levels, and that of the last
  // frame applied. After a mismatch it is the one that differed.
  #hash = 0;
  #whole = false;
  #epoch = "";
  #seq = -1n;
  #state = "recovering";
  #reason = "no_snapshot";
  #exponents = { price: 0, qty: 0 };
  // The server's words, as of the last ack, snapshot or status.
  phase = "";
  partial = false;
  locked = false;
  crossed = false;
  indicativePrice;
  indicativeQty;
  // Best first; none while the book is void.
  get bids() {
    return this.#whole ? this.#bids.levels : [];
  }
  get asks() {
    return this.#whole ? this.#asks.levels : [];
  }
  get exponents() {
    return this.#exponents;
  }
  get epoch() {
    return this.#epoch;
  }
  get seq() {
    return this.#seq;
  }
  get hash() {
    return hex(this.#hash);
  }
  // Whether there are levels to show. A void book has none.
  get whole() {
    return this.#whole;
  }
  // Live only while the book is whole and known to be current.
  get state() {
    return this.#whole ? this.#state : "recovering";
  }
  // Why it is not live: the server's word; no_snapshot while only the snapshot is missing;
  // empty where it is stale since the link is lost.
  get reason() {
    return !this.#whole && this.#state !== "recovering" ? "no_snapshot" : this.#reason;
  }
  // Whether the server calls the book live: then a snapshot is due where it is not whole.
  get announced() {
    return this.#state === "live";
  }
  // Whether there is a book that could be shown, but not here.
  get lost() {
    return !this.#whole && this.#state !== "recovering";
  }
  price(l) {
    return decimal(l.price, this.#exponents.price);
  }
  qty(l) {
    return decimal(l.qty, this.#exponents.qty);
  }
  // Takes the grant of a topic. Unless it says that the book goes on, the book is void
  // until its snapshot. A server that is behind catches up first: till then the book is
  // what it was, and stale.
  grant(a) {
    const behind = a.state === "stale" && a.reason === "behind";
    const granted = exponents(a.price_exponent, a.qty_exponent), mine = this.#exponents;
    const same2 = a.epoch === this.#epoch && granted.price === mine.price && granted.qty === mine.qty;
    if (!a.resumed && !behind || !same2) this.void();
    this.#setState(stateOf(a.state), a.reason, a.phase);
  }
  // A frame that cannot be read leaves the book void: it is whole again only after all of
  // a frame has been applied.
  snapshot(f) {
    this.void();
    this.#epoch = f.epoch;
    this.#seq = integer(f.seq);
    this.#exponents = exponents(f.price_exponent, f.qty_exponent);
    this.#bids.levels = f.bids.map((l) => this.#level(l));
    this.#asks.levels = f.asks.map((l) => this.#level(l));
    this.#hash = this.#bids.hash() + this.#asks.hash() >>> 0;
    if (!this.#bids.inOrder() || !this.#asks.inOrder()) return this.#lose("mismatch");
    this.#whole = true;
    this.#mark(f);
    this.#setState(stateOf(f.state), f.state_reason, f.phase);
    return this.#check(f.hash);
  }
  // The client's rule: prev_seq <= mine < seq.
  delta(f) {
    const prev = integer(f.prev_seq), seq = integer(f.seq);
    if (!this.#whole || seq <= this.#seq) return "ignored";
    if (prev > this.#seq) return this.#lose("gap");
    [this.#seq, this.#whole] = [seq, false];
    for (const l of f.bids) this.#hash = this.#hash + this.#bids.set(this.#level(l)) >>> 0;
    for (const l of f.asks) this.#hash = this.#hash + this.#asks.set(this.#level(l)) >>> 0;
    this.#whole = true;
    return this.#check(f.hash);
  }
  // A keepalive of an earlier seq says nothing of this book.
  keepalive(f) {
    const seq = integer(f.seq);
    if (!this.#whole || seq < this.#seq) return "ignored";
    this.#seq = seq;
    return this.#check(f.hash);
  }
  // A void book becomes live by a snapshot only, never by a status.
  status(f) {
    this.#mark(f);
    this.#setState(stateOf(f.state), f.reason, f.phase);
  }
  // Empties the book, which then waits for a snapshot.
  void() {
    this.#whole = false;
    this.#bids.levels = [];
    this.#asks.levels = [];
    this.partial = this.locked = this.crossed = false;
  }
  // Marks a live book as not known to be current, until the next grant.
  stale() {
    if (this.#state === "live") [this.#state, this.#reason] = ["stale", ""];
  }
  // Where a resume may go on; undefined where there is nothing to go on with.
  resume() {
    return this.#whole ? { epoch: this.#epoch, seq: String(this.#seq), hash: this.hash } : void 0;
  }
  #level([price, qty, count]) {
    const size = mantissa(qty, this.#exponents.qty);
    return { price: mantissa(price, this.#exponents.price), qty: size, count: count ?? 0 };
  }
  #mark(f) {
    this.partial = f.partial ?? false;
    this.locked = f.locked ?? false;
    this.crossed = f.crossed ?? false;
    this.indicativePrice = f.indicative_price;
    this.indicativeQty = f.indicative_qty;
  }
  #setState(state, reason, phase) {
    [this.#state, this.#reason, this.phase] = [state, reason ?? "", phase ?? ""];
    if (state === "recovering") this.void();
  }
  #check(hash) {
    return this.hash === hash ? "applied" : this.#lose("mismatch");
  }
  #lose(why) {
    this.void();
    return why;
  }
};

// web/client/link.ts
var KINDS = ["websocket", "events", "poll"];
var Broken = class extends Error {
  constructor(loss) {
    super(loss.why);
    this.loss = loss;
  }
  loss;
};
function lossOf(thrown) {
  if (thrown instanceof Broken) return thrown.loss;
  return { why: thrown instanceof Error ? thrown.message : String(thrown), retry: "after", ours: false };
}
var NEVER = /* @__PURE__ */ new Set([1002, 1003, 1007, 1008, 1009, 4006]);
var UNAUTHENTICATED = 4006;
function lossByCode(code, reason) {
  return {
    why: reason || (code === 1006 ? "the connection was lost" : `closed: ${code}`),
    retry: NEVER.has(code) ? "never" : "after",
    ours: code !== 1006 && code !== 1005,
    token: code === UNAUTHENTICATED
  };
}

// web/client/http.ts
async function get(host, path, query, signal) {
  const token = await host.token();
  const url = host.url(path);
  url.search = query.toString();
  const headers = token === void 0 ? {} : { Authorization: `Bearer ${token}` };
  const answer = await host.settings.fetch(url, { signal, cache: "no-store", headers });
  if (answer.status === 200) return answer;
  const after = Number(answer.headers.get("Retry-After"));
  const waitMs = after > 0 ? { waitMs: 1e3 * (after + Math.random()) } : {};
  const refusal = await worded(answer);
  throw new Broken({
    why: refusal?.message ?? `HTTP ${answer.status}`,
    ours: refusal !== null,
    token: answer.status === 401,
    ...waitMs,
    retry: answer.status >= 500 || answer.status === 429 || answer.status === 408 ? "after" : "never"
  });
}
async function worded(answer) {
  try {
    const value = await answer.json();
    if (typeof value !== "object" || value === null || !("type" in value) || value.type !== "error" || !("message" in value)) return null;
    return { message: String(value.message) };
  } catch {
    return null;
  }
}
async function reachable(host) {
  try {
    const answer = await get(host, "v1/status", new URLSearchParams(), AbortSignal.timeout(host.settings.openMs));
    const value = await answer.json();
    return typeof value === "object" && value !== null && "caught_up" in value;
  } catch (e) {
    if (e instanceof Broken && e.loss.ours) throw e;
    return false;
  }
}

// web/client/events.ts
var MAX_EVENT_CHARS = 64 << 20;
var EventParser = class {
  constructor(on) {
    this.on = on;
  }
  on;
  #rest = "";
  #data = [];
  #id = null;
  feed(text) {
    this.#rest += text;
    if (this.#rest.length > MAX_EVENT_CHARS) throw new ProtocolError("an event beyond every bound");
    const lines = this.#rest.split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line.endsWith("\r") ? line.slice(0, -1) : line);
  }
  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":"), name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "id") this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.on.retry(Number(value));
  }
  #dispatch() {
    const data = this.#data, id = this.#id;
    [this.#data, this.#id] = [[], null];
    if (data.length > 0) this.on.data(data.join("\n"));
    if (id !== null) this.on.id(id);
  }
};
async function carryEvents(topics, alive, signal) {
  const query = topics.query(), token = topics.token;
  if (token !== null) query.set("resume", token);
  const answer = await get(topics.host, "v1/sse", query, signal);
  if (!answer.headers.get("Content-Type")?.startsWith("text/event-stream") || !answer.body) {
    throw new Broken({ why: "no event stream came", retry: "after", ours: false });
  }
  const parser = new EventParser({
    data(text) {
      const f = parseFrame(text);
      if (f && !signal.aborted) topics.take(f);
    },
    id: (id) => signal.aborted || topics.stands(id),
    retry: (ms) => topics.retryIn(ms)
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream("utf-8", { fatal: true })).getReader();
  for (; ; ) {
    const { done, value } = await reader.read();
    if (signal.aborted) return;
    if (done) return;
    alive();
    parser.feed(value);
  }
}

// web/client/memory.ts
var FIRST_MS = 3e4;
var MOST_MS = 6e5;
var KEY = "depthcast.blocked";
var Memory = class {
  constructor(storage, now) {
    this.storage = storage;
    this.now = now;
    this.#blocked = this.#load();
  }
  storage;
  now;
  #blocked;
  // The kind to try: the first that is not left alone. The last one never is.
  best() {
    return KINDS.find((kind) => !this.#isBlocked(kind)) ?? "poll";
  }
  // A kind did not come through, though the server could be reached.
  failed(kind) {
    if (kind === "poll") return;
    const failures = (this.#blocked[kind]?.failures ?? 0) + 1;
    this.#blocked[kind] = { failures, until: this.now() + Math.min(MOST_MS, FIRST_MS * 2 ** (failures - 1)) };
    this.#store();
  }
  worked(kind) {
    if (!this.#blocked[kind]) return;
    delete this.#blocked[kind];
    this.#store();
  }
  // A clock that was set back must not block for longer than was meant.
  #isBlocked(kind) {
    const left = (this.#blocked[kind]?.until ?? 0) - this.now();
    return left > 0 && left <= MOST_MS;
  }
  #load() {
    const known = {};
    try {
      const stored = JSON.parse(this.storage?.getItem(KEY) ?? "{}");
      if (typeof stored !== "object" || stored === null) return known;
      for (const kind of KINDS) {
        const block = stored[kind];
        if (typeof block?.failures === "number" && typeof block.until === "number") known[kind] = { failures: block.failures, until: block.until };
      }
    } catch {
    }
    return known;
  }
  #store() {
    try {
      this.storage?.setItem(KEY, JSON.stringify(this.#blocked));
    } catch {
    }
  }
};

// web/client/poll.ts
var WAIT_MS = 2e4;
var GRACE_MS = 15e3;
async function carryPolls(topics, alive, signal) {
  for (let waitMs = 0; !signal.aborted; waitMs = WAIT_MS) {
    const query = topics.query(), cursor = topics.token;
    query.set("wait_ms", String(waitMs));
    if (cursor !== null) query.set("cursor", cursor);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(waitMs + GRACE_MS)]);
    const answer = await (await get(topics.host, "v1/poll", query, limit)).json();
    if (signal.aborted) return;
    if (typeof answer !== "object" || answer === null || !("type" in answer) || answer.type !== "poll") {
      throw new Broken({ why: "no poll came", retry: "after", ours: false });
    }
    if (!("frames" in answer) || !Array.isArray(answer.frames)) throw new ProtocolError("a poll without frames");
    alive();
    for (const f of answer.frames) {
      if (isFrame(f)) topics.take(f);
      if (signal.aborted) return;
    }
    if ("cursor" in answer && typeof answer.cursor === "string" && answer.cursor !== "") topics.stands(answer.cursor);
  }
}

// web/client/resume.ts
var ResumeTokens = class {
  #all = [];
  // The token of just these; null: there is none.
  of(subs) {
    return this.#all.find((t) => same(t.subs, subs))?.token ?? null;
  }
  // Takes a token in the place of the one before, and forgets those of what has ended.
  keep(token, subs) {
    this.drop(subs);
    this.#all = this.#all.filter((t) => !t.subs.some((s) => s.ended));
    this.#all.push({ token, subs });
  }
  drop(subs) {
    this.#all = this.#all.filter((t) => !same(t.subs, subs));
  }
};
var same = (a, b) => a.length === b.length && a.every((s) => b.includes(s));

// web/client/socket.ts
var CODEC = "depthcast.v1.json";
var TOKEN = "depthcast.token.";
var OPEN = 1;
var SocketLink = class {
  constructor(host) {
    this.host = host;
    this.#openBy = host.now() + host.settings.openMs;
    this.#open().catch((e) => this.#lose(lossOf(e)));
  }
  host;
  kind = "websocket";
  #socket = null;
  #ended = false;
  #ready = false;
  // hello has come, and nothing more has to be shown first
  #token;
  #hello = null;
  #openBy;
  #heardAt = 0;
  #pinged = false;
  #leaveAt = 0;
  // when to leave a server that drains; 0: it does not
  #renewAt = 0;
  // when to show the next token; 0: never
  #lastId = 0;
  #asked = /* @__PURE__ */ new Map();
  // by request; null once answered
  #topics = /* @__PURE__ */ new Map();
  async #open() {
    const token = this.#token = await this.host.token();
    if (this.#ended) return;
    const url = this.host.url("v1/stream");
    url.protocol = url.protocol.replace("http", "ws");
    const fits = token !== void 0 && /^[\w!#$%&'*+.^`|~-]+$/.test(token);
    const socket = this.#socket = new this.host.settings.WebSocket(url.href, fits ? [CODEC, TOKEN + token] : [CODEC]);
    socket.onmessage = (e) => this.#message(e.data);
    socket.onclose = (e) => this.#lose(lossByCode(e.code, e.reason));
  }
  #message(data) {
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
  #take(f) {
    if (!this.#hello && f.type !== "hello") throw new ProtocolError(`${f.type} before hello`);
    switch (f.type) {
      case "hello":
        return this.#greet(f);
      case "ack":
        return this.#ack(f);
      case "error":
        return this.#error(f);
      case "drain":
        this.#leaveAt = this.host.now() + f.reconnect_after_ms;
        return;
      case "pong":
      case "close":
        return;
      default: {
        const sub = this.#topics.get(f.topic);
        if (sub) this.host.frame(sub, f);
        if (sub?.ended) this.#topics.delete(f.topic);
      }
    }
  }
  // A server that wants a token first says hello once more after it.
  #greet(f) {
    if (f.version !== 1) {
      return this.#lose({ why: `the server speaks version ${f.version}`, retry: "never", ours: true });
    }
    if (!this.#hello) this.host.heard(this);
    this.#hello = f;
    if (f.auth_required) {
      if (this.#token === void 0) return this.#lose({ why: "a token is needed", retry: "never", ours: true, token: true });
      return this.#send({ type: "auth", token: this.#token });
    }
    if (f.auth_until && f.time && this.#token !== void 0) {
      const left = Number((integer(f.auth_until) - integer(f.time)) / 1000000n);
      this.#renewAt = this.host.now() + Math.max(1e3, left * 4 / 5);
    }
    this.host.hello(this, f);
    this.#ready = true;
    this.update();
  }
  #ack(f) {
    if (f.ended) return void this.#topics.delete(f.topic);
    const sub = this.#answered(f.id, f.item);
    if (!sub) return;
    this.#topics.set(f.topic, sub);
    this.host.granted(sub, f);
    if (sub.leaving) this.update();
  }
  #error(f) {
    if (f.code === "unauthenticated" && !this.#ready) {
      return this.#lose({ why: f.message ?? f.code, retry: "never", ours: true, token: true });
    }
    for (const sub of this.#concerned(f)) {
      this.host.refused(sub, f);
      if (sub.ended && sub.ack) this.#topics.delete(sub.ack.topic);
    }
    this.update();
  }
  // Whom an error concerns: a topic that was taken back, the items of a subscribe, or a book
  // whose snapshot was asked for. Others concern requests that need no answer.
  #concerned(f) {
    const revoked = f.code === "revoked" && f.topic !== void 0 ? this.#topics.get(f.topic) : void 0;
    if (revoked) return [revoked];
    if (this.#asked.has(f.id)) {
      if (f.item !== void 0) return [this.#answered(f.id, f.item)].filter((s) => s !== null);
      const all = this.#asked.get(f.id) ?? [];
      this.#asked.delete(f.id);
      return all.filter((s) => s !== null);
    }
    return this.host.subs.filter((s) => s.standing === "granted" && s.attempts > 0 && s.request === f.id);
  }
  // The subscription that an answer concerns, once.
  #answered(id, item) {
    const all = this.#asked.get(id), sub = all?.[item] ?? null;
    if (all && sub) {
      all[item] = null;
      if (all.every((s) => s === null)) this.#asked.delete(id);
    }
    return sub;
  }
  update() {
    if (!this.#ready || this.#ended) return;
    const now = this.host.now(), ask = [];
    for (const sub of this.host.subs) {
      if (sub.leaving && sub.standing !== "asked") this.#leave(sub);
    }
    for (const sub of this.host.subs) {
      if (sub.standing === "waiting" && sub.due <= now && !this.#mustWait(sub)) ask.push(sub);
    }
    this.#subscribe(ask, now);
  }
  // The server may have what is leaving, and cannot be told yet: the same view must not be
  // asked for before it has been.
  #mustWait(sub) {
    return this.host.subs.some((s) => s.leaving && s.item.symbol === sub.item.symbol && s.channel === sub.channel);
  }
  #leave(sub) {
    const topic = sub.standing === "granted" ? sub.ack?.topic : void 0;
    sub.end("");
    if (topic === void 0) return;
    this.#topics.delete(topic);
    this.#send({ type: "unsubscribe", topics: [topic] });
  }
  // Asks in as few requests as the server's limits allow.
  #subscribe(subs, now) {
    const limits = this.#hello?.limits;
    let most = limits?.max_items || subs.length;
    while (subs.length > 0) {
      const some = subs.slice(0, most);
      const items = some.map((s) => s.wanted());
      const bytes = 3 * JSON.stringify(items).length;
      if (limits && bytes > limits.max_message_bytes && some.length > 1) {
        most = Math.ceil(some.length / 2);
        continue;
      }
      this.#asked.set(this.#lastId + 1, some);
      this.#send({ type: "subscribe", items });
      for (const s of some) [s.standing, s.due] = ["asked", now + this.host.settings.answerMs];
      subs = subs.slice(some.length);
    }
  }
  resync(sub, cause) {
    const topic = sub.ack?.topic, book = sub.book;
    if (topic === void 0 || !book) return;
    sub.request = this.#lastId + 1;
    if (cause === "gap") this.#send({ type: "resync", topics: [topic] });
    else this.#send({ type: "mismatch", topic, seq: String(book.seq), hash: book.hash });
  }
  tick(now) {
    const { pingMs, pongMs } = this.host.settings;
    if (!this.#hello) {
      if (now >= this.#openBy) this.#lose({ why: "no answer", retry: "after", ours: false });
      return;
    }
    if (this.#leaveAt > 0 && now >= this.#leaveAt) {
      return this.#lose({ why: "the server stops", retry: "now", ours: true, waitMs: 0, planned: true });
    }
    if (this.host.subs.some((s) => s.standing === "asked" && now >= s.due)) {
      return this.#lose({ why: "no answer to a subscribe", retry: "after", ours: true });
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
  #renew(now) {
    this.#renewAt = now + 5e3;
    this.host.renewToken().then((token) => {
      if (token === void 0 || token === this.#token || this.#ended) return;
      this.#token = token;
      this.#send({ type: "auth", token });
    }, () => void 0);
  }
  #send(message) {
    if (this.#socket?.readyState === OPEN) this.#socket.send(JSON.stringify({ id: ++this.#lastId, ...message }));
  }
  close() {
    this.#ended = true;
    this.#socket?.close(1e3);
  }
  #lose(loss) {
    if (this.#ended) return;
    this.close();
    this.host.lost(this, loss);
  }
};

// web/client/streams.ts
var MAX_TOPICS = 64;
var MAX_LINE = 7600;
var StreamLink = class {
  constructor(kind, host, carry) {
    this.kind = kind;
    this.host = host;
    this.carry = carry;
    this.update();
  }
  kind;
  host;
  carry;
  #streams = [];
  #ended = false;
  #heard = false;
  #queued = false;
  #leaveAt = 0;
  // Arranges anew what is followed, once whoever changes it has done with it.
  update() {
    if (this.#queued) return;
    this.#queued = true;
    queueMicrotask(() => {
      this.#queued = false;
      if (!this.#ended) this.#arrange();
    });
  }
  #arrange() {
    for (const sub of this.host.subs) if (sub.leaving) sub.end("");
    const groups = arrange(this.host.subs.filter((s) => !s.ended));
    const kept = groups.map((group) => this.#streams.find((s) => s.follows(group)) ?? group);
    for (const s of this.#streams) if (!kept.includes(s)) s.forget();
    this.#streams = kept.map((k) => k instanceof Stream ? k : new Stream(this, k, this.carry));
  }
  tick(now) {
    if (this.#leaveAt > 0 && now >= this.#leaveAt) {
      return this.lose({ why: "the server stops", retry: "now", ours: true, waitMs: 0, planned: true });
    }
    for (const s of this.#streams) s.tick(now);
  }
  resync(sub) {
    this.#streams.find((s) => s.subs.includes(sub))?.resync();
  }
  heard() {
    if (this.#heard || this.#ended) return;
    this.#heard = true;
    this.host.heard(this);
  }
  drain(afterMs) {
    if (this.#leaveAt === 0) this.#leaveAt = this.host.now() + afterMs;
  }
  close() {
    this.#ended = true;
    for (const s of this.#streams) s.close();
  }
  lose(loss) {
    if (this.#ended) return;
    this.close();
    this.host.lost(this, loss);
  }
};
var Stream = class {
  constructor(link, subs, carry) {
    this.link = link;
    this.subs = subs;
    this.carry = carry;
    this.host = link.host;
    this.#aliveAt = this.host.now();
    this.#begin();
  }
  link;
  subs;
  carry;
  host;
  #topics = /* @__PURE__ */ new Map();
  #abort = new AbortController();
  #heard = false;
  #aliveAt;
  #retryMs = 0;
  #anewAt = -Infinity;
  // when snapshots of everything were last asked for
  #symbols = [];
  // as the URL names them: errors count its items
  #channels = [];
  get #live() {
    return this.subs.filter((s) => !s.ended);
  }
  // Whether it brings these and nothing else. What has ended meanwhile does no harm.
  follows(group) {
    const mine = this.#live;
    return mine.length === group.length && mine.every((s) => group.includes(s));
  }
  query() {
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
  get token() {
    const now = this.host.now(), live = this.#live;
    if (live.some((s) => s.book?.lost) && now - this.#anewAt >= this.host.settings.resyncMs) {
      this.#anewAt = now;
      this.host.tokens.drop(live);
    }
    return this.host.tokens.of(live);
  }
  stands(token) {
    this.host.tokens.keep(token, this.#live);
  }
  retryIn(ms) {
    this.#retryMs = ms;
  }
  #begin() {
    const abort = this.#abort = new AbortController();
    const alive = () => {
      this.#aliveAt = this.host.now();
    };
    this.#topics.clear();
    this.#heard = false;
    alive();
    this.carry(this, alive, abort.signal).then(
      () => this.#over(abort, { why: "the stream ended", retry: "after", ours: false }),
      (e) => this.#over(abort, lossOf(e))
    );
  }
  #over(abort, loss) {
    if (!abort.signal.aborted) this.link.lose({ waitMs: this.#retryMs, ...loss, ours: loss.ours || this.#heard });
  }
  // Asks anew for snapshots of everything; not again and again.
  resync() {
    const now = this.host.now();
    if (now - this.#anewAt < this.host.settings.resyncMs) return;
    this.#anewAt = now;
    this.host.tokens.drop(this.#live);
    this.#restart();
  }
  // Asks anew, from where it stands.
  #restart() {
    this.close();
    for (const s of this.subs) s.disconnect();
    this.#begin();
  }
  close() {
    this.#abort.abort();
  }
  // Ends for good what nobody wants so any more.
  forget() {
    this.close();
    for (const s of this.subs) s.disconnect();
  }
  tick(now) {
    const { openMs, silenceMs } = this.host.settings;
    if (now - this.#aliveAt >= (this.#heard ? silenceMs : openMs)) {
      this.close();
      return this.link.lose({ why: "nothing came", retry: "after", ours: this.#heard });
    }
    if (this.#heard && this.subs.some((s) => s.standing === "waiting" && s.due > 0 && now >= s.due)) this.#restart();
  }
  take(f) {
    this.#heard = true;
    this.link.heard();
    switch (f.type) {
      case "hello":
        return this.host.hello(this.link, f);
      case "drain":
        return this.link.drain(f.reconnect_after_ms);
      case "error":
        return this.#refused(f);
      case "pong":
        return;
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
  #refused(f) {
    for (const sub of this.#concerned(f)) if (!sub.ended) this.host.refused(sub, f);
  }
  // Items are counted symbol by symbol, each in every channel. Without one all are meant.
  #concerned(f) {
    if (f.topic !== void 0) return [this.#topics.get(f.topic)].filter((s) => s !== void 0);
    if (f.item === void 0) return this.subs;
    const channels = this.#channels;
    const symbol = this.#symbols[Math.floor(f.item / channels.length)], channel = channels[f.item % channels.length];
    return this.subs.filter((s) => s.item.symbol === symbol && s.channel === channel);
  }
};
function parameters(s) {
  const { channel: _, symbol: __, resume: ___, ...rest } = s.wanted();
  return Object.entries(rest).map(([name, value]) => [name, value === true ? "1" : String(value)]);
}
function arrange(subs) {
  const bySymbol = /* @__PURE__ */ new Map();
  for (const s of subs) {
    const sets = bySymbol.get(s.item.symbol) ?? [];
    bySymbol.set(s.item.symbol, sets);
    const set = sets.find((all) => all.every((o) => o.channel !== s.channel && agree(o, s)));
    if (set) set.push(s);
    else sets.push([s]);
  }
  const groups = /* @__PURE__ */ new Map();
  for (const set of [...bySymbol.values()].flat()) {
    set.sort((a, b) => a.channel < b.channel ? -1 : 1);
    const signature = JSON.stringify(set.map((s) => [s.channel, parameters(s)]));
    const alike = groups.get(signature) ?? [];
    groups.set(signature, alike);
    const room = alike.find((g) => g.length + set.length <= MAX_TOPICS && taken([...g, ...set]) <= MAX_LINE);
    if (room) room.push(...set);
    else alike.push([...set]);
  }
  return [...groups.values()].flat();
}
function taken(subs) {
  const symbols = new Set(subs.map((s) => s.item.symbol));
  const names = [...symbols].reduce((sum, s) => sum + "&symbol=".length + encodeURIComponent(s).length, 0);
  return subs.reduce((sum, s) => sum + (48 + s.item.symbol.length) * 4 / 3, names);
}
var agree = (a, b) => (a.item.intervalMs ?? 0) === (b.item.intervalMs ?? 0) && (a.item.policy ?? "conflate") === (b.item.policy ?? "conflate");

// web/client/quote.ts
var Quote = class {
  #ticker = null;
  #anew = false;
  // the next one replaces it, whatever its seq
  #epoch = "";
  #seq = -1n;
  // The newest one; null: not known. What it leaves out is not known either.
  get ticker() {
    return this.#ticker;
  }
  // Moves on to a ticker; false where it is not newer.
  take(f) {
    const seq = integer(f.seq);
    if (this.#ticker && !this.#anew && seq < this.#seq) return false;
    [this.#ticker, this.#anew, this.#seq] = [f, false, seq];
    return true;
  }
  // Takes an ack or a snapshot: the ticker that follows counts. What is known is kept
  // until then, if it is of the same history.
  replace(epoch) {
    if (epoch !== this.#epoch) this.#ticker = null;
    [this.#anew, this.#epoch] = [true, epoch];
  }
  // As a keepalive does.
  advance(seq) {
    if (seq > this.#seq) this.#seq = seq;
  }
  // Takes away what is not known while the book is recovering.
  void() {
    if (!this.#ticker) return;
    const { bid: _b, bid_qty: _bq, ask: _a, ask_qty: _aq, ...rest } = this.#ticker;
    this.#ticker = rest;
  }
  resume() {
    return this.#ticker ? { epoch: this.#epoch, seq: String(this.#seq) } : void 0;
  }
};

// web/client/tape.ts
var Tape = class {
  #begun = false;
  // epoch, seq and ordinal are known, if only as none yet
  #epoch = "";
  #seq = -1n;
  #ordinal = 0n;
  // of the last trade seen or counted as missed; 0: none yet
  // Begins anew, unless the epoch is the one that is known.
  begin(epoch) {
    if (this.#begun && epoch === this.#epoch) return;
    [this.#begun, this.#epoch, this.#seq, this.#ordinal] = [true, epoch, -1n, 0n];
  }
  // Takes a snapshot, from whose seq on what follows is counted, even if that is a step back.
  replace(epoch, seq) {
    this.begin(epoch);
    if (seq - 1n < this.#seq) this.#seq = seq - 1n;
  }
  // As a keepalive does.
  advance(seq) {
    if (seq > this.#seq) this.#seq = seq;
  }
  // Moves on over a frame; null where it brings nothing new. Seq decides what is new where
  // it can; ordinals decide within a frame that begins before it. A server that had to
  // count from a later point of the log gives smaller ordinals: those are new trades too.
  take(f) {
    const seq = integer(f.seq), history = f.history ?? false;
    if (seq <= this.#seq && !history) return null;
    const ordinals = f.trades.map((t) => integer(t.ordinal));
    let last = this.#ordinal, trades = f.trades;
    const newest = ordinals.at(-1);
    if (history && newest !== void 0 && seq >= this.#seq && newest < last) last = 0n;
    if (history || integer(f.prev_seq) < this.#seq) trades = trades.filter((_, i) => ordinals[i] > last);
    this.advance(seq);
    const news = { trades, history, ...missedBefore(f, trades, last) };
    this.#ordinal = news.missed > 0n ? news.missedLast : last;
    for (const t of trades) {
      const ordinal = integer(t.ordinal);
      if (ordinal > this.#ordinal || !(t.correction || t.cancellation)) this.#ordinal = ordinal;
    }
    return trades.length > 0 || news.missed > 0n ? news : null;
  }
  resume() {
    return this.#begun ? { epoch: this.#epoch, seq: String(this.#seq), ordinal: String(this.#ordinal) } : void 0;
  }
};
function missedBefore(f, trades, last) {
  let first = last + 1n, upTo = integer(f.missed_last ?? "0");
  const next = trades[0] && integer(trades[0].ordinal);
  if (last === 0n) first = integer(f.missed_first ?? "0");
  else if (next !== void 0 && next > last) upTo = next - 1n;
  if (first === 0n || upTo < first) return { missed: 0n, missedFirst: 0n, missedLast: 0n };
  return { missed: upTo - first + 1n, missedFirst: first, missedLast: upTo };
}

// web/client/subscription.ts
var Subscription = class {
  constructor(item) {
    this.item = item;
    this.channel = item.channel ?? "book";
    if (item.symbol === "" || item.symbol.endsWith("*")) throw new RangeError(`${JSON.stringify(item.symbol)} is no symbol`);
    this.book = this.channel === "book" ? new Book() : null;
    this.tape = this.channel === "trades" ? new Tape() : null;
    this.quote = this.channel === "ticker" ? new Quote() : null;
  }
  item;
  channel;
  book;
  // of the channel book
  tape;
  // of the channel trades
  quote;
  // of the channel ticker
  // As granted; null before.
  ack = null;
  // Why it has ended; empty where the user ended it, or it has not.
  why = "";
  // Owned by the client and its link.
  standing = "waiting";
  leaving = false;
  // the user wants it ended, and the server cannot be told yet
  due = 0;
  // waiting: not to be asked for before; asked: to be answered by; granted: the snapshot
  // is to be asked for at that time. 0: nothing is due
  attempts = 0;
  // how often the snapshot of the present loss was asked for
  request = 0;
  // id of the request that did so last
  #state = "recovering";
  #reason = "";
  #phase = "";
  // State of the symbol's book, and of ours where we have one: show what is live, mark what
  // is stale, show nothing of what is recovering. Stale without a reason: the link is lost.
  get state() {
    return this.book?.state ?? this.#state;
  }
  get reason() {
    return this.book?.reason ?? this.#reason;
  }
  get phase() {
    return this.#phase;
  }
  // The view reaches further than the source tells.
  get partial() {
    return this.book?.partial ?? false;
  }
  // The topic is late by so much, on purpose; 0: it is not.
  get delayMs() {
    return this.ack?.delay_ms ?? 0;
  }
  get ended() {
    return this.standing === "ended";
  }
  // The item as sent, with what a resume needs.
  wanted() {
    const { symbol, depth, group, counts, intervalMs, policy, last } = this.item;
    const resume = (this.book ?? this.tape ?? this.quote)?.resume();
    return {
      symbol,
      channel: this.channel,
      ...depth && { depth },
      ...group && { group },
      ...counts && { counts },
      ...intervalMs && { interval_ms: intervalMs },
      ...policy && { policy },
      ...last && { last },
      ...resume && { resume }
    };
  }
  grant(f) {
    [this.ack, this.standing, this.due, this.attempts] = [f, "granted", 0, 0];
    this.book?.grant(f);
    this.tape?.begin(f.epoch);
    this.quote?.replace(f.epoch);
    this.#mark(f.state, f.reason, f.phase);
  }
  take(f) {
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
  #takeBook(book, f) {
    let event, outcome;
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
  #status(f) {
    this.#mark(f.state, f.reason, f.phase);
    this.book?.status(f);
    if (this.#state === "recovering") {
      [this.due, this.attempts] = [0, 0];
      this.quote?.void();
    }
    if (f.final) this.end(f.reason ?? "ended");
    return { event: { type: "status", sub: this, final: f.final ?? false, ...f.new_symbol && { newSymbol: f.new_symbol } } };
  }
  // A snapshot without levels begins trades or a ticker anew.
  #anew(f) {
    this.tape?.replace(f.epoch, integer(f.seq));
    this.quote?.replace(f.epoch);
    this.#mark(f.state, f.state_reason, f.phase);
    return { event: { type: "status", sub: this, final: false } };
  }
  #mark(state, reason, phase) {
    [this.#state, this.#reason, this.#phase] = [stateOf(state), reason ?? "", phase ?? ""];
  }
  // The link is lost: back to the beginning, with what a resume needs.
  disconnect() {
    [this.due, this.attempts, this.request] = [0, 0, 0];
    this.#stale();
    if (this.leaving) this.end("");
    if (!this.ended) this.standing = "waiting";
  }
  // Final.
  end(why) {
    [this.standing, this.due, this.leaving, this.why] = ["ended", 0, false, why];
    this.#stale();
  }
  #stale() {
    this.book?.stale();
    if (this.#state === "live") [this.#state, this.#reason] = ["stale", ""];
  }
};

// web/client/token.ts
var Token = class {
  // shown again, it would be refused again
  constructor(provide) {
    this.provide = provide;
  }
  provide;
  #shown;
  #text;
  #refused;
  // The token of the present link; undefined: none is wanted.
  async present() {
    if (!this.provide) return void 0;
    this.#shown ??= Promise.resolve(this.provide());
    try {
      this.#text = await this.#shown;
    } catch (e) {
      this.#shown = void 0;
      throw new Broken({ why: `no token: ${e instanceof Error ? e.message : String(e)}`, retry: "after", ours: true });
    }
    if (this.#text === this.#refused) throw new Broken({ why: "the token was refused", retry: "never", ours: true });
    return this.#text;
  }
  // Has the next call of present ask for a new one.
  renew() {
    this.#shown = void 0;
  }
  // Notes that the token was refused. Whether there may be another one.
  refuse() {
    if (!this.provide || this.#text === void 0 || this.#text === this.#refused) return false;
    this.#refused = this.#text;
    this.#shown = void 0;
    return true;
  }
};

// web/client/client.ts
var TICK_MS = 250;
var Client = class {
  constructor(config) {
    this.config = config;
    const { openMs = 5e3, answerMs = 1e4, resyncMs = 5e3, pingMs = 15e3, pongMs = 1e4, silenceMs = 45e3 } = config;
    const { WebSocket = globalThis.WebSocket, fetch = globalThis.fetch.bind(globalThis) } = config;
    this.settings = { openMs, answerMs, resyncMs, pingMs, pongMs, silenceMs, WebSocket, fetch };
    this.#backoff = config.backoffMs ?? [250, 15e3];
    this.#token = new Token(config.token);
    this.memory = new Memory(config.storage === void 0 ? localStorageIfAny() : config.storage, () => this.now());
    this.#state = { kind: this.memory.best(), connected: false, why: "", retryInMs: 0 };
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#connect();
  }
  config;
  settings;
  tokens = new ResumeTokens();
  memory;
  #subs = [];
  #token;
  #backoff;
  #attempts = 0;
  // that failed in a row
  #link = null;
  #rival = null;
  // of a better kind, tried beside the link
  #upAt = 0;
  // since when the link comes through; 0: it does not
  #proven = null;
  // came through last, and did not fail since
  #timer;
  #ticker;
  #state;
  #hello = null;
  #closed = false;
  get link() {
    return this.#state;
  }
  get subs() {
    return this.#subs;
  }
  // What the server said when the link came up; null: nothing yet, or the link is of polls.
  get greeting() {
    return this.#hello;
  }
  subscribe(item) {
    const sub = new Subscription(item);
    this.#subs.push(sub);
    queueMicrotask(() => this.#link?.update());
    return sub;
  }
  // Ends one. Nothing more is told of it.
  unsubscribe(sub) {
    sub.leaving = !sub.ended;
    queueMicrotask(() => this.#link?.update());
  }
  // Ends the client.
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#ticker);
    this.#rival?.close();
    this.#link?.close();
    this.#link = this.#rival = null;
    for (const sub of this.#subs) sub.disconnect();
  }
  // Host.
  now() {
    return Date.now();
  }
  url(path) {
    return new URL(path, this.config.url ?? globalThis.location.origin);
  }
  token() {
    return this.#token.present();
  }
  renewToken() {
    this.#token.renew();
    return this.#token.present();
  }
  heard(link) {
    this.memory.worked(link.kind);
    if (link === this.#rival) {
      this.#link?.close();
      [this.#link, this.#rival] = [link, null];
      for (const sub of this.#subs) sub.disconnect();
      link.update();
    }
    [this.#upAt, this.#proven] = [this.now(), link.kind];
    this.#say({ kind: link.kind, connected: true, why: "", retryInMs: 0 });
  }
  hello(link, f) {
    if (link === this.#link) this.#hello = f;
  }
  granted(sub, f) {
    const anew = sub.standing !== "granted";
    sub.grant(f);
    this.#expectSnapshot(sub);
    if (anew && !sub.leaving) this.#emit({ type: "granted", sub, ack: f });
  }
  refused(sub, f) {
    const retryInMs = f.retry === "now" ? 0 : f.retry === "after" ? f.retry_after_ms || 1e3 : -1;
    if (sub.leaving) return sub.end("");
    if (retryInMs < 0) sub.end(f.message ?? f.code);
    else {
      if (sub.standing === "asked") sub.standing = "waiting";
      sub.due = this.now() + Math.max(1, retryInMs);
    }
    this.#emit({ type: "refused", sub, error: f, retryInMs });
  }
  frame(sub, f) {
    if (sub.leaving || sub.ended) return;
    const { event, lost } = sub.take(f);
    if (event) this.#emit(event);
    if (lost && sub.attempts === 0) this.#resync(sub, lost);
    else this.#expectSnapshot(sub);
  }
  lost(link, loss) {
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
    if (!heard && !loss.ours && link.kind !== "poll") return void this.#probe(link.kind, loss);
    this.#retry(loss.why, this.#wait(loss));
  }
  // Finds out why a link did not come up: whether the server can be reached at all. Then its
  // kind does not come through here, and the next one is tried at once; but for a kind that
  // has come through before: the server may have been away a moment ago, so it is tried
  // once more.
  async #probe(kind, loss) {
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
    const blocked = there && this.#proven !== kind;
    if (there) this.#proven = null;
    if (blocked) this.memory.failed(kind);
    this.#retry(loss.why, blocked ? 0 : this.#wait(loss));
  }
  // Between half and all of the first wait * 2^attempts, and no less than was asked for.
  #wait(loss) {
    if (loss.planned) return loss.waitMs ?? 0;
    const [first, most] = this.#backoff, wait = Math.min(most, first * 2 ** this.#attempts++);
    return Math.max(wait / 2 + Math.random() * wait / 2, loss.waitMs ?? 0);
  }
  #retry(why, retryInMs) {
    this.#say({ kind: this.memory.best(), connected: false, why, retryInMs });
    this.#timer = setTimeout(() => this.#connect(), retryInMs);
  }
  #drop() {
    this.#rival?.close();
    this.#link?.close();
    [this.#link, this.#rival, this.#upAt, this.#hello] = [null, null, 0, null];
    for (const sub of this.#subs) sub.disconnect();
    this.#forget();
  }
  #connect() {
    this.#token.renew();
    this.#link = this.#make(this.memory.best());
  }
  #make(kind) {
    switch (kind) {
      case "websocket":
        return new SocketLink(this);
      case "events":
        return new StreamLink(kind, this, carryEvents);
      case "poll":
        return new StreamLink(kind, this, carryPolls);
    }
  }
  #tick() {
    const now = this.now();
    this.#rival?.tick(now);
    this.#link?.tick(now);
    for (const sub of this.#subs) {
      if (sub.standing === "granted" && sub.due > 0 && now >= sub.due) this.#resync(sub, "gap");
    }
    this.#forget();
    this.#improve();
  }
  // Tries a better kind of link beside one that works, once that has been left alone for
  // long enough.
  #improve() {
    if (this.#upAt === 0 || !this.#link || this.#rival || this.#subs.length === 0) return;
    const best = this.memory.best();
    if (KINDS.indexOf(best) < KINDS.indexOf(this.#link.kind)) this.#rival = this.#make(best);
  }
  #forget() {
    if (this.#subs.some((s) => s.ended)) this.#subs = this.#subs.filter((s) => !s.ended);
  }
  // A book that the server calls live does not stay void for want of a snapshot.
  #expectSnapshot(sub) {
    if (sub.book?.announced && !sub.book.whole && sub.due === 0 && sub.standing === "granted") sub.due = this.now() + this.settings.resyncMs;
  }
  #resync(sub, cause) {
    sub.attempts++;
    sub.due = this.now() + this.settings.resyncMs;
    this.#emit({ type: "lost", sub, cause, attempt: sub.attempts });
    this.#link?.resync(sub, cause);
  }
  #say(state) {
    this.#state = state;
    this.#emit({ type: "link", link: state });
  }
  #emit(event) {
    try {
      this.config.on(event);
    } catch (e) {
      if (typeof globalThis.reportError === "function") globalThis.reportError(e);
      else console.error(e);
    }
  }
};
function localStorageIfAny() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}
export {
  ASK,
  BID,
  Book,
  Client,
  EventParser,
  KINDS,
  Memory,
  ProtocolError,
  Quote,
  Subscription,
  Tape,
  arrange,
  decimal,
  lossByCode,
  mantissa,
  mix
};
