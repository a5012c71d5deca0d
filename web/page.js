import { Book, BID, ASK } from "./book.js";
import { Link } from "./link.js";

const $ = (id) => document.getElementById(id);
const TAPE = 25;             // trades shown

const book = new Book();
const tape = [];
const view = { state: "connecting", reason: "", phase: "", book: 0, trades: 0, ticker: 0, updates: 0, checked: 0, dirty: true };
let link, awaiting = false;
let session = null; // the newest ticker; null: the next one counts, whatever its seq

function items() {
  const symbol = $("symbol").value;
  return symbol ? [
    { symbol, channel: "book", depth: Number($("depth").value), group: $("group").value, resume: book.resume() },
    { symbol, channel: "trades", last: TAPE },
    { symbol, channel: "ticker" },
  ] : [];
}

// Another symbol, depth or group: the old topics end, and nothing of them is shown again.
function choose() {
  Object.assign(view, { book: 0, trades: 0, ticker: 0, dirty: true, state: "connecting", reason: "" });
  book.reset(); tape.length = 0; session = null; awaiting = false;
  link.follow(items);
  location.hash = encodeURIComponent($("symbol").value);
}

function resync(kind, f) {
  if (awaiting) return;
  awaiting = true; book.whole = false; view.state = "recovering"; view.reason = kind;
  if (kind === "mismatch") link.resync({ type: "mismatch", topic: f.topic, seq: f.seq, hash: book.hash.toString(16).padStart(8, "0") });
  else link.resync({ type: "resync", topics: [f.topic] });
}

function outcome(result, f) {
  if (result === "applied") { view.checked++; view.updates++; }
  else if (result !== "ignored") resync(result, f);
}

function status(f) {
  view.state = f.state; view.reason = f.reason ?? ""; view.phase = f.phase ?? "";
  view.partial = f.partial ?? false;
  if (f.state === "recovering") book.whole = false;
}

const handlers = {
  ack(f) {
    if (f.ended || f.symbol !== $("symbol").value) return;
    view[f.channel] = f.topic;
    if (f.channel === "book") status(f);
    if (f.channel === "book" && !f.resumed) book.reset();
  },
  snapshot(f) {
    if (f.topic === view.ticker) session = null;
    if (f.topic !== view.book) return;
    awaiting = false;
    outcome(book.snapshot(f), f);
    status({ ...f, reason: f.state_reason });
  },
  delta(f) { if (f.topic === view.book) outcome(book.delta(f), f); },
  keepalive(f) { if (f.topic === view.book && book.keepalive(f) === "mismatch") resync("mismatch", f); },
  status(f) { if (f.topic === view.book) status(f); },
  trades(f) {
    if (f.topic !== view.trades) return;
    if (f.history) tape.length = 0;
    tape.unshift(...[...(f.trades ?? [])].reverse());
    tape.length = Math.min(tape.length, TAPE);
  },
  ticker(f) {
    if (f.topic !== view.ticker) return;
    if (!session || BigInt(f.seq) >= BigInt(session.seq)) session = f;
  },
  error(f) { view.state = "offline"; view.reason = f.message; if (f.retry === "after") setTimeout(() => link.follow(items), f.retry_after_ms || 1000); },
};

const on = {
  frame(f) {
    if (f.type === "hello") { awaiting = false; session = null; }
    handlers[f.type]?.(f);
    view.dirty = true;
  },
  down(reason) {
    Object.assign(view, { state: "offline", reason, book: 0, trades: 0, ticker: 0, dirty: true });
    session = null;
  },
};

function row(cells) {
  const tr = document.createElement("tr");
  for (const [text, name, share] of cells) {
    const td = tr.insertCell();
    td.textContent = text;
    if (name) td.className = name;
    if (share !== undefined) {
      const bar = document.createElement("i");
      bar.style.width = `${100 * share}%`; td.append(bar); td.classList.add("bar");
    }
  }
  return tr;
}

function spreadOf(bid, ask) {
  if (!bid || !ask) return "";
  const digits = (bid[0].split(".")[1] ?? "").length;
  const gap = BigInt(ask[0].replace(".", "")) - BigInt(bid[0].replace(".", ""));
  const text = String(gap < 0n ? -gap : gap).padStart(digits + 1, "0");
  const shown = digits ? `${text.slice(0, -digits)}.${text.slice(-digits)}` : text;
  return `spread ${gap < 0n ? "-" : ""}${shown}`;
}

function draw() {
  requestAnimationFrame(draw);
  if (!view.dirty) return;
  view.dirty = false;
  // A void book shows nothing; one that is not live is dimmed.
  const bids = book.whole ? book.levels(BID) : [], asks = book.whole ? book.levels(ASK) : [];
  const most = Math.max(1e-300, ...[...bids, ...asks].map(([, q]) => Number(q)));
  $("asks").replaceChildren(...asks.toReversed().map(([p, q]) => row([[""], [p, "price"], [q, "", Number(q) / most]])));
  $("bids").replaceChildren(...bids.map(([p, q]) => row([[q, "", Number(q) / most], [p, "price"], [""]])));
  $("spread").textContent = spreadOf(bids[0], asks[0]);
  $("ladder").classList.toggle("dim", view.state !== "live");
  $("state").textContent = view.state; $("state").className = `badge ${view.state}`;
  $("phase").textContent = view.phase; $("phase").hidden = !view.phase;
  $("why").textContent = view.reason.replaceAll("_", " ") || (view.partial ? "partial" : "");
  $("seq").textContent = book.whole ? String(book.seq) : "–";
  $("hash").textContent = book.whole ? book.hash.toString(16).padStart(8, "0") : "–";
  $("checked").textContent = view.checked;
  $("link").textContent = link.kind;
  // What a ticker leaves out is not known.
  $("last").textContent = session?.last ?? "";
  $("change").textContent = session?.change === undefined ? "" : (session.change.startsWith("-") ? "" : "+") + session.change;
  $("change").className = session?.change?.startsWith("-") ? "sell" : "buy";
  const known = ["open", "high", "low", "volume"].filter((name) => session?.[name] !== undefined);
  $("session").textContent = known.map((name) => `${name} ${session[name]}`).join(" · ");
  const clock = (ns) => new Date(Number(BigInt(ns) / 1_000_000n)).toLocaleTimeString([], { hour12: false });
  const mark = (t) => t.cancellation ? "cancelled" : t.correction ? "corrected" : "";
  $("tape").replaceChildren(...tape.map((t) => row([[`${mark(t)} ${t.venue_time ? clock(t.venue_time) : ""}`], [t.price, t.aggressor], [t.qty]])));
}

// The list of symbols; until the server has read its Kafka topics it may be empty.
async function symbols() {
  const list = (await (await fetch("/v1/symbols")).json()).symbols.map((s) => s.symbol).sort();
  const chosen = $("symbol").value || decodeURIComponent(location.hash.slice(1));
  $("symbol").replaceChildren(...list.map((s) => new Option(s)));
  if (list.includes(chosen)) $("symbol").value = chosen;
  return list.length > 0;
}

async function start() {
  for (;;) {
    try { if (await symbols()) break; } catch { /* the server is not up yet: asked again below */ }
    await new Promise((r) => setTimeout(r, 500));
  }
  $("symbol").onchange = $("depth").onchange = $("group").onchange = choose;
  setInterval(() => { $("rate").textContent = view.updates; view.updates = 0; }, 1000);
  link = new Link(on);
  link.follow(items);
  draw();
}

start();
