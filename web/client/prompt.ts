// Whether an event stream brings in time what the server says. What stands between may
// gather events, and hand them on when there are enough: then a link is up, and what it
// brings is old.

import type { Frame } from "./wire.js";

export class Promptness {
  #least = Infinity;           // of our clock less the server's, ms: how the clocks differ, and the shortest way
  #begun = new Set<number>();  // topics whose first data have come; those may be of before

  // By how many ms a frame that has come now is late, as far as it can be told.
  late(f: Frame, now: number, intervalMs: number): number {
    if (f.type === "ack") this.#begun.delete(f.topic);
    const said = this.#said(f);
    if (said === undefined) return 0;
    const took = now - Number(said) / 1e6;
    this.#least = Math.min(this.#least, took);
    return took - this.#least - intervalMs;
  }

  // When the server said it, in ns; undefined: a frame that may have waited for its reader.
  #said(f: Frame): string | undefined {
    switch (f.type) {
      case "hello": return f.time;
      case "keepalive": return f.published;
      case "delta":
      case "orders": {
        const first = !this.#begun.has(f.topic);
        this.#begun.add(f.topic);
        return first || f.merged ? undefined : f.ts?.published;
      }
      default: return undefined;
    }
  }
}
