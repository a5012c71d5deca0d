import assert from "node:assert/strict";
import { test } from "node:test";
import { ASK, BID, BookByOrder, ProtocolError, mixOrder } from "../js/client.js";
import { frames, orderVectors } from "./pages.js";

const hex = (n) => (n >>> 0).toString(16).padStart(8, "0");
const order = ([id, price, qty, rankSeq, rankIndex]) =>
  ({ id: BigInt(id), price: BigInt(price), qty: BigInt(qty), rankSeq: BigInt(rankSeq), rankIndex: Number(rankIndex) });
const wire = (o) => [String(o.id), String(o.price), String(o.qty), String(o.rankSeq), o.rankIndex];
const byRank = (a, b) => (a.rankSeq === b.rankSeq ? a.rankIndex - b.rankIndex : a.rankSeq < b.rankSeq ? -1 : 1);
const served = (side, all) => all.toSorted((a, b) => (a.price === b.price ? byRank(a, b) : (a.price < b.price) === (side === BID) ? 1 : -1));
const hashOf = (bids, asks) => hex([...bids.map((o) => mixOrder(BID, o)), ...asks.map((o) => mixOrder(ASK, o))].reduce((a, b) => (a + b) >>> 0, 0));

function snapshot(seq, bids, asks, more) {
  return { type: "snapshot", topic: 1, epoch: "00000000000000aa", seq: String(seq), state: "live", price_exponent: 0, qty_exponent: 0, bids: [], asks: [],
    bid_orders: served(BID, bids).map(wire), ask_orders: served(ASK, asks).map(wire), hash: hashOf(bids, asks), ...more };
}

const delta = (prev, seq, bids, asks, hash) =>
  ({ type: "orders", topic: 1, prev_seq: String(prev), seq: String(seq), bids: bids.map(wire), asks: asks.map(wire), hash });

test("the hash of orders agrees with the shared vectors", () => {
  assert.ok(orderVectors.mix.length > 0 && orderVectors.books.length > 0);
  for (const v of orderVectors.mix) assert.equal(hex(mixOrder(v.side, order([v.id, v.price, v.qty, v.rank_seq, v.rank_index]))), v.mix);
  for (const v of orderVectors.books) {
    const book = new BookByOrder();
    assert.equal(book.snapshot({ ...snapshot(1, v.bids.map(order), v.asks.map(order)), hash: v.hash }), "applied", v.name);
    assert.equal(book.hash, v.hash, v.name);
  }
});

test("the examples of orders lead to the hashes that they name, and to levels", () => {
  const book = new BookByOrder();
  for (const f of frames("orders")) {
    if (f.type === "ack") book.grant(f);
    if (f.type === "snapshot") assert.equal(book.snapshot(f), "applied");
    if (f.type === "orders") assert.equal(book.delta(f), "applied");
    if (f.hash) assert.equal(book.hash, f.hash);
  }
  assert.deepEqual([...book.orders(BID)].map((o) => `${o.id} ${book.price(o)} ${book.qty(o)}`), ["104 100.05 50"]);
  assert.deepEqual(book.asks.map((l) => [book.price(l), book.qty(l), l.count]), [["100.20", "70", 1]]);
});

test("an order's place in its queue is that of its rank", () => {
  const book = new BookByOrder(), bids = [["7", "100", "5", "3", 0], ["8", "100", "6", "3", 1], ["9", "100", "7", "9", 0], ["1", "99", "1", "1", 0]].map(order);
  book.snapshot(snapshot(10, bids, []));
  assert.deepEqual([book.ahead(7n), book.ahead(9n), book.ahead(1n), book.ahead(5n)],
    [{ orders: 0, qty: 0n }, { orders: 2, qty: 11n }, { orders: 0, qty: 0n }, undefined]);
  assert.deepEqual([book.order(8n).side, book.order(8n).qty, book.order(5n)], [BID, 6n, undefined]);
  assert.deepEqual(book.queue(BID, 100n).map((o) => o.id), [7n, 8n, 9n]);
  book.stale();
  assert.equal(book.queue(BID, 100n).length, 3);
  book.void();
  assert.deepEqual([[...book.orders(BID)], book.queue(BID, 100n), book.order(8n)], [[], [], undefined]);
});

test("a book by order that may be wrong shows nothing and waits for a snapshot", () => {
  const one = ["7", "100", "5", "3", 0], two = ["8", "100", "6", "3", 1], hash = (...all) => hashOf(all.map(order), []);
  const raw = (bids, h) => ({ ...snapshot(12, [], []), bid_orders: bids, hash: h });
  const ways = {
    "a gap": (b) => b.delta({ ...delta(11, 12, [], [], "00000000") }),
    "another hash": (b) => b.delta(delta(10, 11, [order(two)], [], "00000000")),
    "another rank": (b) => b.delta(delta(10, 11, [order(["8", "100", "6", "3", 2])], [], hash(one, two))),
    "an order twice": (b) => b.snapshot(raw([one, one], hash(one, one))),
    "orders out of rank": (b) => b.snapshot(raw([two, one], hash(one, two))),
    "levels out of order": (b) => b.snapshot(raw([["1", "99", "1", "1", 0], one], hash(["1", "99", "1", "1", 0], one))),
    "an order of nothing": (b) => b.snapshot(raw([["7", "100", "0", "3", 0]], "00000000")),
    "levels in place of orders": (b) => assert.throws(() => b.snapshot({ ...snapshot(12, [], []), bids: [["1", "1"]] }), ProtocolError),
    "a rank that is none": (b) => assert.throws(() => b.delta({ ...delta(10, 11, [], [], ""), bids: [["7", "100", "5", "3", 1.5]] }), ProtocolError),
    "a quantity that is none": (b) => assert.throws(() => b.delta({ ...delta(10, 11, [], [], ""), bids: [two, ["9", "100", "x", "3", 0]] }), ProtocolError),
  };
  for (const [name, spoil] of Object.entries(ways)) {
    const book = new BookByOrder();
    book.snapshot(snapshot(10, [order(one)], []));
    spoil(book);
    assert.equal(book.state, "recovering", name);
    assert.deepEqual([book.bids.length, [...book.orders(BID)].length, book.order(7n), book.resume()], [0, 0, undefined, undefined], name);
    book.snapshot(snapshot(20, [order(two)], []));
    assert.deepEqual([book.state, book.bids.length, book.bids[0].count], ["live", 1, 1], `${name}, then a snapshot`);
  }
});

test("a book by order equals a naive one over any deltas", () => {
  let seed = 7;
  const random = (n) => { seed = (Math.imul(seed, 1103515245) + 12345) >>> 0; return (seed >>> 8) % n; };
  const naive = [new Map(), new Map()], book = new BookByOrder(), all = (side) => served(side === 0 ? BID : ASK, [...naive[side].values()]);
  book.snapshot(snapshot(0, [], []));
  for (let seq = 1; seq <= 500; seq++) {
    const touched = [new Map(), new Map()];
    for (let i = random(5); i >= 0; i--) {
      const id = BigInt(random(60)), side = random(2);
      if (touched[side].has(id)) continue;
      const was = naive[side].get(id), kept = was && random(2) === 0; // reduced in place, or anew at the end of a queue
      const o = kept ? { ...was, qty: BigInt(random(4)) } : order([id, random(9) - 4, random(4), seq, touched[side].size]);
      touched[side].set(id, o);
      if (o.qty === 0n) naive[side].delete(id);
      else naive[side].set(id, o);
    }
    assert.equal(book.delta(delta(seq - 1, seq, [...touched[0].values()], [...touched[1].values()], hashOf(all(0), all(1)))), "applied");
    [BID, ASK].forEach((is, side) => assert.deepEqual([...book.orders(is)], all(side)));
    for (const [side, shown] of [[0, book.bids], [1, book.asks]]) {
      const at = new Map(all(side).map((o) => [o.price, all(side).filter((p) => p.price === o.price)]));
      assert.deepEqual(shown, [...at].map(([price, q]) => ({ price, qty: q.reduce((sum, o) => sum + o.qty, 0n), count: q.length })));
    }
  }
});
