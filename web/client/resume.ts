// What event streams and polls have heard, as the server names it.

import type { Subscription } from "./subscription.js";

// Tokens by the subscriptions that heard what they name. Another subscription has heard
// nothing of it, though it be of the same topics.
export class ResumeTokens {
  #all: { token: string; subs: readonly Subscription[] }[] = [];

  // The token of just these; null: there is none.
  of(subs: readonly Subscription[]): string | null {
    return this.#all.find((t) => same(t.subs, subs))?.token ?? null;
  }

  // Takes a token in the place of the one before, and forgets those of what has ended.
  keep(token: string, subs: readonly Subscription[]): void {
    this.drop(subs);
    this.#all = this.#all.filter((t) => !t.subs.some((s) => s.ended));
    this.#all.push({ token, subs });
  }

  drop(subs: readonly Subscription[]): void {
    this.#all = this.#all.filter((t) => !same(t.subs, subs));
  }
}

const same = (a: readonly Subscription[], b: readonly Subscription[]): boolean => a.length === b.length && a.every((s) => b.includes(s));
