// The token that a client shows.

import { Broken } from "./link.js";

export class Token {
  #shown: Promise<string> | undefined;
  #text: string | undefined;
  #refused: string | undefined; // shown again, it would be refused again

  constructor(private readonly provide: (() => string | Promise<string>) | undefined) {}

  // The token of the present link; undefined: none is wanted.
  async present(): Promise<string | undefined> {
    if (!this.provide) return undefined;
    this.#shown ??= Promise.resolve(this.provide());
    try {
      this.#text = await this.#shown;
    } catch (e) {
      this.#shown = undefined;
      throw new Broken({ why: `no token: ${e instanceof Error ? e.message : String(e)}`, retry: "after", ours: true });
    }
    if (this.#text === this.#refused) throw new Broken({ why: "the token was refused", retry: "never", ours: true });
    return this.#text;
  }

  // Has the next call of present ask for a new one.
  renew(): void { this.#shown = undefined; }

  // Notes that the token was refused. Whether there may be another one.
  refuse(): boolean {
    if (!this.provide || this.#text === undefined || this.#text === this.#refused) return false;
    this.#refused = this.#text;
    this.#shown = undefined;
    return true;
  }
}
