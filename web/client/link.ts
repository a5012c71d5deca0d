// What carries frames between a client and its server, and what the two ask of each other.

import type { ResumeTokens } from "./resume.js";
import type { Subscription } from "./subscription.js";
import type { Ack, ErrorFrame, Hello, Retry, TopicFrame } from "./wire.js";

// In the order in which they are preferred.
export const KINDS = ["websocket", "events", "poll"] as const;
export type Kind = (typeof KINDS)[number];

// Why a link ended, and what follows from it.
export interface Loss {
  readonly why: string;
  readonly retry: Retry;
  // Whether our server said so: then the kind of link does come through, and another one
  // would hear the same.
  readonly ours: boolean;
  readonly waitMs?: number;   // at least, before the next try
  readonly planned?: boolean; // it was announced: no failure
  readonly held?: boolean;    // what came, came late or not at all: the kind may not come through here
  readonly token?: boolean;   // it is about the token
}

// A link. Until it ends it tells its host what it hears; then it says lost, once, unless it
// was closed. The host calls tick some times a second.
export interface Link {
  readonly kind: Kind;
  // Looks at the subscriptions: asks for those that wait, ends those that leave.
  update(): void;
  tick(now: number): void;
  // Asks for the snapshot of a book that is void.
  resync(sub: Subscription, cause: "gap" | "mismatch"): void;
  close(): void;
}

// What a link has of its client.
export interface Host {
  readonly settings: Settings;
  readonly subs: readonly Subscription[];
  // Resume tokens of event streams and polls.
  readonly tokens: ResumeTokens;
  url(path: string): URL;
  now(): number;
  // The token to show; undefined: none is wanted. It fails with a Broken.
  token(): Promise<string | undefined>;
  // The one that comes after it.
  renewToken(): Promise<string | undefined>;
  // Called with the first frame of a link, before anything else.
  heard(link: Link): void;
  hello(link: Link, f: Hello): void;
  granted(sub: Subscription, f: Ack): void;
  // It goes on as it is, but for how it comes.
  adjusted(sub: Subscription, f: Ack): void;
  // The subscription that a pattern has brought; null: nobody wants it so.
  brought(pattern: Subscription, f: Ack): Subscription | null;
  refused(sub: Subscription, f: ErrorFrame): void;
  // A topic that the pattern matches could not be had.
  incomplete(pattern: Subscription, f: ErrorFrame): void;
  frame(sub: Subscription, f: TopicFrame): void;
  // It has ended without a word of the server.
  ended(sub: Subscription, why: string): void;
  lost(link: Link, loss: Loss): void;
}

// Times in ms.
export interface Settings {
  readonly openMs: number;    // in which a link must bring its first frame
  readonly answerMs: number;  // in which a subscribe must be answered
  readonly resyncMs: number;  // after which a snapshot is asked for again
  readonly pingMs: number;    // of silence, until a WebSocket is asked for a sign of life
  readonly pongMs: number;    // that it then has
  readonly silenceMs: number; // after which an event stream counts as lost
  readonly lateMs: number;    // of an event, after which its stream counts as held back
  readonly pollMs: number;    // from one long poll to the next, at least
  readonly WebSocket: typeof WebSocket;
  readonly fetch: typeof fetch;
}

// An end as an error, where one has to be thrown.
export class Broken extends Error {
  constructor(readonly loss: Loss) {
    super(loss.why);
  }
}

// The loss in what was thrown. What the network says of itself is not our server's word.
export function lossOf(thrown: unknown): Loss {
  if (thrown instanceof Broken) return thrown.loss;
  return { why: thrown instanceof Error ? thrown.message : String(thrown), retry: "after", ours: false };
}

// After these codes connecting anew with the same words is of no use.
const NEVER = new Set([1002, 1003, 1007, 1008, 1009, 4006]);
const UNAUTHENTICATED = 4006;

// The loss in a close frame; docs/protocol.md, "Close codes".
export function lossByCode(code: number, reason: string): Loss {
  return {
    why: reason || (code === 1006 ? "the connection was lost" : `closed: ${code}`),
    retry: NEVER.has(code) ? "never" : "after", ours: code !== 1006 && code !== 1005, token: code === UNAUTHENTICATED,
  };
}
