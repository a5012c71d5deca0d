// The link to the server: a WebSocket, or Server-Sent Events where WebSockets do not
// get through. Frames are the same in both; docs/protocol.md has them.

const OPEN_MS = 5000;             // in which a link must bring its first frame
const FAILURES = 2;               // WebSockets in a row that did not, before events are tried
const BACKOFF_MS = [250, 10_000]; // first and longest wait before connecting anew

export class Link {
  #on; #items = () => []; #topics = new Set();
  #socket = null; #events = null; #heard = false; #timer = 0;
  #failures = 0; #attempts = 0; #requests = 0;

  // on.frame(f) is called with each frame, on.down(reason) when the link is lost.
  constructor(on) {
    this.#on = on;
    this.#connect();
  }

  get kind() { return this.#events ? "events" : "WebSocket"; }

  // Follows what items() says, in place of what was followed. It is called again for
  // each link, so that an item can say where to resume.
  follow(items) {
    this.#items = items;
    if (this.#events) this.#listen();
    if (this.#socket?.readyState !== WebSocket.OPEN) return; // asked when it opens
    if (this.#topics.size) this.#send({ type: "unsubscribe", topics: [...this.#topics] });
    this.#topics.clear();
    this.#subscribe();
  }

  // Asks for the snapshot of a topic. A stream of events takes no requests: it begins
  // anew, without the id of its last event, which is a snapshot of all its topics.
  resync(request) {
    if (this.#events) this.#listen();
    else this.#send(request);
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ id: ++this.#requests, ...message }));
  }

  #subscribe() {
    const items = this.#items();
    if (items.length) this.#send({ type: "subscribe", items });
  }

  #connect() {
    if (this.#failures >= FAILURES) return this.#listen();
    this.#heard = false;
    const socket = this.#socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/v1/stream", "depthcast.v1.json");
    socket.onopen = () => this.#subscribe();
    socket.onmessage = (e) => this.#take(e);
    socket.onclose = (e) => { if (socket === this.#socket) this.#lost(e.reason); };
    this.#expect(() => socket.close());
  }

  // Begins a stream of events with what is followed. The browser connects anew by
  // itself, and says with the id of the last event where to resume.
  #listen() {
    this.#close();
    this.#heard = false;
    const query = new URLSearchParams();
    for (const item of this.#items()) {
      query.set("symbol", item.symbol);
      query.append("channel", item.channel);
      for (const name of ["depth", "group", "last"]) if (item[name]) query.set(name, item[name]);
    }
    if (!query.has("symbol")) return void setTimeout(() => this.#connect(), BACKOFF_MS[0]);
    const events = this.#events = new EventSource(`/v1/sse?${query}`);
    events.onmessage = (e) => this.#take(e);
    events.onerror = () => {
      if (events !== this.#events) return;
      this.#on.down("");
      // A browser that has given up, or that never heard anything, is helped.
      if (events.readyState === EventSource.CLOSED || !this.#heard) this.#lost("");
    };
    this.#expect(() => this.#lost("no event came"));
  }

  #expect(otherwise) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(otherwise, OPEN_MS);
  }

  #take(e) {
    const f = JSON.parse(e.data);
    if (!this.#heard) {
      this.#heard = true;
      this.#failures = this.#attempts = 0;
      clearTimeout(this.#timer);
    }
    if (f.type === "ack") this.#topics[f.ended ? "delete" : "add"](f.topic);
    this.#on.frame(f);
  }

  #close() {
    clearTimeout(this.#timer);
    this.#topics.clear();
    this.#events?.close();
    this.#events = null;
    const socket = this.#socket;
    this.#socket = null; // its end is not ours any more
    socket?.close();
  }

  // A link that brought nothing counts against its kind. After events have failed,
  // WebSockets have another chance.
  #lost(reason) {
    const events = this.#events !== null;
    this.#failures = events ? 0 : this.#failures + (this.#heard ? 0 : 1);
    this.#close();
    this.#on.down(reason);
    const wait = Math.min(BACKOFF_MS[1], BACKOFF_MS[0] * 2 ** this.#attempts++);
    setTimeout(() => this.#connect(), wait / 2 + Math.random() * wait / 2);
  }
}
