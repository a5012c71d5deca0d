// A client that the tests of cmd/depthcast run in Node.js against a server:
// node watch.js URL PATTERN ORDERS-SYMBOL. It follows all channels, says what it has in
// one line whenever that has changed, and takes commands, one a line.

import { createInterface } from "node:readline";
import { ASK, BID, Client } from "../js/client.js";

const [url, pattern, ordered] = process.argv.slice(2);
const seen = { lost: 0, granted: 0, refused: "", trades: {} };
const client = new Client({ url, storage: null, backoffMs: [20, 200], openMs: 20_000, answerMs: 30_000, pollMs: 20, on });
const books = client.subscribeAll({ symbol: pattern, depth: 5 });
const trades = client.subscribeAll({ symbol: pattern, channel: "trades", last: 5 });
const tickers = client.subscribeAll({ symbol: pattern, channel: "ticker" });
const listings = client.subscribe({ symbol: pattern, channel: "instruments" });
const orders = client.subscribe({ symbol: ordered, channel: "orders", depth: 10 });
let said = "", queued = false;

function on(e) {
  if (e.type === "lost" && e.cause === "mismatch") seen.lost++;
  if (e.type === "refused" && e.error.code !== "unknown_symbol") seen.refused = `${e.sub.item.symbol} ${e.error.code} ${e.retryInMs}`;
  if (e.type === "traded" && e.sub.broughtBy === trades) {
    if (e.news.missed > 0n) seen.refused = `${e.news.missed} trades missed`;
    for (const t of e.news.trades) seen.trades[e.sub.item.symbol] = `${t.ordinal} ${t.price}`;
  }
  if (queued) return;
  queued = true;
  setImmediate(say);
}

function say() {
  queued = false;
  const of = (all, what) => Object.fromEntries([...all.brought].sort().filter(([, s]) => s.standing === "granted").map(([symbol, s]) => [symbol, what(s)]));
  const { book } = orders;
  const line = JSON.stringify({
    link: client.link.connected ? client.link.kind : "",
    books: of(books, (s) => `${s.state} ${s.book.hash} ${s.ack.depth}`),
    trades: Object.fromEntries(Object.entries(seen.trades).filter(([symbol]) => trades.brought.has(symbol)).sort()),
    tickers: of(tickers, (s) => s.quote.ticker?.last ?? ""),
    listings: [...listings.listings.all.keys()].sort().join(" "),
    orders: `${orders.state} ${book.hash} ${[BID, ASK].map((side) => [...book.orders(side)].length).join(" ")}`,
    lost: seen.lost, refused: seen.refused,
  });
  if (line !== said) console.log(said = line);
}

createInterface({ input: process.stdin }).on("line", (line) => {
  const { symbol, ...view } = JSON.parse(line);
  client.modify(books.brought.get(symbol), view);
}).on("close", () => process.exit());
