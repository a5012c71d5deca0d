// What a client tells.

import type { Kind } from "./link.js";
import type { Subscription } from "./subscription.js";
import type { News } from "./tape.js";
import type { Ack, Delta, ErrorFrame, Instruments, Keepalive, OrdersDelta, Snapshot, Ticker } from "./wire.js";

// How the client is connected. While it is not, why says why not, and retryInMs when it
// tries again: negative means never, since the same words would meet the same answer.
export interface LinkState {
  readonly kind: Kind;
  readonly connected: boolean;
  readonly why: string;
  readonly retryInMs: number;
}

export type Event =
  // The link came up, changed its kind or was lost; then every book is stale.
  | { type: "link"; link: LinkState }
  // A subscription was granted or changed, or a pattern has brought one; a book that was
  // not resumed is void until it is set.
  | { type: "granted"; sub: Subscription; ack: Ack }
  // It was refused: asked again after retryInMs, or ended where that is negative. What was
  // to be changed goes on as it was.
  | { type: "refused"; sub: Subscription; error: ErrorFrame; retryInMs: number }
  // A topic that a pattern matches could not be had; the pattern goes on.
  | { type: "incomplete"; sub: Subscription; error: ErrorFrame }
  // A snapshot replaced the book.
  | { type: "set"; sub: Subscription; snapshot: Snapshot }
  // A delta was applied to it.
  | { type: "changed"; sub: Subscription; delta: Delta | OrdersDelta }
  // It is void, and a snapshot was asked for; attempt counts from 1. Of listings it is
  // their list.
  | { type: "lost"; sub: Subscription; cause: "gap" | "mismatch"; attempt: number }
  | { type: "traded"; sub: Subscription; news: News }
  | { type: "ticker"; sub: Subscription; ticker: Ticker }
  // Listings, each in place of the one before; with snapshot in place of all, together
  // with the events that follow up to the one without more.
  | { type: "listed"; sub: Subscription; instruments: Instruments }
  // State or phase changed. After a final one the subscription has ended.
  | { type: "status"; sub: Subscription; final: boolean; newSymbol?: string }
  // Nothing changed in a quiet topic; its book was checked.
  | { type: "alive"; sub: Subscription; keepalive: Keepalive };
