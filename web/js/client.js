// Code generated from web/*.ts by make generate. DO NOT EDIT.

// web/client/item.ts
var isWildcard = (i) => isPattern(i.symbol) && i.channel !== "instruments";
var isPattern = (symbol) => symbol.endsWith("*");
var sameView = (a, b) => (a.depth ?? 0) === (b.depth ?? 0) && (a.group ?? "") === (b.group ?? "") && (a.counts ?? false) === (b.counts ?? false) && sameWay(a, b);
var sameWay = (a, b) => (a.intervalMs ?? 0) === (b.intervalMs ?? 0) && (a.policy ?? "conflate") === (b.policy ?? "conflate");

// web/client/arrange.ts
var MAX_TOPICS = 64;
var MAX_LINE = 7600;
function arrange(subs) {
  const patterns = subs.filter((s) => s.pattern), bySymbol = /* @__PURE__ */ new Map();
  for (const s of subs.filter((s2) => !s2.pattern)) {
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
  return [...[...groups.values()].flat(), ...patterns.map((p) => [p])];
}
function taken(subs) {
  const symbols = new Set(subs.map((s) => s.item.symbol));
  const names = [...symbols].reduce((sum2, s) => sum2 + "&symbol=".length + encodeURIComponent(s).length, 0);
  return subs.reduce((sum2, s) => sum2 + (52 + s.item.symbol.length) * 4 / 3, names);
}
var agree = (a, b) => sameWay(a.item, b.item) && (!deep(a) || !deep(b) || (a.item.depth ?? 0) === (b.item.depth ?? 0));
var deep = (s) => s.channel === "book" || s.channel === "orders";
function parameters(s) {
  const { depth, group, counts, interval_ms, policy, last } = s.wanted();
  const used = {
    ...deep(s) && { depth },
    ...s.channel === "book" && { group, counts },
    interval_ms,
    policy,
    ...s.channel === "trades" && { last }
  };
  return Object.entries(used).flatMap(([name, value]) => value === void 0 ? [] : [[name, value === true ? "1" : String(value)]]);
}

// web/client/wire.ts
var FRAMES = /* @__PURE__ */ new Set(["hello", "ack", "error", "snapshot", "delta", "orders", "status", "keepalive", "trades", "ticker", "instruments", "drain", "pong", "close"]);
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
var mix = (side, price, qty) => scramble(sum(side, price, qty));
function mixOrder(side, o) {
  if (o.qty === 0n) return 0;
  return scramble(sum(side, o.price, o.qty) + Math.imul(low(o.id), 3432918353) + Math.imul(high(o.id), 461845907) + Math.imul(low(o.rankSeq), 2146121005) + Math.imul(high(o.rankSeq), 2221713035) + Math.imul(o.rankIndex, 3039394381));
}
function sum(side, price, qty) {
  return Math.imul(low(price), 2654435761) + Math.imul(high(price), 2246822519) + Math.imul(low(qty), 3266489917) + Math.imul(high(qty), 668265263) + Math.imul(side, 374761393);
}
function scramble(v) {
  v |= 0;
  v ^= v >>> 16;
  v = Math.imul(v, 2246822507);
  v ^= v >>> 13;
  v = Math.imul(v, 3266489909);
  return (v ^ v >>> 16) >>> 0;
}

// web/client/levels.ts
var Levels = class {
  constructor(side) {
    this.side = side;
  }
  side;
  // Best first.
  levels = [];
  // Whether a price is better than another.
  better(a, b) {
    return this.side === BID ? a > b : a < b;
  }
  // Where a price is, or belongs.
  find(price) {
    let from = 0, to = this.levels.length;
    while (from < to) {
      const middle = from + to >>> 1;
      if (this.better(this.levels[middle].price, price)) from = middle + 1;
      else to = middle;
    }
    return from;
  }
  // Takes a change of a frame over. Returns what that adds to the hash.
  change(wire, x) {
    const level = readLevel(wire, x), i = this.find(level.price), old = this.levels[i];
    let sum2 = 0;
    const there = old?.price === level.price;
    if (there) sum2 -= mix(this.side, old.price, old.qty);
    if (level.qty !== 0n) sum2 += mix(this.side, level.price, level.qty);
    if (level.qty !== 0n) this.levels.splice(i, there ? 1 : 0, level);
    else if (there) this.levels.splice(i, 1);
    return sum2;
  }
  // Takes what a snapshot has in place of everything. Returns its hash, and whether it
  // is in order: nothing twice, nothing empty.
  replace(wire, x) {
    this.levels = wire.map((w) => readLevel(w, x));
    const inOrder = this.levels.every((l, i) => {
      const before = this.levels[i - 1];
      return l.qty !== 0n && (!before || this.better(before.price, l.price));
    });
    return { hash: this.levels.reduce((sum2, l) => sum2 + mix(this.side, l.price, l.qty) >>> 0, 0), inOrder };
  }
  clear() {
    this.levels = [];
  }
};
function readLevel([price, qty, count], x) {
  const size = mantissa(qty, x.qty);
  return { price: mantissa(price, x.price), qty: size, count: typeof count === "number" ? count : 0 };
}

// web/client/book.ts
var Book = class {
  #bids;
  #asks;
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
  constructor(bids = new Levels(BID), asks = new Levels(ASK)) {
    [this.#bids, this.#asks] = [bids, asks];
  }
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
    const bids = this.#bids.replace([...f.bids, ...f.bid_orders ?? []], this.#exponents);
    const asks = this.#asks.replace([...f.asks, ...f.ask_orders ?? []], this.#exponents);
    this.#hash = bids.hash + asks.hash >>> 0;
    if (!bids.inOrder || !asks.inOrder) return this.#lose("mismatch");
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
    for (const l of f.bids) this.#hash = this.#hash + this.#bids.change(l, this.#exponents) >>> 0;
    for (const l of f.asks) this.#hash = this.#hash + this.#asks.change(l, this.#exponents) >>> 0;
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
    this.#bids.clear();
    this.#asks.clear();
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

// web/client/listings.ts
var Listings = class {
  #of = /* @__PURE__ */ new Map();
  #whole = false;
  // a list has come, or begun to
  #more = false;
  // the frame before goes on in the next one
  #useless = false;
  // and was of no use
  #seq = -1n;
  // By symbol; ended ones are not among them. What is here may be of before while a new
  // list is awaited.
  get all() {
    return this.#of;
  }
  get whole() {
    return this.#whole;
  }
  // Moves on to a frame, by the rule of prev_seq and seq. A frame and those that it goes
  // on in count as one.
  take(f) {
    const goesOn = this.#more, seq = integer(f.seq);
    this.#more = f.more ?? false;
    if (f.snapshot) [this.#of, this.#whole] = [/* @__PURE__ */ new Map(), true];
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
  advance(seq) {
    if (seq > this.#seq) this.#seq = seq;
  }
  // Has it wait for a list.
  void() {
    [this.#whole, this.#more, this.#useless] = [false, false, true];
  }
};

// web/client/orders.ts
var BookByOrder = class extends Book {
  #bids;
  #asks;
  constructor() {
    const bids = new Queues(BID), asks = new Queues(ASK);
    super(bids, asks);
    [this.#bids, this.#asks] = [bids, asks];
  }
  // The orders of a side, best level first, and of a level in the order in which they
  // are served; none while the book is void.
  *orders(side) {
    for (const l of side === BID ? this.bids : this.asks) yield* this.queue(side, l.price);
  }
  // The orders at a price, the one that is served first in front.
  queue(side, price) {
    return this.whole && this.#side(side).byPrice.get(price) || [];
  }
  // An order that the book shows.
  order(id) {
    for (const side of [BID, ASK]) {
      const o = this.whole ? this.#side(side).byID.get(id) : void 0;
      if (o) return { ...o, side };
    }
    return void 0;
  }
  // What is served before an order at its price; undefined where the book does not show it.
  ahead(id) {
    const o = this.order(id);
    if (!o) return void 0;
    const before = this.queue(o.side, o.price).filter((other) => compare(other, o) < 0);
    return { orders: before.length, qty: before.reduce((sum2, other) => sum2 + other.qty, 0n) };
  }
  #side(side) {
    return side === BID ? this.#bids : this.#asks;
  }
};
var Queues = class extends Levels {
  byID = /* @__PURE__ */ new Map();
  byPrice = /* @__PURE__ */ new Map();
  change(wire, x) {
    const o = readOrder(wire, x), old = this.byID.get(o.id);
    if (old) this.#take(old);
    if (o.qty !== 0n) this.#put(o);
    return mixOrder(this.side, o) - (old ? mixOrder(this.side, old) : 0);
  }
  replace(wire, x) {
    this.clear();
    let hash = 0, inOrder = true, before;
    for (const w of wire) {
      const o = readOrder(w, x);
      const follows = !before || (o.price === before.price ? compare(before, o) < 0 : this.better(before.price, o.price));
      inOrder &&= follows && o.qty > 0n && !this.byID.has(o.id);
      if (inOrder) this.#put(o);
      hash = hash + mixOrder(this.side, o) >>> 0;
      before = o;
    }
    return { hash, inOrder };
  }
  clear() {
    super.clear();
    this.byID.clear();
    this.byPrice.clear();
  }
  // Takes an order away, and its level with the last one.
  #take(o) {
    const queue = this.byPrice.get(o.price), at = this.find(o.price), level = this.levels[at];
    this.byID.delete(o.id);
    queue.splice(place(queue, o), 1);
    if (queue.length > 0) {
      this.levels[at] = { ...level, qty: level.qty - o.qty, count: queue.length };
      return;
    }
    this.byPrice.delete(o.price);
    this.levels.splice(at, 1);
  }
  // Takes in an order that is not there.
  #put(o) {
    const queue = this.byPrice.get(o.price) ?? [], at = this.find(o.price), level = this.levels[at];
    queue.splice(place(queue, o), 0, o);
    this.byID.set(o.id, o);
    this.byPrice.set(o.price, queue);
    const there = level?.price === o.price;
    this.levels.splice(at, there ? 1 : 0, { price: o.price, qty: o.qty + (there ? level.qty : 0n), count: queue.length });
  }
};
function compare(a, b) {
  if (a.rankSeq !== b.rankSeq) return a.rankSeq < b.rankSeq ? -1 : 1;
  if (a.rankIndex !== b.rankIndex) return a.rankIndex - b.rankIndex;
  return a.id === b.id ? 0 : a.id < b.id ? -1 : 1;
}
function place(queue, o) {
  let from = 0, to = queue.length;
  while (from < to) {
    const middle = from + to >>> 1;
    if (compare(queue[middle], o) < 0) from = middle + 1;
    else to = middle;
  }
  return from;
}
function readOrder(wire, x) {
  const [id, price, qty, rankSeq, rankIndex] = wire;
  if (!Number.isInteger(rankIndex) || rankIndex < 0 || rankIndex >= 2 ** 32) throw new ProtocolError(`${String(rankIndex)} is no rank`);
  return { id: integer(id), price: mantissa(price, x.price), qty: mantissa(qty, x.qty), rankSeq: integer(rankSeq), rankIndex };
}

// web/client/pattern.ts
var Brought = class {
  subs = /* @__PURE__ */ new Map();
  // by symbol; ended ones are not among them
  declined = /* @__PURE__ */ new Set();
  // symbols whose subscription the user has ended
  told = "";
  // what could not be had, as last said by this link
  // The subscription that an ack of the pattern concerns: a new one, or one that it had
  // brought before. null: the user does not want it, or has made another view of it.
  take(pattern, symbol, make) {
    if (pattern.leaving || pattern.ended || this.declined.has(symbol)) return null;
    const known = this.subs.get(symbol);
    if (known) return known.byName || known.leaving ? null : known;
    const sub = make();
    this.subs.set(symbol, sub);
    return sub;
  }
};

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
  // broughtBy is the pattern that has brought it, if one has.
  constructor(item, broughtBy = null) {
    this.broughtBy = broughtBy;
    this.#item = item;
    const c = this.channel = item.channel ?? "book";
    if (item.symbol === "") throw new RangeError("an item without a symbol");
    this.pattern = isWildcard(item) ? new Brought() : null;
    this.book = this.pattern ? null : c === "book" ? new Book() : c === "orders" ? new BookByOrder() : null;
    this.tape = !this.pattern && c === "trades" ? new Tape() : null;
    this.quote = !this.pattern && c === "ticker" ? new Quote() : null;
    this.listings = c === "instruments" ? new Listings() : null;
  }
  broughtBy;
  channel;
  book;
  // of the channel book; a BookByOrder of orders
  tape;
  // of the channel trades
  quote;
  // of the channel ticker
  listings;
  // of the channel instruments
  pattern;
  // of a pattern in the other channels, which has none of the above
  // As granted; null before.
  ack = null;
  // Why it has ended; empty where the user ended it, or it has not.
  why = "";
  // Owned by the client and its link.
  standing = "waiting";
  leaving = false;
  // the user wants it ended, and the server cannot be told yet
  due = 0;
  // waiting: not to be asked for before; granted: the snapshot is to be asked for at that
  // time. 0: nothing is due
  attempts = 0;
  // how often the snapshot of the present loss was asked for
  request = 0;
  // id of the request that did so last
  wish = null;
  // what it is to become, and was not asked for yet
  before = null;
  // what it was, until the server has granted what it is to become
  changing = false;
  // the server was asked to change it in place, and has not answered
  byPattern = false;
  // the server ends it with its pattern
  #item;
  #state = "recovering";
  #reason = "";
  #phase = "";
  // What was asked for, as last changed.
  get item() {
    return this.#item;
  }
  // Of a pattern: what it has brought, by symbol.
  get brought() {
    return this.pattern?.subs ?? /* @__PURE__ */ new Map();
  }
  // Whether it is to be asked for by its name: no pattern brings it, or not so.
  get byName() {
    return !this.broughtBy || this.broughtBy.ended || !sameView(this.#item, this.broughtBy.item);
  }
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
  // Whether there is nothing to show, though the server has called it live.
  get awaits() {
    return this.book ? this.book.announced && !this.book.whole : this.listings ? !this.listings.whole : false;
  }
  // The item as sent, with what a resume needs.
  wanted() {
    const { symbol, depth, group, counts, intervalMs, policy, last } = this.#item;
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
  // Notes what the user wants it to become: at once where nothing was asked of the server
  // yet, else the link takes it from here.
  change(view) {
    const item = { ...this.wish ?? this.#item, ...view };
    if (this.standing === "waiting") this.become(item);
    else this.wish = item;
  }
  // Makes it another view, until it is granted or reverted.
  become(item) {
    this.before ??= this.#item;
    [this.#item, this.wish] = [item, null];
  }
  // Makes it what it was.
  revert() {
    if (!this.before) return;
    [this.#item, this.before, this.changing] = [this.before, null, false];
  }
  grant(f) {
    [this.ack, this.standing, this.due, this.attempts, this.before, this.changing] = [f, "granted", 0, 0, null, false];
    this.book?.grant(f);
    this.tape?.begin(f.epoch);
    this.quote?.replace(f.epoch);
    if (!f.resumed) this.listings?.void();
    this.#mark(f.state, f.reason, f.phase);
  }
  // Takes the ack of a topic that goes on as it is, but for how it comes.
  adjust(f) {
    [this.ack, this.before, this.changing] = [f, null, false];
  }
  take(f) {
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
      case "orders":
        if (f.type === "orders" !== (this.channel === "orders")) throw new ProtocolError(`${f.type} in the channel ${this.channel}`);
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
  #list(listings, f) {
    const outcome = listings.take(f);
    if (outcome === "ignored") return {};
    if (outcome === "gap") return { lost: outcome };
    if (f.snapshot) [this.due, this.attempts] = [0, 0];
    return { event: { type: "listed", sub: this, instruments: f } };
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
  // A snapshot without levels begins trades, a ticker or listings anew. Of a pattern it
  // has no state to tell.
  #anew(f) {
    this.tape?.replace(f.epoch, integer(f.seq));
    this.quote?.replace(f.epoch);
    if (isPattern(this.#item.symbol)) return {};
    this.#mark(f.state, f.state_reason, f.phase);
    return { event: { type: "status", sub: this, final: false } };
  }
  #mark(state, reason, phase) {
    [this.#state, this.#reason, this.#phase] = [stateOf(state), reason ?? "", phase ?? ""];
  }
  // The link is lost: back to the beginning, with what a resume needs.
  disconnect() {
    [this.due, this.attempts, this.request, this.changing, this.byPattern] = [0, 0, 0, false, false];
    if (this.wish) this.become(this.wish);
    if (this.pattern) this.pattern.told = "";
    this.#stale();
    if (this.leaving) this.end("");
    if (!this.ended) this.standing = "waiting";
  }
  // Final.
  end(why) {
    const symbol = this.#item.symbol, brought = this.broughtBy?.pattern?.subs;
    if (brought?.get(symbol) === this) brought.delete(symbol);
    [this.standing, this.due, this.leaving, this.why] = ["ended", 0, false, why];
    this.#stale();
  }
  #stale() {
    this.book?.stale();
    if (this.#state === "live") [this.#state, this.#reason] = ["stale", ""];
  }
};

// web/client/follower.ts
var Follower = class {
  followed = [];
  get subs() {
    return this.followed;
  }
  granted(sub, f) {
    const anew = sub.standing !== "granted" || sub.changing;
    sub.grant(f);
    this.#expectSnapshot(sub);
    if (anew && !sub.leaving) this.emit({ type: "granted", sub, ack: f });
    if (sub.wish) this.update();
  }
  adjusted(sub, f) {
    sub.adjust(f);
    if (!sub.leaving) this.emit({ type: "granted", sub, ack: f });
    if (sub.wish) this.update();
  }
  brought(pattern, f) {
    return pattern.pattern?.take(pattern, f.symbol, () => {
      const sub = new Subscription({ ...pattern.item, symbol: f.symbol }, pattern);
      this.followed.push(sub);
      return sub;
    }) ?? null;
  }
  refused(sub, f) {
    const retryInMs = f.retry === "now" ? 0 : f.retry === "after" ? f.retry_after_ms || 1e3 : -1;
    if (sub.leaving) return sub.end("");
    if (sub.before && (sub.changing || retryInMs < 0)) return this.#unchanged(sub, f);
    if (retryInMs < 0) sub.end(f.message ?? f.code);
    else {
      if (sub.standing === "asked") sub.standing = "waiting";
      sub.due = this.now() + Math.max(1, retryInMs);
    }
    this.emit({ type: "refused", sub, error: f, retryInMs });
  }
  // Has a subscription go on as it was.
  #unchanged(sub, f) {
    sub.revert();
    if (sub.standing === "asked") sub.standing = "waiting";
    this.emit({ type: "refused", sub, error: f, retryInMs: -1 });
    this.update();
  }
  incomplete(pattern, f) {
    const said = `${f.code} ${f.message ?? ""}`;
    if (!pattern.pattern || pattern.leaving || pattern.pattern.told === said) return;
    pattern.pattern.told = said;
    this.emit({ type: "incomplete", sub: pattern, error: f });
  }
  frame(sub, f) {
    if (sub.leaving || sub.ended) return;
    const { event, lost } = sub.take(f);
    if (event) this.emit(event);
    if (lost && sub.attempts === 0) this.#resync(sub, lost);
    else this.#expectSnapshot(sub);
  }
  ended(sub, why) {
    sub.end(why);
    this.emit({ type: "status", sub, final: true });
  }
  lookAfter(now) {
    for (const sub of this.followed) {
      if (sub.standing === "granted" && sub.due > 0 && now >= sub.due) this.#resync(sub, "gap");
    }
    this.forget();
  }
  forget() {
    if (this.followed.some((s) => s.ended)) this.followed = this.followed.filter((s) => !s.ended);
  }
  // A book that the server calls live does not stay void for want of a snapshot.
  #expectSnapshot(sub) {
    if (sub.awaits && sub.due === 0 && sub.standing === "granted") sub.due = this.now() + this.settings.resyncMs;
  }
  #resync(sub, cause) {
    sub.attempts++;
    sub.due = this.now() + this.settings.resyncMs;
    this.emit({ type: "lost", sub, cause, attempt: sub.attempts });
    this.ask(sub, cause);
  }
};

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
  // A kind did not come through, though the server could be reached; held: it did, but late.
  failed(kind, held = false) {
    if (kind === "poll") return;
    const failures = (this.#blocked[kind]?.failures ?? 0) + 1;
    this.#blocked[kind] = { failures, until: this.now() + Math.min(MOST_MS, FIRST_MS * 2 ** (failures - 1)), held };
    this.#store();
  }
  // A kind came through. For one that was held back before, that must have lasted.
  worked(kind, lasting = false) {
    const block = this.#blocked[kind];
    if (!block || block.held && !lasting) return;
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
        if (typeof block?.failures === "number" && typeof block.until === "number") {
          known[kind] = { failures: block.failures, until: block.until, held: block.held === true };
        }
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
    const query = topics.query(), cursor = topics.token, begun = topics.host.now();
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
    await pause(begun + topics.host.settings.pollMs - topics.host.now(), signal);
  }
}
async function pause(ms, signal) {
  if (ms <= 0 || signal.aborted) return;
  await new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      done();
    }, { once: true });
  });
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

// web/client/asked.ts
var Asked = class {
  // What each asks for, item by item (null once answered), and until when that must be.
  #requests = /* @__PURE__ */ new Map();
  add(id, subs, by) {
    this.#requests.set(id, { subs: [...subs], by });
  }
  // The subscription that an answer concerns, once.
  answered(id, item) {
    const request = this.#requests.get(id), sub = request?.subs[item] ?? null;
    if (request && sub) {
      request.subs[item] = null;
      if (request.subs.every((s) => s === null)) this.#requests.delete(id);
    }
    return sub;
  }
  // All that a request still awaits answers for, where one answers it as a whole;
  // undefined: it is not known.
  whole(id) {
    const request = this.#requests.get(id);
    this.#requests.delete(id);
    return request?.subs.filter((s) => s !== null);
  }
  // An answer about it means nothing any more.
  forget(sub) {
    for (const [id, { subs }] of this.#requests) this.answered(id, subs.indexOf(sub));
  }
  overdue(now) {
    return [...this.#requests.values()].some((r) => now >= r.by);
  }
};

// web/client/socket.ts
var CODEC = "depthcast.v1.json";
var TOKEN = "depthcast.token.";
var OPEN = 1;
var SocketLink = class {
  // of patterns, too, by the number that no frame carries
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
  #asked = new Asked();
  #topics = /* @__PURE__ */ new Map();
  async #open() {
    const token = this.#token = await this.host.token();
    if (this.#ended) return;
    const url = this.host.url("v1/stream");
    url.protocol = url.protocol.replace("http", "ws");
    const fits = token !== void 0 && /^[\w!#$%&'*+.^`|~-]+$/.test(token);
    const socket = this.#socket = new this.host.settings.WebSocket(url.href, fits ? [CODEC, TOKEN + token] : [CODEC]);
    socket.onmessage = (e) => this.#message(e.data);
    socket.onerror = () => this.#lose(lossByCode(1006, ""));
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
    if (f.pattern_topic) return this.#brought(f.pattern_topic, f);
    const sub = this.#asked.answered(f.id, f.item);
    if (!sub) {
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
  #brought(by, f) {
    const pattern = this.#topics.get(by);
    if (!pattern || pattern.leaving || pattern.ended) return;
    const sub = this.host.brought(pattern, f);
    if (!sub || sub.standing === "granted") return this.#send({ type: "unsubscribe", topics: [f.topic] });
    if (sub.standing === "asked") this.#asked.forget(sub);
    this.#topics.set(f.topic, sub);
    this.host.granted(sub, f);
    sub.byPattern = true;
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
  // Whom an error concerns: a topic that was taken back, the items of a request, or a book
  // whose snapshot was asked for. One that concerns what a pattern matches is told of.
  // Others concern requests that need no answer.
  #concerned(f) {
    const revoked = f.code === "revoked" && f.topic !== void 0 ? this.#topics.get(f.topic) : void 0;
    if (revoked) return [revoked];
    const sub = f.item === void 0 ? null : this.#asked.answered(f.id, f.item);
    const concerned = sub ? [sub] : f.item === void 0 ? this.#asked.whole(f.id) : void 0;
    if (concerned) return concerned;
    const pattern = this.host.subs.find((s) => s.pattern && s.standing === "granted" && s.ack?.id === f.id && s.ack.item === f.item);
    if (pattern) this.host.incomplete(pattern, f);
    return this.host.subs.filter((s) => s.standing === "granted" && s.attempts > 0 && s.request === f.id);
  }
  update() {
    if (!this.#ready || this.#ended) return;
    const now = this.host.now();
    this.#leave(this.host.subs.filter((s) => s.leaving && s.standing !== "asked" && !s.changing));
    this.#modify(this.host.subs.filter((s) => s.wish && s.standing === "granted" && !s.changing), now);
    const ask = this.host.subs.filter((s) => s.standing === "waiting" && s.due <= now && !this.#mustWait(s));
    this.#subscribe([...ask.filter((s) => !s.pattern), ...ask.filter((s) => s.pattern)], now);
  }
  // The server may have what is leaving, and cannot be told yet: the same view must not be
  // asked for before it has been.
  #mustWait(sub) {
    return this.host.subs.some((s) => s.leaving && s.channel === sub.channel && (s.item.symbol === sub.item.symbol || s.pattern && sub.item.symbol.startsWith(s.item.symbol.slice(0, -1))));
  }
  #leave(subs) {
    const topics = [];
    for (const sub of subs) {
      const topic = sub.standing === "granted" ? sub.ack?.topic : void 0, withPattern = sub.byPattern && sub.broughtBy?.leaving;
      if (topic !== void 0) this.#topics.delete(topic);
      if (topic !== void 0 && !withPattern) topics.push(topic);
    }
    for (const sub of subs) sub.end("");
    for (let most = this.#hello?.limits?.max_items || topics.length; topics.length > 0; ) {
      this.#send({ type: "unsubscribe", topics: topics.splice(0, most) });
    }
  }
  #modify(subs, now) {
    for (let most = this.#hello?.limits?.max_items || subs.length; subs.length > 0; subs = subs.slice(most)) {
      const some = subs.slice(0, most), items = [];
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
      for (const s of some) [s.standing, s.due] = ["asked", 0];
      this.#ask({ type: "subscribe", items }, some, now);
      subs = subs.slice(some.length);
    }
  }
  // Sends a request whose items must be answered.
  #ask(request, subs, now) {
    this.#asked.add(this.#lastId + 1, subs, now + this.host.settings.answerMs);
    this.#send(request);
  }
  resync(sub, cause) {
    const topic = sub.ack?.topic, book = sub.book;
    if (topic === void 0) return;
    sub.request = this.#lastId + 1;
    if (cause === "gap" || !book) this.#send({ type: "resync", topics: [topic] });
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

// web/client/prompt.ts
var Promptness = class {
  #least = Infinity;
  // of our clock less the server's, ms: how the clocks differ, and the shortest way
  #begun = /* @__PURE__ */ new Set();
  // topics whose first data have come; those may be of before
  // By how many ms a frame that has come now is late, as far as it can be told.
  late(f, now, intervalMs) {
    if (f.type === "ack") this.#begun.delete(f.topic);
    const said = this.#said(f);
    if (said === void 0) return 0;
    const took = now - Number(said) / 1e6;
    this.#least = Math.min(this.#least, took);
    return took - this.#least - intervalMs;
  }
  // When the server said it, in ns; undefined: a frame that may have waited for its reader.
  #said(f) {
    switch (f.type) {
      case "hello":
        return f.time;
      case "keepalive":
        return f.published;
      case "delta":
      case "orders": {
        const first = !this.#begun.has(f.topic);
        this.#begun.add(f.topic);
        return first || f.merged ? void 0 : f.ts?.published;
      }
      default:
        return void 0;
    }
  }
};

// web/client/stream.ts
var AWAKE_MS = 2e3;
var NO_TOPIC = "no_topic";
var IDLE_MS = 5e3;
var Stream = class {
  constructor(link, subs, carry) {
    this.link = link;
    this.subs = subs;
    this.carry = carry;
    this.host = link.host;
    this.#items = subs.map((s) => s.item);
    this.#aliveAt = this.#tickedAt = this.host.now();
    this.#begin();
  }
  link;
  subs;
  carry;
  host;
  #topics = /* @__PURE__ */ new Map();
  #items;
  // of its subscriptions, as asked for
  #unanswered = /* @__PURE__ */ new Set();
  // that a pattern had brought, and this request has not
  #prompt = new Promptness();
  #keepaliveMs = 0;
  #tickedAt;
  #abort = new AbortController();
  #heard = false;
  #aliveAt;
  #retryMs = 0;
  #againAt = 0;
  // when one that had no topic asks again; 0: it has some
  #anewAt = -Infinity;
  // when snapshots of everything were last asked for
  #symbols = [];
  // as the URL names them: errors count its items
  #channels = [];
  get #live() {
    return this.subs.filter((s) => !s.ended);
  }
  // What it brings: what its URL names, and what a pattern among that has brought.
  get followed() {
    return this.subs.flatMap((s) => [s, ...[...s.brought.values()].filter((b) => !b.byName)]);
  }
  // Whether it brings these and nothing else. What has ended meanwhile does no harm.
  follows(group) {
    const mine = this.#live;
    return mine.length === group.length && mine.every((s) => group.includes(s) && this.#items.includes(s.item));
  }
  query() {
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
  get token() {
    const now = this.host.now(), live = this.#live;
    if (this.followed.some((s) => s.book?.lost) && now - this.#anewAt >= this.host.settings.resyncMs) {
      this.#anewAt = now;
      this.host.tokens.drop(live);
    }
    return this.host.tokens.of(live);
  }
  stands(token) {
    this.#settle();
    this.host.tokens.keep(token, this.#live);
  }
  retryIn(ms) {
    this.#retryMs = ms;
  }
  #begin() {
    this.#againAt = 0;
    const abort = this.#abort = new AbortController();
    const alive = () => {
      this.#aliveAt = this.host.now();
    };
    this.#prompt = new Promptness();
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
    for (const s of this.followed) s.disconnect();
    this.#begin();
  }
  close() {
    this.#abort.abort();
  }
  // Ends for good what nobody wants so any more.
  forget() {
    this.close();
    for (const s of this.followed) s.disconnect();
  }
  // The server has nothing to bring of what this one asks for; other streams go on.
  #idle() {
    this.close();
    this.#againAt = this.host.now() + (this.#retryMs || IDLE_MS);
  }
  tick(now) {
    if (this.#againAt > 0) {
      if (now >= this.#againAt && this.#live.length > 0) this.#restart();
      return;
    }
    const awake = now - this.#tickedAt < AWAKE_MS, { openMs } = this.host.settings;
    this.#tickedAt = now;
    if (now - this.#aliveAt >= (this.#heard ? this.#silenceMs() : openMs)) {
      const held = this.#heard && awake && this.link.kind === "events";
      return this.#lose({ why: "nothing came", retry: "after", ours: this.#heard, held });
    }
    for (const s of this.followed) {
      if (s.broughtBy && s.standing === "waiting" && s.due > 0 && now >= s.due) this.host.ended(s, "its pattern does not bring it any more");
    }
    if (this.#heard && this.subs.some((s) => s.standing === "waiting" && s.due > 0 && now >= s.due)) this.#restart();
  }
  // How long a stream may bring nothing: something is heard of each topic that is live.
  #silenceMs() {
    const { openMs, silenceMs } = this.host.settings, live = this.followed.some((s) => !s.pattern && s.standing === "granted" && s.state === "live");
    return this.link.kind === "events" && live && this.#keepaliveMs > 0 ? Math.min(silenceMs, Math.max(openMs, 3 * this.#keepaliveMs)) : silenceMs;
  }
  #lose(loss) {
    this.close();
    this.link.lose(loss);
  }
  take(f) {
    this.#heard = true;
    this.link.heard();
    switch (f.type) {
      case "hello":
        this.#keepaliveMs = f.keepalive_ms ?? 0;
        this.host.hello(this.link, f);
        break;
      case "drain":
        return this.link.drain(f.reconnect_after_ms);
      case "error":
        return this.#refused(f);
      case "pong":
        return;
      case "close":
        if (f.reason === NO_TOPIC) return this.#idle();
        return this.link.lose({ ...lossByCode(f.code, f.reason), ours: true, waitMs: this.#retryMs });
      case "ack":
        this.#granted(f);
        break;
      default: {
        this.#settle();
        const sub = this.#topics.get(f.topic);
        if (sub && !sub.ended && (this.subs.includes(sub) || !sub.byName)) this.host.frame(sub, f);
      }
    }
    this.#judge(f);
  }
  // Gives the stream up where it is held back.
  #judge(f) {
    const now = this.host.now(), sub = "topic" in f && f.topic !== void 0 ? this.#topics.get(f.topic) : void 0;
    if (this.link.kind !== "events" || now - this.#tickedAt >= AWAKE_MS) return;
    const late = this.#prompt.late(f, now, sub?.ack?.interval_ms ?? 0);
    if (late >= this.host.settings.lateMs) this.#lose({ why: "events come late", retry: "after", ours: true, held: true });
  }
  #granted(f) {
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
  #settle() {
    for (const sub of this.#unanswered) {
      if (sub.ended || sub.byName || sub.due > 0) continue;
      sub.disconnect();
      sub.due = this.host.now() + this.host.settings.resyncMs;
    }
    this.#unanswered.clear();
  }
  #refused(f) {
    const pattern = this.subs.find((s) => s.pattern);
    if (pattern && f.item !== void 0 && f.item > 0) return;
    if (pattern && this.#topics.get(pattern.ack?.topic ?? 0) === pattern) return this.host.incomplete(pattern, f);
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

// web/client/streams.ts
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
    for (const sub of this.host.subs) {
      if (sub.leaving) sub.end("");
      if (sub.wish) sub.become(sub.wish);
    }
    const groups = arrange(this.host.subs.filter((s) => !s.ended && s.byName));
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
    this.#streams.find((s) => s.followed.includes(sub))?.resync();
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
var LASTING_MS = 6e4;
var Client = class extends Follower {
  constructor(config) {
    super();
    this.config = config;
    const { openMs = 5e3, answerMs = 1e4, resyncMs = 5e3, pingMs = 15e3, pongMs = 1e4 } = config;
    const { silenceMs = 45e3, lateMs = 5e3, pollMs = 250 } = config;
    const { WebSocket = globalThis.WebSocket, fetch = globalThis.fetch.bind(globalThis) } = config;
    this.settings = { openMs, answerMs, resyncMs, pingMs, pongMs, silenceMs, lateMs, pollMs, WebSocket, fetch };
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
  // What the server said when the link came up; null: nothing yet, or the link is of polls.
  get greeting() {
    return this.#hello;
  }
  // Follows an item from now on. A connection has one topic of a view: follow the same one
  // twice, and the second is refused.
  subscribe(item) {
    if (isWildcard(item)) throw new RangeError(`${item.symbol} is a pattern: see subscribeAll`);
    return this.#follow(item);
  }
  // Follows every symbol that matches a pattern (* or SIM:*), also those that are listed
  // later: each gets a subscription of its own, told by granted, whose broughtBy is this one.
  // Of instruments a pattern is an item like any other, and one topic.
  subscribeAll(item) {
    if (!isWildcard(item)) throw new RangeError(`${item.symbol} is no pattern: see subscribe`);
    return this.#follow(item);
  }
  #follow(item) {
    const sub = new Subscription(item);
    this.followed.push(sub);
    this.update();
    return sub;
  }
  // Makes a subscription another view, or has it come at another interval or by another
  // policy, in place; what view leaves out stays. The answer is granted, after which another
  // view begins with a snapshot, or refused, and then it goes on as it was.
  modify(sub, view) {
    if (sub.pattern) throw new RangeError("a pattern cannot be modified, what it has brought can");
    const { depth, group, counts, intervalMs, policy } = view;
    sub.change({
      ...depth !== void 0 && { depth },
      ...group !== void 0 && { group },
      ...counts !== void 0 && { counts },
      ...intervalMs !== void 0 && { intervalMs },
      ...policy !== void 0 && { policy }
    });
    this.update();
  }
  // Ends one; a pattern with all that it has brought. Nothing more is told of it. What a
  // pattern has brought is not brought again.
  unsubscribe(sub) {
    if (sub.ended) return;
    sub.leaving = true;
    sub.broughtBy?.pattern?.declined.add(sub.item.symbol);
    for (const b of sub.brought.values()) b.leaving = true;
    this.update();
  }
  // Ends the client.
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearInterval(this.#ticker);
    this.#rival?.close();
    this.#link?.close();
    this.#link = this.#rival = null;
    for (const sub of this.followed) sub.disconnect();
  }
  update() {
    queueMicrotask(() => this.#link?.update());
  }
  ask(sub, cause) {
    this.#link?.resync(sub, cause);
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
      for (const sub of this.followed) sub.disconnect();
      link.update();
    }
    [this.#upAt, this.#proven] = [this.now(), link.kind];
    this.#say({ kind: link.kind, connected: true, why: "", retryInMs: 0 });
  }
  hello(link, f) {
    if (link === this.#link) this.#hello = f;
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
    const doubtful = loss.held || !heard && !loss.ours;
    if (doubtful && link.kind !== "poll") return void this.#probe(link.kind, loss);
    this.#retry(loss.why, this.#wait(loss));
  }
  // Finds out why a link did not come up: whether the server can be reached at all. Then its
  // kind does not come through here, and the next one is tried at once; but for a kind that
  // has come through before: the server may have been away a moment ago, so it is tried
  // once more, unless it was held back.
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
    const blocked = there && (loss.held || this.#proven !== kind);
    if (there) this.#proven = null;
    if (blocked) this.memory.failed(kind, loss.held);
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
    for (const sub of this.followed) sub.disconnect();
    this.forget();
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
    this.lookAfter(now);
    if (this.#upAt > 0 && now - this.#upAt >= LASTING_MS && this.#proven) this.memory.worked(this.#proven, true);
    this.#improve();
  }
  // Tries a better kind of link beside one that works, once that has been left alone for
  // long enough.
  #improve() {
    if (this.#upAt === 0 || !this.#link || this.#rival || this.followed.length === 0) return;
    const best = this.memory.best();
    if (KINDS.indexOf(best) < KINDS.indexOf(this.#link.kind)) this.#rival = this.#make(best);
  }
  #say(state) {
    this.#state = state;
    this.emit({ type: "link", link: state });
  }
  emit(event) {
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
  BookByOrder,
  Client,
  EventParser,
  KINDS,
  Listings,
  Memory,
  ProtocolError,
  Quote,
  Subscription,
  Tape,
  arrange,
  decimal,
  lossByCode,
  mantissa,
  mix,
  mixOrder
};
