// A network for tests: WebSockets and answers that do what the test says, under a clock that
// the test moves.

import { mock } from "node:test";
import { Client } from "../js/client.js";

// Lets everything happen that needs no time to pass.
export async function settle() {
  for (let i = 0; i < 20; i++) await new Promise((done) => setImmediate(done));
}

export async function pass(ms) {
  for (let left = ms; left > 0; left -= 250) {
    mock.timers.tick(Math.min(250, left));
    await settle();
  }
}

export class FakeStorage {
  items = new Map();
  getItem(key) { return this.items.get(key) ?? null; }
  setItem(key, value) { this.items.set(key, value); }
  removeItem(key) { this.items.delete(key); }
}

// What a client reaches. reach decides how an HTTP request is answered.
export class Network {
  sockets = []; requests = []; events = [];
  reach = () => { throw new TypeError("no network"); };

  constructor() {
    mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: 1_000_000_000 });
  }

  client(config) {
    const network = this;
    this.opened = new Client({
      url: "http://server.test/", storage: new FakeStorage(), on: (e) => this.events.push(e),
      WebSocket: class { constructor(url, protocols) { network.sockets.push(new Peer(this, url, protocols)); } },
      fetch: async (url, { signal, headers }) => {
        const request = { path: url.pathname, query: url.searchParams, headers, signal };
        this.requests.push(request);
        return this.reach(request);
      },
      ...config,
    });
    return this.opened;
  }

  // Ends the test.
  close() {
    this.opened?.close();
    mock.timers.reset();
  }

  get socket() { return this.sockets.at(-1); }
  paths() { return this.requests.map((r) => r.path); }
  told(type) { return this.events.filter((e) => e.type === type); }
}

// The server's end of a WebSocket.
class Peer {
  heard = []; closed = false;

  constructor(socket, url, protocols) {
    [this.socket, this.url, this.protocols] = [socket, url, protocols];
    socket.readyState = 0;
    socket.send = (text) => this.heard.push(JSON.parse(text));
    socket.close = () => { [this.closed, socket.readyState] = [true, 3]; };
  }

  say(frame) { this.socket.onmessage({ data: JSON.stringify(frame) }); }
  greet(more) {
    this.socket.readyState = 1;
    this.say({ ...hello, ...more });
  }
  end(code = 1006, reason = "") { this.socket.onclose({ code, reason }); }
  take() { return this.heard.splice(0); }
}

export const hello = { type: "hello", version: 1, limits: { max_subscriptions: 1000, max_items: 500, max_message_bytes: 65536, max_requests_per_s: 50 } };

// The server's end of an event stream.
export class Events {
  constructor() {
    const body = new ReadableStream({ start: (c) => { this.controller = c; } });
    this.answer = new Response(body, { headers: { "Content-Type": "text/event-stream" } });
  }
  write(text) { this.controller.enqueue(new TextEncoder().encode(text)); }
  say(frame, id) { this.write(`data: ${JSON.stringify(frame)}\n\n${id ? `id: ${id}\n\n` : ""}`); }
  end() { this.controller.close(); }
}

export const json = (value, status = 200, headers = {}) => new Response(JSON.stringify(value), { status, headers });
export const status = () => json({ version: 1, caught_up: true });
export const refusedBetween = () => new Response("not here", { status: 403 });

export const ack = (topic, symbol, more) => ({
  type: "ack", id: 1, item: 0, topic, symbol, channel: "book", depth: 10, interval_ms: 0,
  price_exponent: 0, qty_exponent: 0, epoch: "00000000000000aa", state: "live", ...more,
});

// Of a book with one bid at 1; its hash is in the vectors of docs/protocol.md.
export const HASH = "6e69a713";
export const snapshot = (topic, seq, more) => ({
  type: "snapshot", topic, epoch: "00000000000000aa", seq: String(seq), state: "live", price_exponent: 0, qty_exponent: 0,
  bids: [["1", "1"]], asks: [], hash: HASH, ...more,
});
