import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { Events, FakeStorage, HASH, Network, ack, hello, json, pass, refusedBetween, settle, snapshot, status } from "./fakes.js";

let net;
beforeEach(() => { net = new Network(); });
afterEach(() => net.close());

// Answers plain HTTP as our server does, and streams and polls as told.
const reachBy = (streams = {}) => (r) => (streams[r.path] ?? (r.path === "/v1/status" ? status : refusedBetween))(r);

const follow = (c, more) => c.subscribe({ symbol: "SIM:A", depth: 10, ...more });

// A client whose book of SIM:A is live at seq 10 over a WebSocket.
async function live(config) {
  const c = net.client(config), sub = follow(c);
  await settle();
  net.socket.greet();
  await settle();
  const [ask] = net.socket.take();
  net.socket.say(ack(7, "SIM:A", { id: ask.id }));
  net.socket.say(snapshot(7, 10));
  assert.equal(sub.state, "live");
  return { c, sub };
}

test("a WebSocket is asked for what is followed, and its book is checked", async () => {
  const { c, sub } = await live();
  assert.equal(net.socket.url, "ws://server.test/v1/stream");
  assert.deepEqual(net.socket.protocols, ["depthcast.v1.json"]);
  assert.deepEqual([c.link.kind, c.link.connected], ["websocket", true]);
  assert.deepEqual([sub.book.hash, sub.book.bids.length], [HASH, 1]);
  assert.equal(net.requests.length, 0);
});

test("a hash that differs is reported once, and deltas are ignored until the snapshot", async () => {
  const { sub } = await live();
  const wrong = { type: "delta", topic: 7, prev_seq: "10", seq: "11", bids: [["1", "2"]], asks: [], hash: "00000000" };
  net.socket.say(wrong);
  const [report, ...more] = net.socket.take();
  assert.deepEqual([report.type, report.topic, report.seq, more.length], ["mismatch", 7, "11", 0]);
  assert.notEqual(report.hash, "00000000");
  assert.deepEqual([sub.state, sub.book.bids.length], ["recovering", 0]);
  net.socket.say({ ...wrong, prev_seq: "11", seq: "12" });
  net.socket.say(snapshot(7, 12, { hash: "11111111" })); // wrong again: by the clock, not at once
  assert.equal(net.socket.take().length, 0);
  await pass(5250);
  assert.deepEqual(net.socket.take().map((m) => m.type), ["resync"]);
  net.socket.say(snapshot(7, 13));
  assert.equal(sub.state, "live");
  await pass(6000);
  assert.deepEqual(net.told("lost").map((e) => [e.cause, e.attempt]), [["mismatch", 1], ["gap", 2]]);
});

test("a live book whose snapshot does not come is asked for", async () => {
  const c = net.client();
  follow(c);
  await settle();
  net.socket.greet();
  await settle();
  net.socket.say(ack(7, "SIM:A", { id: net.socket.take()[0].id }));
  await pass(5250);
  assert.deepEqual(net.socket.take(), [{ id: 2, type: "resync", topics: [7] }]);
});

test("a link that is lost comes back with what a resume needs", async () => {
  const { sub } = await live();
  net.socket.end(1006);
  assert.deepEqual([sub.state, sub.reason, sub.book.bids.length], ["stale", "", 1]);
  assert.equal(net.opened.link.connected, false);
  await pass(250);
  assert.equal(net.sockets.length, 2);
  net.socket.greet();
  await settle();
  const [ask] = net.socket.take();
  assert.deepEqual(ask.items[0].resume, { epoch: "00000000000000aa", seq: "10", hash: HASH });
  net.socket.say(ack(9, "SIM:A", { id: ask.id, resumed: true }));
  assert.equal(sub.state, "live");
  assert.equal(net.requests.length, 0); // a link that came up once is not blocked
});

test("a kind that came through before is not blamed for a server that was away", async () => {
  net.reach = reachBy();
  const { c } = await live();
  net.socket.end(1001, "shutdown");
  await pass(500);
  net.socket.end(1006); // it is back for plain HTTP only now
  await settle();
  assert.deepEqual([c.link.kind, net.paths()], ["websocket", ["/v1/status"]]);
  await pass(1000);
  assert.equal(net.sockets.length, 3);
  net.socket.end(1006); // but twice is once too often
  await settle();
  assert.equal(c.link.kind, "events");
});

test("waits grow while the server cannot be reached, and no kind of link is blamed", async () => {
  const storage = new FakeStorage(), c = net.client({ storage });
  follow(c);
  await settle();
  const waits = [];
  for (let i = 0; i < 9; i++) {
    net.socket.end(1006);
    await settle();
    waits.push(c.link.retryInMs);
    assert.equal(c.link.kind, "websocket");
    await pass(c.link.retryInMs + 250);
    assert.equal(net.sockets.length, i + 2);
  }
  waits.forEach((w, i) => assert.ok(w >= Math.min(15_000, 250 * 2 ** i) / 2 && w <= Math.min(15_000, 250 * 2 ** i), `wait ${i}: ${w}`));
  assert.equal(storage.items.size, 0);
});

test("where WebSockets are blocked events take their place at once, and later give it back", async () => {
  const stream = new Events(), storage = new FakeStorage();
  net.reach = reachBy({ "/v1/sse": () => stream.answer });
  const c = net.client({ storage }), sub = follow(c), trades = c.subscribe({ symbol: "SIM:A", channel: "trades", last: 5 });
  await settle();
  net.socket.end(1006);
  await settle();
  await pass(250);
  assert.deepEqual(net.paths(), ["/v1/status", "/v1/sse"]);
  assert.equal(net.requests[1].query.toString(), "symbol=SIM%3AA&channel=book&channel=trades&depth=10&last=5");
  stream.say(hello);
  stream.say(ack(7, "SIM:A"));
  stream.say(ack(8, "SIM:A", { item: 1, channel: "trades", depth: 0 }));
  stream.say(snapshot(7, 10), "token-1");
  await settle();
  assert.deepEqual([c.link.kind, c.link.connected, sub.state, trades.standing], ["events", true, "live", "granted"]);
  assert.match(storage.getItem("depthcast.blocked"), /websocket/);

  // Half a minute later a WebSocket is tried beside it, and fails: nobody notices.
  for (let i = 0; i < 3; i++) {
    await pass(10_000);
    stream.write(":\n\n");
  }
  await pass(1000);
  assert.equal(net.sockets.length, 2);
  net.socket.end(1006);
  await settle();
  assert.deepEqual([c.link.kind, sub.state], ["events", "live"]);
  // The next try is later, and this one comes through.
  for (let i = 0; i < 6; i++) {
    assert.equal(net.sockets.length, 2);
    await pass(10_000);
    stream.write(":\n\n");
  }
  await pass(1000);
  assert.equal(net.sockets.length, 3);
  net.socket.greet();
  await settle();
  assert.equal(c.link.kind, "websocket");
  assert.ok(net.requests[1].signal.aborted);
  const [ask] = net.socket.take();
  assert.equal(ask.items[0].resume.seq, "10");
  net.socket.say(ack(7, "SIM:A", { id: ask.id, resumed: true }));
  assert.equal(sub.state, "live");
  assert.doesNotMatch(storage.getItem("depthcast.blocked"), /websocket/);
});

test("where event streams are held back polls take their place, and go on at the cursor", async () => {
  const answers = [];
  net.reach = reachBy({
    "/v1/sse": (r) => new Promise((_, fail) => { r.signal.onabort = () => fail(r.signal.reason); }),
    "/v1/poll": () => new Promise((done) => { answers.push((frames, cursor) => done(json({ type: "poll", frames, cursor }))); }),
  });
  const storage = new FakeStorage(), c = net.client({ storage, pollMs: 0 }), sub = follow(c);
  await settle();
  net.socket.end(1006);
  await settle();
  await pass(6000); // in which no event comes
  assert.deepEqual(net.paths(), ["/v1/status", "/v1/sse", "/v1/status", "/v1/poll"]);
  assert.equal(net.requests[3].query.get("wait_ms"), "0");
  answers[0]([ack(7, "SIM:A"), snapshot(7, 10)], "c1");
  await settle();
  assert.deepEqual([c.link.kind, sub.state], ["poll", "live"]);
  assert.deepEqual([net.requests[4].query.get("cursor"), net.requests[4].query.get("wait_ms")], ["c1", "20000"]);
  answers[1]([ack(7, "SIM:A", { resumed: true }), { type: "delta", topic: 7, prev_seq: "10", seq: "12", bids: [["1", "0"]], asks: [], hash: "00000000" }], "c2");
  await settle();
  assert.deepEqual([sub.state, sub.book.seq, sub.book.bids.length], ["live", 12n, 0]);
  assert.equal(net.told("granted").length, 1);
  // A mismatch asks anew without the cursor, and not again and again.
  const wrong = { type: "delta", topic: 7, prev_seq: "12", seq: "13", bids: [["1", "1"]], asks: [], hash: "00000000" };
  answers[2]([ack(7, "SIM:A", { resumed: true }), wrong], "c3");
  await settle();
  assert.equal(net.requests.at(-1).query.get("cursor"), null);
  answers[3]([ack(7, "SIM:A"), snapshot(7, 13, { hash: "00000000" })], "c4");
  await settle();
  const asked = net.requests.length;
  assert.equal(net.requests.at(-1).query.get("cursor"), "c4");
  assert.equal(sub.state, "recovering");
  await pass(4750);
  assert.equal(net.requests.length, asked);
  await pass(500);
  assert.deepEqual([net.requests.length, net.requests.at(-1).query.get("cursor")], [asked + 1, null]); // a void book could do nothing with it
  answers[5]([ack(7, "SIM:A"), snapshot(7, 14)], "c5");
  await settle();
  assert.equal(sub.state, "live");

  // The next page on this network polls at once.
  c.close();
  const before = [net.sockets.length, net.requests.length];
  const again = net.client({ storage });
  follow(again);
  await settle();
  assert.deepEqual([again.link.kind, net.sockets.length - before[0]], ["poll", 0]);
  assert.deepEqual(net.paths().slice(before[1]), ["/v1/poll"]);
});

test("an event stream that breaks goes on at its last id, after as long as the server says", async () => {
  const streams = [];
  net.reach = reachBy({ "/v1/sse": () => { streams.push(new Events()); return streams.at(-1).answer; } });
  const c = net.client(), sub = follow(c);
  await settle();
  net.socket.end(1006);
  await settle();
  await pass(250);
  streams[0].write("retry: 1500\n\n");
  for (const f of [hello, ack(7, "SIM:A")]) streams[0].say(f);
  streams[0].say(snapshot(7, 10), "t1");
  await settle();
  streams[0].end();
  await settle();
  assert.deepEqual([c.link.connected, c.link.retryInMs, sub.state], [false, 1500, "stale"]);
  await pass(1500);
  assert.equal(net.requests.at(-1).query.get("resume"), "t1");
  for (const f of [hello, ack(7, "SIM:A", { resumed: true })]) streams[1].say(f);
  await settle();
  assert.equal(sub.state, "live");
  // An end that is told with its reason.
  streams[1].say({ type: "close", code: 4006, reason: "unauthenticated", retry: "never" });
  await settle();
  assert.equal(c.link.retryInMs, -1);
});

// A client whose links are event streams, and what its streams are.
async function streaming(c) {
  const streams = [];
  net.reach = reachBy({ "/v1/sse": () => { streams.push(new Events()); return streams.at(-1).answer; } });
  await settle();
  net.socket.end(1006);
  await settle();
  await pass(250);
  return streams;
}

test("who follows anew what was followed before begins with a snapshot", async () => {
  const c = net.client(), first = follow(c), streams = await streaming(c);
  for (const f of [hello, ack(7, "SIM:A")]) streams[0].say(f);
  streams[0].say(snapshot(7, 10), "t1");
  await settle();
  assert.equal(first.state, "live");
  c.unsubscribe(first);
  await settle();
  follow(c);
  await settle();
  assert.equal(net.requests.at(-1).path, "/v1/sse");
  assert.equal(net.requests.at(-1).query.get("resume"), null); // the book is another, and empty
});

test("an error of a stream's item concerns that item, whatever has ended before it", async () => {
  const c = net.client(), subs = ["SIM:A", "SIM:B", "SIM:C"].map((symbol) => follow(c, { symbol })), streams = await streaming(c);
  streams[0].say(hello);
  for (const item of [0, 1]) streams[0].say({ type: "error", id: 1, item, code: "unknown_symbol", message: "no such symbol", retry: "never" });
  streams[0].say(ack(7, "SIM:C", { item: 2 }));
  streams[0].say(snapshot(7, 10));
  await settle();
  assert.deepEqual(subs.map((s) => s.standing), ["ended", "ended", "granted"]);
  assert.equal(subs[2].state, "live");
});

test("a book that is recovering does not have polls begin anew", async () => {
  const polls = [];
  net.reach = reachBy({ "/v1/poll": () => new Promise((done) => { polls.push((frames, cursor) => done(json({ type: "poll", frames, cursor }))); }) });
  const storage = new FakeStorage();
  storage.setItem("depthcast.blocked", JSON.stringify(Object.fromEntries(["websocket", "events"].map((kind) => [kind, { failures: 1, until: Date.now() + 60_000 }]))));
  const c = net.client({ storage, pollMs: 0 }), a = follow(c), b = follow(c, { symbol: "SIM:B" });
  await settle();
  polls[0]([ack(7, "SIM:A"), ack(8, "SIM:B", { item: 1, state: "recovering", reason: "gap" }), snapshot(7, 10)], "c1");
  await settle();
  assert.deepEqual([a.state, b.state, net.requests.at(-1).query.get("cursor")], ["live", "recovering", "c1"]);
});

test("the server's own refusal of a stream is waited out, and no other kind is tried", async () => {
  const full = () => json({ type: "error", code: "overloaded", message: "as many connections as configured" }, 503, { "Retry-After": "7" });
  net.reach = reachBy({ "/v1/sse": full });
  const c = net.client();
  follow(c);
  await settle();
  net.socket.end(1006);
  await settle();
  await pass(250);
  assert.ok(c.link.retryInMs >= 7000 && c.link.retryInMs <= 8000, String(c.link.retryInMs));
  assert.deepEqual([c.link.kind, c.link.why], ["events", "as many connections as configured"]);
  await pass(8250);
  assert.deepEqual(net.paths(), ["/v1/status", "/v1/sse", "/v1/sse"]);
});

test("items are asked again as their error says, and end where it says never", async () => {
  const c = net.client(), a = follow(c), b = c.subscribe({ symbol: "SIM:NOPE" });
  await settle();
  net.socket.greet();
  await settle();
  const [ask] = net.socket.take();
  assert.deepEqual(ask.items.map((i) => i.symbol), ["SIM:A", "SIM:NOPE"]);
  net.socket.say({ type: "error", id: ask.id, item: 0, code: "not_ready", message: "not yet", retry: "after", retry_after_ms: 2000 });
  net.socket.say({ type: "error", id: ask.id, item: 1, code: "unknown_symbol", message: "no such symbol", retry: "never" });
  assert.deepEqual([a.standing, b.standing, b.why], ["waiting", "ended", "no such symbol"]);
  await pass(1750);
  assert.equal(net.socket.take().length, 0);
  await pass(500);
  assert.deepEqual(net.socket.take().map((m) => m.items.map((i) => i.symbol)), [["SIM:A"]]);
});

test("who ends a subscription before its answer and asks anew gets it", async () => {
  const c = net.client(), first = follow(c);
  await settle();
  net.socket.greet();
  await settle();
  const [ask] = net.socket.take();
  c.unsubscribe(first);
  const second = follow(c);
  await settle();
  assert.equal(net.socket.take().length, 0); // the server has it, under a number that is not known yet
  net.socket.say(ack(7, "SIM:A", { id: ask.id }));
  const [end, again] = net.socket.take();
  assert.deepEqual([end.type, end.topics, again.type], ["unsubscribe", [7], "subscribe"]);
  net.socket.say(ack(7, "SIM:A", { id: end.id, ended: true }));
  net.socket.say(ack(7, "SIM:A", { id: again.id }));
  net.socket.say(snapshot(7, 10));
  assert.deepEqual([first.ended, second.state], [true, "live"]);
  assert.deepEqual(net.told("granted").map((e) => e.sub), [second]);
});

test("a server that drains is left when it says, without a failure", async () => {
  const { c } = await live();
  net.socket.say({ type: "drain", deadline_ms: 2000, reconnect_after_ms: 2000 });
  await pass(1750);
  assert.equal(c.link.connected, true);
  const old = net.socket;
  await pass(500);
  assert.ok(old.closed);
  await pass(250);
  assert.equal(net.sockets.length, 2);
});

test("a silent server is asked for a sign of life, and then left", async () => {
  await live();
  await pass(15_000);
  assert.deepEqual(net.socket.take().map((m) => m.type), ["ping"]);
  net.socket.say({ type: "pong", id: 2 });
  await pass(14_750);
  assert.equal(net.socket.take().length, 0);
  await pass(500);
  assert.deepEqual(net.socket.take().map((m) => m.type), ["ping"]);
  const old = net.socket;
  await pass(10_250);
  assert.ok(old.closed);
});

test("a token goes with every kind of link, and one that is refused is not shown again", async () => {
  let token = "first";
  const stream = new Events();
  net.reach = (r) => (r.headers.Authorization !== "Bearer second" ? json({ type: "error", code: "unauthenticated", message: "a valid token is needed" }, 401)
    : r.path === "/v1/sse" ? stream.answer : status());
  const c = net.client({ token: () => token });
  follow(c);
  await settle();
  assert.deepEqual(net.socket.protocols, ["depthcast.v1.json", "depthcast.token.first"]);
  token = "second";
  net.socket.end(1006);
  await settle();
  await pass(500);
  assert.deepEqual(net.socket.protocols, ["depthcast.v1.json", "depthcast.token.second"]);
  net.socket.end(1006);
  await settle();
  await pass(500);
  stream.say(hello);
  await settle();
  assert.deepEqual([c.link.kind, c.link.connected], ["events", true]);
  c.close();

  const lost = net.client({ token: () => "first" });
  for (let i = 0; i < 2; i++) {
    await settle();
    net.socket.end(1006);
    await settle();
    await pass(500);
  }
  assert.equal(lost.link.retryInMs, -1);
});

test("a token's successor is shown in place", async () => {
  let token = "first";
  net.client({ token: () => token });
  await settle();
  net.socket.greet({ time: "1000000000000", auth_until: String(1000000000000n + 60_000_000_000n) });
  await settle();
  net.socket.take();
  token = "second";
  await pass(14_000);
  net.socket.say({ type: "pong", id: 0 });
  for (let i = 0; i < 3; i++) {
    await pass(12_000);
    net.socket.say({ type: "pong", id: 0 });
  }
  assert.deepEqual(net.socket.take().filter((m) => m.type === "auth").map((m) => m.token), ["second"]);
});

test("nonsense ends the link and is no news of the book", async () => {
  for (const nonsense of ["{", "null", '{"type":"delta","topic":7,"prev_seq":"10","seq":"11"}', '{"type":"delta","topic":7,"prev_seq":"10","seq":"11","bids":[["1.5","1"]],"asks":[],"hash":""}']) {
    const { c, sub } = await live();
    net.socket.socket.onmessage({ data: nonsense });
    assert.equal(c.link.connected, false, nonsense);
    assert.notEqual(sub.state, "live", nonsense);
    c.close();
  }
  const { sub } = await live();
  for (const news of ['{"type":"candles","topic":7}', "{}", '{"type":"delta","topic":99}']) net.socket.socket.onmessage({ data: news });
  assert.equal(sub.state, "live"); // a newer server's, and a topic that is not ours
});

test("a page that throws harms nothing here", async () => {
  const thrown = [];
  globalThis.reportError = (e) => thrown.push(e.message);
  const { sub } = await live({ on: () => { throw new Error("a fault of the page"); } });
  assert.equal(sub.state, "live");
  assert.ok(thrown.length > 0 && thrown.every((m) => m === "a fault of the page"));
});
