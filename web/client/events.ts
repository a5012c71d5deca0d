// Server-Sent Events, read from a fetch: unlike an EventSource it shows a token in a header,
// and learns the status and the words of a refusal.

import { get } from "./http.js";
import { Broken } from "./link.js";
import type { Topics } from "./stream.js";
import { ProtocolError, parseFrame } from "./wire.js";

const MAX_EVENT_CHARS = 64 << 20;

// Reads the fields of an event stream (the WHATWG's HTML standard, "Server-sent events").
export class EventParser {
  #rest = "";
  #data: string[] = [];
  #id: string | null = null;

  constructor(private readonly on: { data(text: string): void; id(id: string): void; retry(ms: number): void }) {}

  feed(text: string): void {
    this.#rest += text;
    if (this.#rest.length > MAX_EVENT_CHARS) throw new ProtocolError("an event beyond every bound");
    const lines = this.#rest.split("\n");
    this.#rest = lines.pop() ?? "";
    for (const line of lines) this.#line(line.endsWith("\r") ? line.slice(0, -1) : line);
  }

  #line(line: string): void {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":"), name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") this.#data.push(value);
    else if (name === "id") this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.on.retry(Number(value));
  }

  #dispatch(): void {
    const data = this.#data, id = this.#id;
    [this.#data, this.#id] = [[], null];
    if (data.length > 0) this.on.data(data.join("\n"));
    if (id !== null) this.on.id(id);
  }
}

export async function carryEvents(topics: Topics, alive: () => void, signal: AbortSignal): Promise<void> {
  const query = topics.query(), token = topics.token;
  if (token !== null) query.set("resume", token);
  const answer = await get(topics.host, "v1/sse", query, signal);
  if (!answer.headers.get("Content-Type")?.startsWith("text/event-stream") || !answer.body) {
    throw new Broken({ why: "no event stream came", retry: "after", ours: false });
  }
  const parser = new EventParser({
    data(text) {
      const f = parseFrame(text);
      if (f && !signal.aborted) topics.take(f);
    },
    id: (id) => signal.aborted || topics.stands(id),
    retry: (ms) => topics.retryIn(ms),
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream("utf-8", { fatal: true })).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (signal.aborted) return;
    if (done) return;
    alive();
    parser.feed(value);
  }
}
