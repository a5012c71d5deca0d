// Code generated from web/*.ts by make generate. DO NOT EDIT.

// web/page.ts
import { Client, decimal } from "./client.js";
var TAPE = 25;
var KINDS = { websocket: "WebSocket", events: "events", poll: "polling" };
function element(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no ${id}`);
  return found;
}
var symbol = element("symbol");
var depth = element("depth");
var group = element("group");
var set = (id, text) => {
  element(id).textContent = text;
};
var view = null;
var updates = 0;
var checked = 0;
var refusal = "";
var dirty = true;
var client = new Client({ on });
function on(e) {
  dirty = true;
  switch (e.type) {
    case "set":
    case "changed":
      checked++;
      updates++;
      break;
    case "traded":
      if (!view || e.sub !== view.trades) return;
      view.tape = [...e.news.trades.toReversed(), ...missing(e.news.missed), ...view.tape].slice(0, TAPE);
      break;
    case "refused":
      refusal = e.error.message ?? e.error.code;
      break;
    case "granted":
      refusal = "";
      break;
  }
}
var missing = (n) => n > 0n ? [`${n} missed`] : [];
function choose() {
  if (view) for (const sub of [view.book, view.trades, view.ticker]) client.unsubscribe(sub);
  const book = { symbol: symbol.value, channel: "book", depth: Number(depth.value), group: group.value };
  view = {
    book: client.subscribe(book),
    tape: [],
    trades: client.subscribe({ symbol: symbol.value, channel: "trades", last: TAPE }),
    ticker: client.subscribe({ symbol: symbol.value, channel: "ticker" })
  };
  [dirty, refusal] = [true, ""];
  location.hash = encodeURIComponent(symbol.value);
}
function row(cells) {
  const tr = document.createElement("tr");
  for (const [text, name, share] of cells) {
    const td = tr.insertCell();
    td.textContent = text;
    if (name) td.className = name;
    if (share === void 0) continue;
    const bar = document.createElement("i");
    bar.style.width = `${100 * share}%`;
    td.append(bar);
    td.classList.add("bar");
  }
  return tr;
}
function stateOf(v) {
  const { connected, why, retryInMs } = client.link;
  if (refusal) return { state: "offline", why: refusal };
  if (!connected) return { state: why ? "offline" : "connecting", why: retryInMs < 0 ? `${why}: reload the page to try again` : why };
  if (!v?.book.ack) return { state: "connecting", why: "" };
  const labels = [v.book.reason.replaceAll("_", " "), v.book.partial ? "partial" : "", v.book.delayMs ? `delayed by ${v.book.delayMs / 1e3} s` : ""];
  return { state: v.book.state, why: labels.filter((l) => l).join(" · ") };
}
function drawBook(book) {
  const most = Math.max(1e-300, ...[...book.bids, ...book.asks].map((l) => Number(l.qty)));
  const share = (l) => Number(l.qty) / most;
  element("asks").replaceChildren(...book.asks.toReversed().map((l) => row([[""], [book.price(l), "price"], [book.qty(l), "", share(l)]])));
  element("bids").replaceChildren(...book.bids.map((l) => row([[book.qty(l), "", share(l)], [book.price(l), "price"], [""]])));
  const [bid] = book.bids, [ask] = book.asks;
  set("spread", bid && ask ? `spread ${decimal(ask.price - bid.price, book.exponents.price)}` : "");
  set("seq", book.whole ? String(book.seq) : "–");
  set("hash", book.whole ? book.hash : "–");
}
function drawSession(v) {
  const t = v.ticker.quote?.ticker, change = t?.change, falls = change?.startsWith("-");
  set("last", t?.last ?? "");
  set("change", change === void 0 ? "" : (falls ? "" : "+") + change);
  element("change").className = falls ? "sell" : "buy";
  const known = ["open", "high", "low", "volume"].filter((name) => t?.[name] !== void 0);
  set("session", known.map((name) => `${name} ${t?.[name]}`).join(" · "));
}
function drawTape(tape) {
  const clock = (ns) => new Date(Number(BigInt(ns) / 1000000n)).toLocaleTimeString([], { hour12: false });
  const mark = (t) => t.cancellation ? "cancelled " : t.correction ? "corrected " : "";
  const line = (t) => typeof t === "string" ? [[""], [t, "quiet"], [""]] : [[mark(t) + (t.venue_time ? clock(t.venue_time) : "")], [t.price, t.aggressor ?? ""], [t.qty]];
  element("tape").replaceChildren(...tape.map((t) => row(line(t))));
}
function draw() {
  requestAnimationFrame(draw);
  if (!dirty || !view) return;
  dirty = false;
  const { state, why } = stateOf(view);
  drawBook(view.book.book);
  drawSession(view);
  drawTape(view.tape);
  element("ladder").classList.toggle("dim", state !== "live");
  set("state", state);
  element("state").className = `badge ${state}`;
  set("phase", view.book.phase.replaceAll("_", " "));
  element("phase").hidden = !view.book.phase;
  set("why", why);
  set("checked", String(checked));
  set("link", KINDS[client.link.kind]);
}
function named(hash) {
  try {
    return decodeURIComponent(hash);
  } catch {
    return "";
  }
}
async function symbols() {
  const answer = await (await fetch("/v1/symbols")).json();
  if (!answer.symbols) {
    set("state", "offline");
    set("why", answer.message ?? "");
    return false;
  }
  const list = answer.symbols.map((s) => s.symbol).sort();
  const chosen = symbol.value || named(location.hash.slice(1));
  symbol.replaceChildren(...list.map((s) => new Option(s)));
  if (list.includes(chosen)) symbol.value = chosen;
  return list.length > 0;
}
async function start() {
  for (; ; ) {
    try {
      if (await symbols()) break;
    } catch {
    }
    await new Promise((r) => setTimeout(r, 1e3));
  }
  symbol.onchange = depth.onchange = group.onchange = choose;
  setInterval(() => {
    set("rate", String(updates));
    updates = 0;
  }, 1e3);
  choose();
  draw();
}
void start();
