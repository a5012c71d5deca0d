import assert from "node:assert/strict";
import { test } from "node:test";
import { EventParser, Memory, Subscription, arrange, lossByCode } from "../js/client.js";
import { FakeStorage } from "./fakes.js";
import { table } from "./pages.js";

test("close codes lead to what the protocol page says", () => {
  const rows = table("closes").filter(([, code]) => code !== "0");
  assert.ok(rows.length >= 10);
  for (const [reason, code, , retry] of rows) assert.equal(lossByCode(Number(code), reason).retry === "never", retry === "never", reason);
});

test("an event stream is read alike however it is cut", () => {
  const text = "retry: 1500\n\ndata: {\"a\":1}\n\n:\n\nid: t1\n\ndata: x\r\ndata: y\r\nid: t2\r\n\r\nevent: z\nnonsense\ndata:no space\n\ndata: never ended";
  const read = (pieces) => {
    const told = [];
    const parser = new EventParser({ data: (d) => told.push(`data ${d}`), id: (i) => told.push(`id ${i}`), retry: (ms) => told.push(`retry ${ms}`) });
    for (const p of pieces) parser.feed(p);
    return told;
  };
  const want = ["retry 1500", 'data {"a":1}', "id t1", "data x\ny", "id t2", "data no space"];
  assert.deepEqual(read([text]), want);
  assert.deepEqual(read([...text]), want);
  for (let i = 0; i <= text.length; i++) assert.deepEqual(read([text.slice(0, i), text.slice(i)]), want);
});

test("what is followed is sorted into as few URLs as can ask for it", () => {
  const sub = (symbol, channel, more) => new Subscription({ symbol, channel, ...more });
  const shape = (groups) => groups.map((g) => g.map((s) => `${s.item.symbol} ${s.channel}${s.item.depth ?? ""}`).join(", "));
  assert.deepEqual(shape(arrange([
    sub("A", "book", { depth: 10 }), sub("A", "trades", { last: 5 }), sub("A", "ticker"),
    sub("B", "ticker"), sub("C", "ticker"),
    sub("A", "book", { depth: 1 }), sub("D", "book", { depth: 1 }), sub("D", "ticker", { intervalMs: 100 }),
  ])), ["A book10, A ticker, A trades", "A book1, D book1", "B ticker, C ticker", "D ticker"]);
  const many = Array.from({ length: 130 }, (_, i) => sub(`S${i}`, "ticker"));
  assert.deepEqual(arrange(many).map((g) => g.length), [64, 64, 2]);
  const long = Array.from({ length: 64 }, (_, i) => sub(`SIM:${"x".repeat(58)}${10 + i}`, "ticker"));
  for (const g of arrange(long)) {
    const names = g.reduce((sum, s) => sum + 8 + encodeURIComponent(s.item.symbol).length, 0);
    // Some 40 bytes of a token beside the name, in base64, of topics that have a large seq.
    assert.ok(names + g.reduce((sum, s) => sum + (45 + s.item.symbol.length) * 4 / 3, 0) < 8000, `${g.length} in one line`);
    assert.ok(g.length > 20);
  }
});

test("a kind that does not come through is left alone for longer each time, and remembered", () => {
  let now = 1_000_000;
  const storage = new FakeStorage(), open = () => new Memory(storage, () => now);
  const memory = open();
  assert.equal(memory.best(), "websocket");
  for (const wait of [30, 60, 120, 240, 480, 600, 600]) {
    memory.failed("websocket");
    assert.equal(memory.best(), "events");
    now += wait * 1000 - 1;
    assert.equal(open().best(), "events");
    now += 1;
    assert.equal(open().best(), "websocket");
  }
  memory.failed("websocket");
  memory.failed("events");
  memory.failed("poll");
  assert.equal(open().best(), "poll");
  memory.worked("websocket");
  assert.equal(open().best(), "websocket");
  memory.failed("websocket");
  now -= 10_000_000; // a clock that was set back
  assert.equal(open().best(), "websocket");
  for (const nonsense of ["{", "null", "[]", '{"websocket":{"until":"x"}}']) {
    storage.setItem("depthcast.blocked", nonsense);
    assert.equal(open().best(), "websocket");
  }
});
