// What a browser remembers of kinds of links that do not come through here, so that it
// need not find out anew at every page.

import { KINDS, type Kind } from "./link.js";

// After the nth failure in a row a kind is left alone for FIRST_MS * 2^n, at most MOST_MS.
const FIRST_MS = 30_000, MOST_MS = 600_000;
const KEY = "depthcast.blocked";

// As a page's localStorage.
export type Storage = Pick<globalThis.Storage, "getItem" | "setItem" | "removeItem">;

interface Block { failures: number; until: number; held?: boolean }

export class Memory {
  #blocked: Partial<Record<Kind, Block>>;

  constructor(private readonly storage: Storage | null, private readonly now: () => number) {
    this.#blocked = this.#load();
  }

  // The kind to try: the first that is not left alone. The last one never is.
  best(): Kind {
    return KINDS.find((kind) => !this.#isBlocked(kind)) ?? "poll";
  }

  // A kind did not come through, though the server could be reached; held: it did, but late.
  failed(kind: Kind, held = false): void {
    if (kind === "poll") return;
    const failures = (this.#blocked[kind]?.failures ?? 0) + 1;
    this.#blocked[kind] = { failures, until: this.now() + Math.min(MOST_MS, FIRST_MS * 2 ** (failures - 1)), held };
    this.#store();
  }

  // A kind came through. For one that was held back before, that must have lasted.
  worked(kind: Kind, lasting = false): void {
    const block = this.#blocked[kind];
    if (!block || block.held && !lasting) return;
    delete this.#blocked[kind];
    this.#store();
  }

  // A clock that was set back must not block for longer than was meant.
  #isBlocked(kind: Kind): boolean {
    const left = (this.#blocked[kind]?.until ?? 0) - this.now();
    return left > 0 && left <= MOST_MS;
  }

  #load(): Partial<Record<Kind, Block>> {
    const known: Partial<Record<Kind, Block>> = {};
    try {
      const stored: unknown = JSON.parse(this.storage?.getItem(KEY) ?? "{}");
      if (typeof stored !== "object" || stored === null) return known;
      for (const kind of KINDS) {
        const block = (stored as Record<string, Partial<Block> | undefined>)[kind];
        if (typeof block?.failures === "number" && typeof block.until === "number") {
          known[kind] = { failures: block.failures, until: block.until, held: block.held === true };
        }
      }
    } catch { /* what cannot be read is not remembered */ }
    return known;
  }

  #store(): void {
    try {
      this.storage?.setItem(KEY, JSON.stringify(this.#blocked));
    } catch { /* full or forbidden: then this page alone remembers */ }
  }
}
