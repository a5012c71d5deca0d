// What is asked for.

import type { Channel, Policy } from "./wire.js";

// What to follow. The server may grant more levels or a longer interval than asked.
export interface Item extends View {
  readonly symbol: string;
  readonly channel?: Channel; // book where it is not given
  readonly last?: number;     // trades: how many past ones to begin with
}

// What of an item can be changed while it is followed.
export interface View {
  readonly depth?: number;      // levels a side; 0 or not given: all
  readonly group?: string;      // sum levels over this price increment
  readonly counts?: boolean;    // order counts of levels
  readonly intervalMs?: number; // least time between deltas; 0 or not given: every change
  readonly policy?: Policy;     // towards a client that reads slowly; conflate where it is not given
}

// Whether an item stands for the topic of every symbol that matches. In the channel
// instruments a pattern is one topic.
export const isWildcard = (i: Item): boolean => isPattern(i.symbol) && i.channel !== "instruments";

export const isPattern = (symbol: string): boolean => symbol.endsWith("*");

export const sameView = (a: View, b: View): boolean =>
  (a.depth ?? 0) === (b.depth ?? 0) && (a.group ?? "") === (b.group ?? "") && (a.counts ?? false) === (b.counts ?? false) && sameWay(a, b);

// Whether two come alike.
export const sameWay = (a: View, b: View): boolean =>
  (a.intervalMs ?? 0) === (b.intervalMs ?? 0) && (a.policy ?? "conflate") === (b.policy ?? "conflate");
