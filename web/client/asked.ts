// The requests of a connection that await answers.

import type { Subscription } from "./subscription.js";

export class Asked {
  // What each asks for, item by item (null once answered), and until when that must be.
  #requests = new Map<number, { subs: (Subscription | null)[]; by: number }>();

  add(id: number, subs: readonly Subscription[], by: number): void { this.#requests.set(id, { subs: [...subs], by }); }

  // The subscription that an answer concerns, once.
  answered(id: number, item: number): Subscription | null {
    const request = this.#requests.get(id), sub = request?.subs[item] ?? null;
    if (request && sub) {
      request.subs[item] = null;
      if (request.subs.every((s) => s === null)) this.#requests.delete(id);
    }
    return sub;
  }

  // All that a request still awaits answers for, where one answers it as a whole;
  // undefined: it is not known.
  whole(id: number): Subscription[] | undefined {
    const request = this.#requests.get(id);
    this.#requests.delete(id);
    return request?.subs.filter((s) => s !== null);
  }

  // An answer about it means nothing any more.
  forget(sub: Subscription): void {
    for (const [id, { subs }] of this.#requests) this.answered(id, subs.indexOf(sub));
  }

  overdue(now: number): boolean { return [...this.#requests.values()].some((r) => now >= r.by); }
}
