import assert from "node:assert/strict";
import { test } from "node:test";
import { Listings } from "../js/client.js";
import { frames } from "./pages.js";

const listing = (symbol, more) => ({ symbol, epoch: "00000000000000aa", seq: "1", ...more });
const frame = (prev, seq, listings, more) => ({ type: "instruments", topic: 5, prev_seq: String(prev), seq: String(seq), listings, ...more });
const names = (l) => [...l.all.keys()].sort().join(" ");

test("listings come and go by the rule of prev_seq and seq", () => {
  const l = new Listings(), change = (prev, seq, symbol, more) => frame(prev, seq, [listing(symbol)], more);
  assert.equal(l.take(change(0, 1, "SIM:A")), "ignored"); // there is no list yet
  for (const [f, want, known] of [
    [change(3, 3, "SIM:A", { snapshot: true, more: true }), "applied", "SIM:A"],
    [change(3, 3, "SIM:B"), "applied", "SIM:A SIM:B"],  // goes on
    [change(2, 3, "SIM:Z"), "ignored", "SIM:A SIM:B"],
    [change(2, 3, "SIM:Z", { more: true }), "ignored", "SIM:A SIM:B"],
    [change(2, 3, "SIM:Z"), "ignored", "SIM:A SIM:B"],  // goes on with what was of no use
    [change(3, 4, "SIM:C"), "applied", "SIM:A SIM:B SIM:C"],
    [frame(4, 6, [listing("SIM:A", { ended: true, end_reason: "delisted" })]), "applied", "SIM:B SIM:C"],
    [change(5, 7, "SIM:D", { more: true }), "applied", "SIM:B SIM:C SIM:D"],
    [change(7, 7, "SIM:E"), "applied", "SIM:B SIM:C SIM:D SIM:E"],
    [change(9, 10, "SIM:F"), "gap", "SIM:B SIM:C SIM:D SIM:E"],
    [change(7, 8, "SIM:F"), "ignored", "SIM:B SIM:C SIM:D SIM:E"], // until the list that was asked for
    [change(10, 10, "SIM:F", { snapshot: true }), "applied", "SIM:F"],
  ]) {
    assert.equal(l.take(f), want, JSON.stringify(f));
    assert.equal(names(l), known, JSON.stringify(f));
  }
});

test("the examples of listings are followed", () => {
  const l = new Listings();
  const outcomes = frames("list").filter((f) => f.type === "instruments").map((f) => l.take(f));
  assert.deepEqual([outcomes, names(l)], [["applied", "applied", "applied"], "SIM:ACME"]);
  assert.equal(l.all.get("SIM:ACME").phase, "halted");
});
