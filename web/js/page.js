// Code generated from web/*.ts by make generate. DO NOT EDIT.

// web/page.ts
import { Client, decimal } from "./client.js";
var TAPE = 25;
var KINDS = { websocket: "WebSocket", events: "event stream", poll: "polling" };
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
var dirty = true;
var NONE = { text: "", final: false };
var refusal = NONE;
var client = new Client({ on });
var listings = client.subscribe({ symbol: "*", channel: "instruments" });
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
    case "listed":
      if (!e.instruments.more) offer([...listings.listings.all.keys()]);
      break;
    case "refused":
      if (e.sub !== view?.book) break;
      refusal = { text: e.error.message ?? e.error.code, final: e.retryInMs < 0 };
      [depth.value, group.value] = [String(e.sub.item.depth), e.sub.item.group ?? ""];
      break;
    case "granted":
      if (e.sub === view?.book && !refusal.final) refusal = NONE;
      break;
  }
}
var missing = (n) => n > 0n ? [n === 1n ? "one trade missed" : `${n} trades missed`] : [];
function choose() {
  if (view) for (const sub of [view.book, view.trades, view.ticker]) client.unsubscribe(sub);
  view = {
    book: client.subscribe({ symbol: symbol.value, depth: Number(depth.value), group: group.value }),
    tape: [],
    trades: client.subscribe({ symbol: symbol.value, channel: "trades", last: TAPE }),
    ticker: client.subscribe({ symbol: symbol.value, channel: "ticker" })
  };
  [dirty, refusal] = [true, NONE];
  location.hash = encodeURIComponent(symbol.value);
}
function change() {
  if (!view || view.book.ended) return choose();
  client.modify(view.book, { depth: Number(depth.value), group: group.value });
  [dirty, refusal] = [true, NONE];
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
function hole(text) {
  const tr = row([[text, "hole"]]);
  tr.cells[0].colSpan = 3;
  return tr;
}
function stateOf(v) {
  const { connected, why, retryInMs } = client.link;
  if (v?.book.ended) return { state: "ended", why: v.book.why };
  if (!connected) return { state: why ? "offline" : "connecting", why: retryInMs < 0 ? `${why}: reload the page to try again` : why };
  if (!v?.book.ack) return { state: "connecting", why: refusal.text };
  const labels = [v.book.reason.replaceAll("_", " "), v.book.partial ? "deeper levels are not known" : "", refusal.text];
  return { state: v.book.state, why: labels.filter((l) => l).join(" · ") };
}
function span(ms) {
  for (const [unit, length] of [["h", 36e5], ["min", 6e4], ["s", 1e3]]) if (ms % length === 0) return `${ms / length} ${unit}`;
  return `${ms} ms`;
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
  const t = v.ticker.quote?.ticker, change2 = t?.change ?? "", falls = change2.startsWith("-"), rises = !falls && /[1-9]/.test(change2);
  set("last", t?.last ?? "");
  set("change", (rises ? "+" : "") + change2);
  element("change").className = falls ? "sell" : rises ? "buy" : "quiet";
  const known = ["open", "high", "low", "volume"].filter((name) => t?.[name] !== void 0);
  set("session", known.map((name) => `${name} ${t?.[name]}`).join(" · "));
}
function drawTape(tape) {
  const clock = (ns) => new Date(Number(BigInt(ns) / 1000000n)).toLocaleTimeString([], { hour12: false });
  const mark = (t) => t.cancellation ? "cancelled " : t.correction ? "corrected " : "";
  const line = (t) => [[mark(t) + (t.venue_time ? clock(t.venue_time) : "")], [t.price, t.aggressor ?? ""], [t.qty]];
  element("tape").replaceChildren(...tape.map((t) => typeof t === "string" ? hole(t) : row(line(t))));
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
  set("late", view.book.delayMs ? `delayed by ${span(view.book.delayMs)}` : "");
  element("late").hidden = !view.book.delayMs;
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
function offer(names) {
  const chosen = symbol.value || named(location.hash.slice(1)), list = new Set(names);
  if (view) list.add(chosen);
  if (list.size === symbol.length && [...symbol.options].every((o) => list.has(o.value))) return;
  symbol.replaceChildren(...[...list].sort().map((s) => new Option(s)));
  if (list.has(chosen)) symbol.value = chosen;
  if (!view && list.size > 0) choose();
}
async function symbols() {
  const answer = await (await fetch("/v1/symbols")).json();
  if (answer.symbols) offer(answer.symbols.map((s) => s.symbol));
  else {
    set("state", "offline");
    set("why", answer.message ?? "");
  }
  return view !== null;
}
async function start() {
  symbol.onchange = choose;
  depth.onchange = group.onchange = change;
  setInterval(() => {
    set("rate", String(updates));
    updates = 0;
  }, 1e3);
  draw();
  while (!view) {
    try {
      if (await symbols()) break;
    } catch {
    }
    await new Promise((r) => setTimeout(r, 1e3));
  }
}
void start();
