import assert from "node:assert/strict";
import { test } from "node:test";
import { ASK, BID, Book, ProtocolError, decimal, mantissa, mix } from "../js/client.js";
import { frames, vectors } from "./pages.js";

const hex = (n) => (n >>> 0).toString(16).padStart(8, "0");

// The hash of levels [price, qty] as docs/protocol.md has it, beside the book's own way.
function hashOf(bids, asks) {
  let sum = 0;
  for (const [p, q] of bids) sum += mix(BID, BigInt(p), BigInt(q));
  for (const [p, q] of asks) sum += mix(ASK, BigInt(p), BigInt(q));
  return hex(sum % 2 ** 32);
}

const levels = (all) => all.map(([p, q]) => [String(p), String(q)]);

function snapshot(seq, bids, asks, more) {
  return { type: "snapshot", topic: 1, epoch: "00000000000000aa", seq: String(seq), state: "live", price_exponent: 0, qty_exponent: 0,
    bids: levels(bids), asks: levels(asks), hash: hashOf(bids, asks), ...more };
}

const delta = (prev, seq, bids, asks, hash) =>
  ({ type: "delta", topic: 1, prev_seq: String(prev), seq: String(seq), bids: levels(bids), asks: levels(asks), hash });

test("the state hash agrees with the shared vectors", () => {
  assert.ok(vectors.mix.length > 0 && vectors.books.length > 0);
  for (const v of vectors.mix) assert.equal(hex(mix(v.side, BigInt(v.price), BigInt(v.qty))), v.mix);
  for (const v of vectors.books) {
    const book = new Book();
    // The vectors are in no order.
    const falling = (a, b) => (BigInt(a[0]) < BigInt(b[0]) ? 1 : -1);
    const bids = v.bids.toSorted(falling), asks = v.asks.toSorted(falling).reverse();
    assert.equal(book.snapshot({ ...snapshot(1, [], []), bids, asks, hash: v.hash }), "applied", v.name);
    assert.equal(book.hash, v.hash, v.name);
  }
});

test("the examples of the protocol page lead to the hashes that they name", () => {
  const book = new Book();
  let applied = 0;
  for (const f of frames()) {
    if (f.topic !== 1 || f.replaces) continue;
    if (f.type === "ack") book.grant(f);
    if (f.type === "status") book.status(f);
    if (f.type !== "snapshot" && f.type !== "delta") continue;
    const outcome = book[f.type](f);
    assert.ok(outcome === "applied" || outcome === "ignored", `${f.type} ${f.seq}: ${outcome}`);
    if (outcome !== "applied") continue;
    applied++;
    assert.equal(book.hash, f.hash);
    assert.equal(String(book.seq), f.seq);
  }
  assert.ok(applied >= 4, `${applied} frames were applied`);
});

test("decimals are exact and come back as they were", () => {
  for (const [text, exponent, want] of [
    ["61602.01", -2, 6160201n], ["-0.05", -2, -5n], ["0.00000001", -8, 1n], ["1500", 2, 15n], ["7", 0, 7n], ["-1500", 2, -15n],
    ["9.223372036854775807", -18, 9223372036854775807n], ["0.00", -2, 0n],
  ]) {
    assert.equal(mantissa(text, exponent), want);
    assert.equal(decimal(want, exponent), text);
  }
  assert.equal(mantissa("0", -8), 0n); // a level that is gone
  for (const [text, exponent] of [["1.5", -2], ["1.500", -2], ["15", -2], ["1e3", 0], ["", 0], ["1,5", -1], ["x.00", -2], ["1550", 2], [" 1", 0],
    ["9223372036854775808", 0], ["99.223372036854775807", -18], [".50", -2]]) {
    assert.throws(() => mantissa(text, exponent), ProtocolError, `${text} with ${exponent}`);
  }
});

test("a delta is applied by the rule of prev_seq and seq", () => {
  for (const [prev, seq, want, after] of [
    [10, 11, "applied", 11n], [3, 12, "applied", 12n], [-1, 11, "applied", 11n],
    [5, 10, "ignored", 10n], [5, 9, "ignored", 10n], [11, 12, "gap", 10n],
  ]) {
    const book = new Book();
    book.snapshot(snapshot(10, [[100, 5]], [[101, 6]]));
    assert.equal(book.delta(delta(prev, seq, [[100, 9]], [], hashOf([[100, 9]], [[101, 6]]))), want);
    assert.equal(book.seq, after);
    assert.deepEqual(book.bids.map((l) => l.qty), { applied: [9n], ignored: [5n], gap: [] }[want]);
    assert.equal(book.state, want === "gap" ? "recovering" : "live");
  }
});

test("a book that is void shows nothing and waits for a snapshot", () => {
  const right = hashOf([[100, 9]], [[101, 6]]);
  const ways = {
    "a gap": (b) => b.delta(delta(11, 12, [[100, 9]], [], right)),
    "a mismatch": (b) => b.delta(delta(10, 11, [[100, 9]], [], "00000000")),
    "a keepalive with another hash": (b) => b.keepalive({ type: "keepalive", topic: 1, seq: "10", hash: "00000000" }),
    "a status": (b) => b.status({ type: "status", topic: 1, seq: "11", state: "recovering", reason: "source_gap" }),
    "a state that this client does not know": (b) => b.status({ type: "status", topic: 1, seq: "11", state: "dubious" }),
    "a snapshot with another hash": (b) => b.snapshot({ ...snapshot(12, [[1, 1]], []), hash: "00000000" }),
    "a snapshot with a price twice": (b) => b.snapshot(snapshot(12, [[1, 1], [1, 1]], [])),
    "a snapshot out of order": (b) => b.snapshot(snapshot(12, [[1, 1], [2, 1]], [])),
    "a snapshot of a recovering book": (b) => b.snapshot(snapshot(12, [], [], { state: "recovering" })),
    "a delta that cannot be read": (b) => assert.throws(() => b.delta(delta(10, 11, [[100, 9], ["x", 1]], [], right)), ProtocolError),
    "a snapshot that cannot be read": (b) => assert.throws(() => b.snapshot(snapshot(12, [], [], { asks: [["1", "x"]] })), ProtocolError),
    "a grant that does not resume": (b) => b.grant({ epoch: "00000000000000aa", price_exponent: 0, qty_exponent: 0, state: "live" }),
    "a resume of another epoch": (b) => b.grant({ epoch: "00000000000000bb", price_exponent: 0, qty_exponent: 0, state: "live", resumed: true }),
    "a resume under other exponents": (b) => b.grant({ epoch: "00000000000000aa", price_exponent: -1, qty_exponent: 0, state: "live", resumed: true }),
  };
  for (const [name, spoil] of Object.entries(ways)) {
    const book = new Book();
    book.snapshot(snapshot(10, [[100, 5]], [[101, 6]], { partial: true }));
    spoil(book);
    assert.equal(book.state, "recovering", name);
    assert.equal(book.bids.length + book.asks.length, 0, name);
    assert.equal(book.resume(), undefined, name);
    assert.equal(book.delta(delta(-1, 99, [[100, 9]], [], right)), "ignored", name);
    book.status({ type: "status", topic: 1, seq: "13", state: "live" });
    assert.equal(book.state, "recovering", `${name}, then a status`);
    book.snapshot(snapshot(20, [[100, 5]], []));
    assert.equal(book.state, "live", `${name}, then a snapshot`);
  }
});

test("a book is stale while the link is lost, and keeps its levels", () => {
  const book = new Book();
  book.snapshot(snapshot(10, [[100, 5]], []));
  book.stale();
  assert.deepEqual([book.state, book.reason, book.bids.length], ["stale", "", 1]);
  assert.deepEqual(book.resume(), { epoch: "00000000000000aa", seq: "10", hash: hashOf([[100, 5]], []) });
  const ack = { epoch: "00000000000000aa", price_exponent: 0, qty_exponent: 0 };
  book.grant({ ...ack, state: "stale", reason: "behind" });
  assert.deepEqual([book.state, book.reason, book.bids.length], ["stale", "behind", 1]);
  book.grant({ ...ack, state: "live", resumed: true });
  assert.deepEqual([book.state, book.bids.length], ["live", 1]);
});

test("a book equals a naive one over any deltas", () => {
  let seed = 1;
  const random = (n) => { seed = (Math.imul(seed, 1103515245) + 12345) >>> 0; return (seed >>> 8) % n; };
  const naive = [new Map(), new Map()], book = new Book();
  const sorted = (side) => [...naive[side]].sort((a, b) => (side === 0 ? b[0] - a[0] : a[0] - b[0]));
  book.snapshot(snapshot(0, [], []));
  for (let seq = 1; seq <= 2000; seq++) {
    const touched = [new Map(), new Map()];
    for (let i = random(6); i >= 0; i--) touched[random(2)].set(random(40) - 20, random(3));
    touched.forEach((all, side) => all.forEach((qty, price) => (qty === 0 ? naive[side].delete(price) : naive[side].set(price, qty))));
    assert.equal(book.delta(delta(seq - 1, seq, [...touched[0]], [...touched[1]], hashOf(sorted(0), sorted(1)))), "applied");
    const shown = (side) => side.map((l) => [Number(l.price), Number(l.qty)]);
    assert.deepEqual([shown(book.bids), shown(book.asks)], [sorted(0), sorted(1)]);
  }
});
