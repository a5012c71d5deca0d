// The page: a live ladder of one symbol, its trades and its session.

import { type Book, Client, type Event, type Kind, type Level, type PublicTrade, type Subscription, decimal } from "./client.js";

const TAPE = 25; // trades shown
const KINDS: Record<Kind, string> = { websocket: "WebSocket", events: "event stream", poll: "polling" };

function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no ${id}`);
  return found as T;
}

const symbol = element<HTMLSelectElement>("symbol"), depth = element<HTMLSelectElement>("depth"), group = element<HTMLSelectElement>("group");
const set = (id: string, text: string): void => { element(id).textContent = text; };

// What is followed, and drawn at the next frame of the screen if it is dirty.
interface View { book: Subscription & { readonly book: Book }; trades: Subscription; ticker: Subscription; tape: Line[] }

// A trade, or what is missing between two.
type Line = PublicTrade | string;
let view: View | null = null;
let updates = 0, checked = 0, dirty = true;
// Why the book is not as the user wants it.
const NONE = { text: "", final: false };
let refusal = NONE;

const client = new Client({ on });
const listings = client.subscribe({ symbol: "*", channel: "instruments" }); // as symbols come and go

function on(e: Event): void {
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
      // What was to be changed goes on as it was.
      [depth.value, group.value] = [String(e.sub.item.depth), e.sub.item.group ?? ""];
      break;
    case "granted":
      if (e.sub === view?.book && !refusal.final) refusal = NONE;
      break;
  }
}

const missing = (n: bigint): Line[] => (n > 0n ? [n === 1n ? "one trade missed" : `${n} trades missed`] : []);

// Another symbol: the old topics end, and nothing of them is shown again.
function choose(): void {
  if (view) for (const sub of [view.book, view.trades, view.ticker]) client.unsubscribe(sub);
  view = {
    book: client.subscribe({ symbol: symbol.value, depth: Number(depth.value), group: group.value }), tape: [],
    trades: client.subscribe({ symbol: symbol.value, channel: "trades", last: TAPE }),
    ticker: client.subscribe({ symbol: symbol.value, channel: "ticker" }),
  };
  [dirty, refusal] = [true, NONE];
  location.hash = encodeURIComponent(symbol.value);
}

// Another depth or group: the book alone begins anew.
function change(): void {
  if (!view || view.book.ended) return choose();
  client.modify(view.book, { depth: Number(depth.value), group: group.value });
  [dirty, refusal] = [true, NONE];
}

type Cell = [text: string, name?: string, share?: number];

function row(cells: Cell[]): HTMLTableRowElement {
  const tr = document.createElement("tr");
  for (const [text, name, share] of cells) {
    const td = tr.insertCell();
    td.textContent = text;
    if (name) td.className = name;
    if (share === undefined) continue;
    const bar = document.createElement("i");
    bar.style.width = `${100 * share}%`;
    td.append(bar);
    td.classList.add("bar");
  }
  return tr;
}

// What stands in the place of trades that are missing.
function hole(text: string): HTMLTableRowElement {
  const tr = row([[text, "hole"]]);
  tr.cells[0]!.colSpan = 3;
  return tr;
}

// What stands in place of a state: nothing is live without a link.
function stateOf(v: View | null): { state: string; why: string } {
  const { connected, why, retryInMs } = client.link;
  if (v?.book.ended) return { state: "ended", why: v.book.why };
  if (!connected) return { state: why ? "offline" : "connecting", why: retryInMs < 0 ? `${why}: reload the page to try again` : why };
  if (!v?.book.ack) return { state: "connecting", why: refusal.text };
  const labels = [v.book.reason.replaceAll("_", " "), v.book.partial ? "deeper levels are not known" : "", refusal.text];
  return { state: v.book.state, why: labels.filter((l) => l).join(" · ") };
}

function span(ms: number): string {
  for (const [unit, length] of [["h", 3_600_000], ["min", 60_000], ["s", 1000]] as const) if (ms % length === 0) return `${ms / length} ${unit}`;
  return `${ms} ms`;
}

function drawBook(book: Book): void {
  const most = Math.max(1e-300, ...[...book.bids, ...book.asks].map((l) => Number(l.qty)));
  const share = (l: Level): number => Number(l.qty) / most;
  element("asks").replaceChildren(...book.asks.toReversed().map((l) => row([[""], [book.price(l), "price"], [book.qty(l), "", share(l)]])));
  element("bids").replaceChildren(...book.bids.map((l) => row([[book.qty(l), "", share(l)], [book.price(l), "price"], [""]])));
  const [bid] = book.bids, [ask] = book.asks;
  set("spread", bid && ask ? `spread ${decimal(ask.price - bid.price, book.exponents.price)}` : "");
  set("seq", book.whole ? String(book.seq) : "–");
  set("hash", book.whole ? book.hash : "–");
}

// What a ticker leaves out is not known.
function drawSession(v: View): void {
  const t = v.ticker.quote?.ticker, change = t?.change ?? "", falls = change.startsWith("-"), rises = !falls && /[1-9]/.test(change);
  set("last", t?.last ?? "");
  set("change", (rises ? "+" : "") + change);
  element("change").className = falls ? "sell" : rises ? "buy" : "quiet";
  const known = (["open", "high", "low", "volume"] as const).filter((name) => t?.[name] !== undefined);
  set("session", known.map((name) => `${name} ${t?.[name]}`).join(" · "));
}

function drawTape(tape: Line[]): void {
  const clock = (ns: string): string => new Date(Number(BigInt(ns) / 1_000_000n)).toLocaleTimeString([], { hour12: false });
  const mark = (t: PublicTrade): string => (t.cancellation ? "cancelled " : t.correction ? "corrected " : "");
  const line = (t: PublicTrade): Cell[] => [[mark(t) + (t.venue_time ? clock(t.venue_time) : "")], [t.price, t.aggressor ?? ""], [t.qty]];
  element("tape").replaceChildren(...tape.map((t) => (typeof t === "string" ? hole(t) : row(line(t)))));
}

function draw(): void {
  requestAnimationFrame(draw);
  if (!dirty || !view) return;
  dirty = false;
  const { state, why } = stateOf(view);
  // A void book has no levels; one that is not live is dimmed.
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

// The symbol that an address names after its #; one that is no URL's text names none.
function named(hash: string): string {
  try { return decodeURIComponent(hash); } catch { return ""; }
}

// Takes the symbols that there are to choose from; the chosen one stays, also when it has
// ended.
function offer(names: string[]): void {
  const chosen = symbol.value || named(location.hash.slice(1)), list = new Set(names);
  if (view) list.add(chosen);
  if (list.size === symbol.length && [...symbol.options].every((o) => list.has(o.value))) return;
  symbol.replaceChildren(...[...list].sort().map((s) => new Option(s)));
  if (list.has(chosen)) symbol.value = chosen;
  if (!view && list.size > 0) choose();
}

// Asks for the list once by plain HTTP, since not every token grants all listings; until
// the server has read its Kafka topics it may be empty.
async function symbols(): Promise<boolean> {
  const answer = await (await fetch("/v1/symbols")).json() as { symbols?: { symbol: string }[]; message?: string };
  if (answer.symbols) offer(answer.symbols.map((s) => s.symbol));
  else {
    set("state", "offline");
    set("why", answer.message ?? "");
  }
  return view !== null;
}

async function start(): Promise<void> {
  symbol.onchange = choose;
  depth.onchange = group.onchange = change;
  setInterval(() => { set("rate", String(updates)); updates = 0; }, 1000);
  draw();
  while (!view) {
    try { if (await symbols()) break; } catch { /* the server is not up yet: asked again below */ }
    await new Promise((r) => setTimeout(r, 1000));
  }
}

void start();
