import assert from "node:assert/strict";
import { test } from "node:test";
import { Quote, Tape } from "../js/client.js";

const trades = (prev, seq, history, ordinals, more) =>
  ({ type: "trades", topic: 2, prev_seq: String(prev), seq: String(seq), history, trades: ordinals.map((o) => ({ ordinal: String(o), price: "1", qty: "1" })), ...more });

// What a frame brings, in short.
function told(news) {
  if (!news) return "";
  const missed = news.missed > 0n ? `missed ${news.missed}: ${news.missedFirst}-${news.missedLast}, ` : "";
  return missed + news.trades.map((t) => `${t.ordinal}${t.cancellation ? " cancelled" : ""};`).join("");
}

test("no trade passes twice, and what is missing is counted", () => {
  const tape = new Tape();
  tape.begin("a");
  const steps = [
    [trades(3, 10, true, [4, 5]), "4;5;"],
    [trades(3, 10, true, [4, 5]), ""],
    [trades(10, 11, false, [6]), "6;"],
    [trades(10, 11, false, [6]), ""],
    [trades(11, 14, false, [9, 10]), "missed 2: 7-8, 9;10;"],
    [trades(14, 15, false, [15], { missed: "4", missed_first: "11", missed_last: "14" }), "missed 4: 11-14, 15;"],
    [trades(12, 16, false, [14, 15, 16]), "16;"], // begins before what was seen
  ];
  for (const [frame, want] of steps) assert.equal(told(tape.take(frame)), want);
  assert.deepEqual(tape.resume(), { epoch: "a", seq: "16", ordinal: "16" });
  tape.replace("b", 1n); // another history: ordinals begin anew
  assert.equal(told(tape.take(trades(0, 1, false, [1]))), "1;");
});

test("a snapshot may step back within the same epoch", () => {
  const tape = new Tape();
  tape.begin("a");
  tape.take(trades(-1, 20, false, [7]));
  tape.replace("a", 5n);
  assert.equal(told(tape.take(trades(4, 5, false, [2]))), "2;");
});

test("a ticker is replaced by newer ones, and by any after an ack", () => {
  const quote = new Quote(), ticker = (seq, last) => ({ type: "ticker", topic: 3, prev_seq: "0", seq: String(seq), last, bid: "1" });
  quote.replace("a");
  assert.ok(quote.take(ticker(5, "5")));
  assert.ok(!quote.take(ticker(4, "4")));
  assert.equal(quote.ticker.last, "5");
  quote.void();
  assert.deepEqual([quote.ticker.last, quote.ticker.bid], ["5", undefined]);
  quote.replace("a");
  assert.equal(quote.ticker.last, "5");
  assert.ok(quote.take(ticker(4, "4")));
  quote.replace("b");
  assert.equal(quote.ticker, null);
});
