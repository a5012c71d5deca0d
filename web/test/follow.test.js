// Patterns, changes in place and listings, whatever the link.

import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Events, FakeStorage, HASH, Network, ack, hello, json, pass, refusedBetween, settle, snapshot, status } from "./fakes.js";

let net;
beforeEach(() => { net = new Network(); });
afterEach(() => net.close());

const brought = (topic, symbol, more) => ack(topic, symbol, { pattern_topic: 1, ...more });
const symbols = (p) => [...p.brought.keys()].sort();
const change = (topic, prev, seq) => ({ type: "delta", topic, prev_seq: String(prev), seq: String(seq), bids: [], asks: [], hash: HASH });

// Brings the link up, and takes what it was asked for.
async function up() {
  net.socket.greet();
  await settle();
  return net.socket.take();
}

// A client that follows SIM:*, which has brought SIM:A and SIM:B over a WebSocket.
async function pattern() {
  const c = net.client(), all = c.subscribeAll({ symbol: "SIM:*", depth: 10 });
  await settle();
  const [ask] = await up();
  assert.deepEqual(ask.items, [{ symbol: "SIM:*", channel: "book", depth: 10 }]);
  net.socket.say(ack(1, "SIM:*", { id: ask.id, epoch: "0000000000000000" }));
  for (const [topic, symbol] of [[7, "SIM:A"], [8, "SIM:B"]]) {
    net.socket.say(brought(topic, symbol, { id: ask.id }));
    net.socket.say(snapshot(topic, 10));
  }
  return { c, all, id: ask.id };
}

test("a pattern brings a book of each symbol, and of those that are listed later", async () => {
  const { c, all, id } = await pattern();
  assert.deepEqual(symbols(all), ["SIM:A", "SIM:B"]);
  assert.deepEqual(net.told("granted").map((e) => [e.sub.item.symbol, e.sub.broughtBy]), [["SIM:*", null], ["SIM:A", all], ["SIM:B", all]]);
  net.socket.say(brought(9, "SIM:C", { id }));
  net.socket.say(snapshot(9, 12));
  assert.equal(all.brought.get("SIM:C").state, "live");
  net.socket.say({ type: "status", topic: 8, seq: "13", state: "recovering", reason: "delisted", final: true });
  assert.deepEqual(symbols(all), ["SIM:A", "SIM:C"]);
  assert.deepEqual(net.told("status").map((e) => [e.sub.item.symbol, e.sub.why, e.final]), [["SIM:B", "delisted", true]]);
  net.socket.say({ type: "error", id, item: 0, code: "too_many_subscriptions", message: "no more", retry: "never" });
  assert.deepEqual(net.told("incomplete").map((e) => [e.sub, e.error.code]), [[all, "too_many_subscriptions"]]);
  assert.equal(all.standing, "granted");
  assert.throws(() => c.modify(all, { depth: 5 }), RangeError);
  assert.throws(() => c.subscribe({ symbol: "SIM:*" }), RangeError);
  assert.throws(() => c.subscribeAll({ symbol: "SIM:A" }), RangeError);
});

test("what a pattern has brought is asked for by name, and first, after a break", async () => {
  const { all } = await pattern();
  net.socket.end(1006);
  await pass(250);
  const [ask] = await up();
  assert.deepEqual(ask.items.map((i) => [i.symbol, i.resume?.seq]), [["SIM:A", "10"], ["SIM:B", "10"], ["SIM:*", undefined]]);
  net.socket.say(ack(17, "SIM:A", { id: ask.id, item: 0, resumed: true }));
  net.socket.say({ type: "error", id: ask.id, item: 1, code: "unknown_symbol", message: "no such symbol", retry: "never" });
  net.socket.say(ack(1, "SIM:*", { id: ask.id, item: 2 }));
  assert.deepEqual([symbols(all), all.brought.get("SIM:A").state], [["SIM:A"], "live"]);
  assert.deepEqual(net.told("refused").map((e) => [e.sub.item.symbol, e.sub.why]), [["SIM:B", "no such symbol"]]);
});

test("a pattern ends with all that it has brought, and what the user ends is not brought again", async () => {
  const { c, all } = await pattern();
  c.unsubscribe(all.brought.get("SIM:A"));
  await settle();
  assert.deepEqual(net.socket.take(), [{ id: 2, type: "unsubscribe", topics: [7] }]);
  net.socket.say(brought(9, "SIM:A"));
  assert.deepEqual([symbols(all), net.socket.take()], [["SIM:B"], [{ id: 3, type: "unsubscribe", topics: [9] }]]);
  const [b] = all.brought.values();
  c.unsubscribe(all);
  await settle();
  assert.deepEqual(net.socket.take(), [{ id: 4, type: "unsubscribe", topics: [1] }]); // the server ends SIM:B with it
  assert.deepEqual([b.ended, all.ended], [true, true]);
  net.socket.say(brought(10, "SIM:D")); // was on its way
  assert.equal(all.brought.size, 0);
});

test("a view is changed in place, and goes on as it was where that is refused", async () => {
  const c = net.client(), sub = c.subscribe({ symbol: "SIM:A", depth: 10 });
  await settle();
  const [ask] = await up();
  net.socket.say(ack(7, "SIM:A", { id: ask.id }));
  net.socket.say(snapshot(7, 10));
  c.modify(sub, { depth: 5 });
  await settle();
  const [one] = net.socket.take();
  assert.deepEqual(one, { id: 2, type: "modify", items: [{ topic: 7, depth: 5, group: "", counts: false, interval_ms: 0, policy: "conflate" }] });
  c.modify(sub, { intervalMs: 100 }); // waits for the answer
  net.socket.say(change(7, 10, 11));
  assert.deepEqual([sub.state, sub.book.seq, net.socket.take()], ["live", 11n, []]);
  net.socket.say(ack(8, "SIM:A", { id: 2, replaces: 7, depth: 5 }));
  assert.equal(sub.state, "recovering");
  net.socket.say(change(7, 11, 12)); // of the old topic, on its way
  net.socket.say(snapshot(8, 12));
  await settle();
  const [two] = net.socket.take();
  assert.deepEqual([sub.state, sub.item.depth, two.items[0]], ["live", 5, { topic: 8, depth: 5, group: "", counts: false, interval_ms: 100, policy: "conflate" }]);
  net.socket.say(ack(8, "SIM:A", { id: two.id, interval_ms: 100 })); // the topic is the same
  assert.deepEqual([sub.state, sub.ack.interval_ms], ["live", 100]);
  c.modify(sub, { group: "0.3" });
  await settle();
  const [three] = net.socket.take();
  net.socket.say({ type: "error", id: three.id, item: 0, code: "bad_view", message: "no", retry: "never" });
  assert.deepEqual([sub.state, sub.standing, sub.item.group, sub.item.depth], ["live", "granted", undefined, 5]);
  assert.deepEqual(net.told("refused").map((e) => e.retryInMs), [-1]);
  // What is not answered before a link is lost is asked for so from the beginning; an
  // answer that does not come ends the link.
  c.modify(sub, { depth: 1 });
  await settle();
  await pass(10_500);
  assert.equal(c.link.why, "no answer to a request");
  const [again] = await up();
  assert.deepEqual([again.type, again.items[0].depth], ["subscribe", 1]);
  net.socket.say({ type: "error", id: again.id, item: 0, code: "forbidden", message: "no", retry: "never" });
  await settle();
  assert.deepEqual(net.socket.take().map((m) => m.items[0].depth), [5]);
});

test("what a pattern has brought can be changed, and stays so after a break", async () => {
  const { c, all } = await pattern(), a = all.brought.get("SIM:A");
  c.modify(a, { depth: 1 });
  await settle();
  const [m] = net.socket.take();
  net.socket.say(ack(20, "SIM:A", { id: m.id, replaces: 7, depth: 1 }));
  net.socket.say(snapshot(20, 11));
  net.socket.end(1006);
  await pass(250);
  const [ask] = await up();
  assert.deepEqual(ask.items.map((i) => [i.symbol, i.depth]), [["SIM:A", 1], ["SIM:B", 10], ["SIM:*", 10]]);
  net.socket.say(ack(30, "SIM:A", { id: ask.id, item: 0, resumed: true, depth: 1 }));
  net.socket.say(ack(31, "SIM:B", { id: ask.id, item: 1, resumed: true }));
  net.socket.say(ack(1, "SIM:*", { id: ask.id, item: 2 }));
  net.socket.say(brought(32, "SIM:A", { id: ask.id, item: 2 })); // as the pattern has it: not wanted
  assert.deepEqual(net.socket.take(), [{ id: 2, type: "unsubscribe", topics: [32] }]);
  assert.deepEqual([all.brought.get("SIM:A"), a.state], [a, "live"]);
  c.unsubscribe(all); // it is ended by its name, as the server has it by that
  await settle();
  assert.deepEqual(net.socket.take().map((m) => m.topics.sort()), [[1, 30, 31]]);
});

test("a gap in a list is asked for like one in a book", async () => {
  const c = net.client(), sub = c.subscribe({ symbol: "SIM:*", channel: "instruments" });
  await settle();
  const [ask] = await up();
  net.socket.say(ack(5, "SIM:*", { id: ask.id, channel: "instruments", epoch: "0000000000000000" }));
  const say = (prev, seq, symbol, more) => net.socket.say({ type: "instruments", topic: 5, prev_seq: String(prev), seq: String(seq), listings: [{ symbol, epoch: "00000000000000aa", seq: "1" }], ...more });
  say(0, 0, "SIM:A", { snapshot: true });
  net.socket.say({ type: "keepalive", topic: 5, seq: "2", hash: "00000000", symbol_age_ms: "0", feed_age_ms: "0" });
  say(2, 3, "SIM:B");
  say(4, 5, "SIM:C");
  assert.deepEqual(net.socket.take(), [{ id: 2, type: "resync", topics: [5] }]);
  say(5, 5, "SIM:C", { snapshot: true });
  await pass(6000);
  assert.deepEqual([[...sub.listings.all.keys()], net.socket.take(), net.told("listed").length], [["SIM:C"], [], 3]);
});

// A storage that knows links to be blocked, so that the client takes the next kind at once.
function without(...kinds) {
  const storage = new FakeStorage();
  storage.setItem("depthcast.blocked", JSON.stringify(Object.fromEntries(kinds.map((kind) => [kind, { failures: 1, until: Date.now() + 60_000 }]))));
  return storage;
}

test("over polls a pattern goes on at its cursor, and what it does not bring any more ends", async () => {
  const polls = [];
  net.reach = (r) => (r.path === "/v1/poll" ? new Promise((done) => { polls.push((frames, cursor) => done(json({ type: "poll", frames, cursor }))); }) : status());
  const c = net.client({ storage: without("websocket", "events"), pollMs: 0 }), all = c.subscribeAll({ symbol: "SIM:*", depth: 10 });
  c.subscribe({ symbol: "SIM:Z", depth: 10 }); // has a URL of its own
  await settle();
  const asked = () => net.requests.filter((r) => r.query.get("symbol") === "SIM:*").at(-1);
  assert.deepEqual(net.requests.map((r) => r.query.get("symbol")), ["SIM:Z", "SIM:*"]);
  polls[0]([ack(9, "SIM:Z"), snapshot(9, 10)], "z1");
  polls[1]([ack(1, "SIM:*"), brought(7, "SIM:A"), brought(8, "SIM:B"), snapshot(7, 10), snapshot(8, 10)], "c1");
  await settle();
  assert.deepEqual([symbols(all), asked().query.get("cursor")], [["SIM:A", "SIM:B"], "c1"]);
  const [a, b] = all.brought.values(), short = { type: "error", id: 1, item: 0, code: "too_many_subscriptions", message: "no more", retry: "never" };
  const again = [ack(1, "SIM:*"), ack(7, "SIM:A", { item: 1, resumed: true }), short];
  polls.at(-1)([...again, change(7, 10, 11)], "c2");
  await settle();
  polls.at(-1)([...again, change(7, 11, 12)], "c3");
  await settle();
  assert.deepEqual([a.state, a.book.seq, b.state, net.told("incomplete").length, net.told("granted").length], ["live", 12n, "stale", 1, 4]);
  await pass(5500);
  assert.deepEqual([symbols(all), b.why], [["SIM:A"], "its pattern does not bring it any more"]);
  // Another view has a URL of its own.
  c.modify(a, { depth: 5 });
  await settle();
  assert.deepEqual([net.requests.at(-1).query.get("symbol"), net.requests.at(-1).query.get("depth")], ["SIM:A", "5"]);
});

test("polls of a market that never rests keep a distance", async () => {
  let asked = 0;
  net.reach = (r) => (r.path === "/v1/poll" ? json({ type: "poll", frames: [ack(7, "SIM:A"), snapshot(7, 10 + asked++)], cursor: `c${asked}` }) : status());
  net.client({ storage: without("websocket", "events") }).subscribe({ symbol: "SIM:A", depth: 10 });
  await settle();
  assert.equal(asked, 1);
  await pass(2000);
  assert.ok(asked >= 5 && asked <= 9, `${asked} polls in 2 s`);
});

// A client whose link is an event stream that has come up.
async function streaming(more) {
  const stream = new Events(), now = () => `${Date.now()}000000`;
  net.reach = (r) => (r.path === "/v1/sse" ? stream.answer : r.path === "/v1/status" ? status() : refusedBetween());
  const c = net.client({ storage: without("websocket"), ...more }), sub = c.subscribe({ symbol: "SIM:A", depth: 10 });
  await settle();
  for (const f of [{ ...hello, time: now(), keepalive_ms: 5000 }, ack(7, "SIM:A"), snapshot(7, 10)]) stream.say(f);
  await settle();
  assert.deepEqual([c.link.kind, sub.state], ["events", "live"]);
  const keepalive = (published) => stream.say({ type: "keepalive", topic: 7, seq: "10", hash: HASH, symbol_age_ms: "0", feed_age_ms: "0", published });
  return { c, sub, stream, now, keepalive };
}

test("events that come late give way to polls, and are not trusted again at their first word", async () => {
  const { c, sub, stream, now, keepalive } = await streaming();
  stream.say({ ...change(7, 10, 11), ts: { published: "1" } }); // the first after a break may be of before
  stream.say({ ...change(7, 11, 12), merged: 3, ts: { published: "1" } });
  await settle();
  assert.equal(sub.book.seq, 12n);
  const then = now();
  await pass(4750);
  keepalive(then); // somewhat late
  await settle();
  assert.equal(c.link.kind, "events");
  stream.say({ ...change(7, 12, 13), ts: { published: then } });
  await pass(250);
  stream.say({ ...change(7, 13, 14), ts: { published: then } });
  await settle();
  assert.deepEqual([c.link.kind, net.told("link").at(-1).link.why], ["poll", "events come late"]);
});

test("a page that was asleep does not blame its event stream for coming late", async () => {
  const { c, now, keepalive } = await streaming(), then = now(), { mock } = await import("node:test");
  mock.timers.setTime(Date.now() + 8000); // no timer of the page has run meanwhile
  keepalive(then);
  await settle();
  assert.deepEqual([c.link.kind, c.link.connected], ["events", true]);
});

test("a stream that says nothing of a live book is given up after three keepalives", async () => {
  const { c, stream } = await streaming();
  for (let i = 0; i < 14; i++) await pass(1000);
  assert.equal(c.link.connected, true);
  await pass(1500);
  assert.deepEqual([c.link.kind, net.requests.at(-1).path], ["poll", "/v1/poll"]);
  assert.ok(net.requests.some((r) => r.path === "/v1/status"));
  stream.end();
});
