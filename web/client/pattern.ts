// What a subscription to a pattern has, in every channel but instruments: a subscription
// for each symbol that matches.

import type { Subscription } from "./subscription.js";

export class Brought {
  readonly subs = new Map<string, Subscription>(); // by symbol; ended ones are not among them
  readonly declined = new Set<string>();           // symbols whose subscription the user has ended
  told = "";                                       // what could not be had, as last said by this link

  // The subscription that an ack of the pattern concerns: a new one, or one that it had
  // brought before. null: the user does not want it, or has made another view of it.
  take(pattern: Subscription, symbol: string, make: () => Subscription): Subscription | null {
    if (pattern.leaving || pattern.ended || this.declined.has(symbol)) return null;
    const known = this.subs.get(symbol);
    if (known) return known.byName || known.leaving ? null : known;
    const sub = make();
    this.subs.set(symbol, sub);
    return sub;
  }
}
