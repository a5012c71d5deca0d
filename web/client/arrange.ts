// What one URL can ask for.

import { sameWay } from "./item.js";
import type { Subscription } from "./subscription.js";

const MAX_TOPICS = 64; // that one URL may ask for
const MAX_LINE = 7600; // characters, about, of a URL with its resume token: proxies take lines of 8 KiB

// Sorts subscriptions into as few groups as URLs can ask for: every symbol of one is
// wanted in all its channels, with the same parameters. A pattern has a URL of its own,
// and with it room for as many topics as one may have.
export function arrange(subs: Subscription[]): Subscription[][] {
  const patterns = subs.filter((s) => s.pattern), bySymbol = new Map<string, Subscription[][]>();
  for (const s of subs.filter((s) => !s.pattern)) {
    const sets = bySymbol.get(s.item.symbol) ?? [];
    bySymbol.set(s.item.symbol, sets);
    const set = sets.find((all) => all.every((o) => o.channel !== s.channel && agree(o, s)));
    if (set) set.push(s);
    else sets.push([s]);
  }
  const groups = new Map<string, Subscription[][]>();
  for (const set of [...bySymbol.values()].flat()) {
    set.sort((a, b) => (a.channel < b.channel ? -1 : 1));
    const signature = JSON.stringify(set.map((s) => [s.channel, parameters(s)]));
    const alike = groups.get(signature) ?? [];
    groups.set(signature, alike);
    const room = alike.find((g) => g.length + set.length <= MAX_TOPICS && taken([...g, ...set]) <= MAX_LINE);
    if (room) room.push(...set);
    else alike.push([...set]);
  }
  return [...[...groups.values()].flat(), ...patterns.map((p) => [p])];
}

// About how many characters these take in a URL: their symbols, and their places in the token.
function taken(subs: Subscription[]): number {
  const symbols = new Set(subs.map((s) => s.item.symbol));
  const names = [...symbols].reduce((sum, s) => sum + "&symbol=".length + encodeURIComponent(s).length, 0);
  return subs.reduce((sum, s) => sum + (52 + s.item.symbol.length) * 4 / 3, names);
}

// Parameters that concern both channels must be the same.
const agree = (a: Subscription, b: Subscription): boolean =>
  sameWay(a.item, b.item) && (!deep(a) || !deep(b) || (a.item.depth ?? 0) === (b.item.depth ?? 0));

const deep = (s: Subscription): boolean => s.channel === "book" || s.channel === "orders";

// The parameters of a URL that a subscription needs beside its symbol and channel: those
// that its channel has a use for.
export function parameters(s: Subscription): [string, string][] {
  const { depth, group, counts, interval_ms, policy, last } = s.wanted();
  const used = {
    ...(deep(s) && { depth }), ...(s.channel === "book" && { group, counts }), interval_ms, policy,
    ...(s.channel === "trades" && { last }),
  };
  return Object.entries(used).flatMap(([name, value]) => (value === undefined ? [] : [[name, value === true ? "1" : String(value)]]));
}
