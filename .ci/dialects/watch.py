"""Hold the books that ccxt builds from a running depthcast's dialects against depthcast's own.

Usage: watch.py ADDRESS [SECONDS]   (host:port of the client listener)

Each book that ccxt shows while it follows the changes is compared with what a native
client was shown at the same moment: all states of the native view are kept, and ccxt's
must equal one of them that is not older than the one before. ccxt itself checks that the
ids of Binance's events chain; its check of Kraken's checksums does not work on the numbers
that it keeps, so those are held by a client of the Go tests.
"""

import asyncio
import json
import sys
import time

import aiohttp
import ccxt.pro

SYMBOLS = ["BTC/USD", "ETH/USD"]
NATIVE = {"BTC/USD": "SIM:BTC-USD", "ETH/USD": "SIM:ETH-USD"}
DEPTH = 10


class Failure(Exception):
    pass


class NativeBook:
    """The ten best levels of one symbol as the native protocol tells them, state by state."""

    def __init__(self):
        self.bids, self.asks = {}, {}
        self.states = []  # (bids, asks, seq), oldest first
        self.changed = asyncio.Event()

    def apply(self, frame):
        if frame["type"] == "snapshot":
            self.bids, self.asks = {}, {}
        for side, levels in ((self.bids, frame.get("bids", [])), (self.asks, frame.get("asks", []))):
            for price, qty in levels:
                if float(qty) == 0:
                    side.pop(price, None)
                else:
                    side[price] = qty
        top = lambda side, sign: [[float(p), float(q)] for p, q in sorted(side.items(), key=lambda l: sign * float(l[0]))[:DEPTH]]
        self.states.append((top(self.bids, -1), top(self.asks, 1), int(frame["seq"])))
        self.changed.set()


async def follow_native(address, books):
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"ws://{address}/v1/stream", protocols=["depthcast.v1.json"], max_msg_size=0) as ws:
            items = [{"symbol": NATIVE[s], "channel": "book", "depth": DEPTH} for s in SYMBOLS]
            await ws.send_str(json.dumps({"type": "subscribe", "id": 1, "items": items}))
            topics = {}
            async for message in ws:
                frame = json.loads(message.data)
                if frame["type"] == "ack":
                    topics[frame["topic"]] = next(s for s in SYMBOLS if NATIVE[s] == frame["symbol"])
                elif frame["type"] == "error":
                    raise Failure(f"native: {frame}")
                elif frame["type"] in ("snapshot", "delta"):
                    books[topics[frame["topic"]]].apply(frame)


def kraken(address):
    exchange = ccxt.pro.kraken({"newUpdates": False, "enableRateLimit": False})
    exchange.urls["api"]["public"] = f"http://{address}/dialect/kraken"
    exchange.urls["api"]["ws"]["publicV2"] = f"ws://{address}/dialect/kraken/v2"
    return exchange


def binance(address):
    exchange = ccxt.pro.binance({"newUpdates": False, "enableRateLimit": False, "options": {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}}})
    exchange.urls["api"]["public"] = f"http://{address}/dialect/binance/api/v3"
    exchange.urls["api"]["ws"]["spot"] = f"ws://{address}/dialect/binance/ws"
    exchange.options["watchOrderBook"] = {"checksum": True}
    return exchange


def top(levels):
    return [[float(l[0]), float(l[1])] for l in levels[:DEPTH]]


async def compare(name, symbol, bids, asks, book, since):
    """Find the native state that equals ccxt's, not older than since; it may come a little later."""
    deadline = time.monotonic() + 5
    while True:
        for i in range(since, len(book.states)):
            if book.states[i][0] == bids and book.states[i][1] == asks:
                return i
        if time.monotonic() > deadline:
            raise Failure(f"{name} {symbol}: no native state since {since} of {len(book.states)} equals {bids[:3]} {asks[:3]}")
        book.changed.clear()
        try:
            await asyncio.wait_for(book.changed.wait(), 0.5)
        except asyncio.TimeoutError:
            pass


async def watch(exchange, symbol, book, until, args):
    since, seen = 0, 0
    while time.monotonic() < until or seen < 10:
        shown = await asyncio.wait_for(exchange.watch_order_book(symbol, *args), 20)
        bids, asks = top(shown["bids"]), top(shown["asks"])
        since = await compare(exchange.id, symbol, bids, asks, book, since)
        seen += 1
    return seen


async def fetch(exchange, symbol, book):
    shown = await exchange.fetch_order_book(symbol, DEPTH)
    await compare(exchange.id + " REST", symbol, top(shown["bids"]), top(shown["asks"]), book, 0)


async def follow_trades(exchange, symbol):
    trades = await asyncio.wait_for(exchange.watch_trades(symbol), 30)
    if not trades or trades[-1]["symbol"] != symbol or not trades[-1]["price"] > 0:
        raise Failure(f"{exchange.id}: bad trades {trades}")


async def run(address, seconds):
    books = {s: NativeBook() for s in SYMBOLS}
    native = asyncio.create_task(follow_native(address, books))
    exchanges = [kraken(address), binance(address)]
    try:
        until = time.monotonic() + seconds
        for exchange in exchanges:
            markets = await exchange.load_markets()
            missing = [s for s in SYMBOLS if s not in markets]
            if missing:
                raise Failure(f"{exchange.id} knows no {missing}, only {sorted(markets)}")
        jobs = []
        for exchange in exchanges:
            args = (DEPTH,) if exchange.id == "kraken" else ()
            for symbol in SYMBOLS:
                jobs.append(asyncio.create_task(watch(exchange, symbol, books[symbol], until, args)))
                jobs.append(asyncio.create_task(fetch(exchange, symbol, books[symbol])))
            jobs.append(asyncio.create_task(follow_trades(exchange, SYMBOLS[0])))
        watching = asyncio.gather(*jobs)
        await asyncio.wait([native, watching], return_when=asyncio.FIRST_COMPLETED)
        if native.done():
            native.result()
            raise Failure("the native stream ended")
        await watching
        counts = [job.result() for job in jobs if isinstance(job.result(), int)]
        states = sum(len(b.states) for b in books.values())
        print(f"equal: {sum(counts)} books that ccxt showed, each among {states} native states; REST and trades too")
    finally:
        native.cancel()
        for exchange in exchanges:
            await exchange.close()


if __name__ == "__main__":
    try:
        asyncio.run(run(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else 10))
    except Failure as failure:
        sys.exit(f"FAILED: {failure}")
