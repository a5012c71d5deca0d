// The frames and requests of depthcast.v1.json; docs/protocol.md says what they mean.
// Integers of 64 bits are strings of decimal digits, prices and quantities exact decimals.

export type Channel = "book" | "orders" | "trades" | "ticker" | "instruments";
export type State = "live" | "recovering" | "stale";
export type Retry = "now" | "after" | "never";
export type Policy = "conflate" | "drop";

export interface Hello {
  type: "hello"; version: number; server?: string;
  limits?: Limits;
  depths?: number[]; intervals_ms?: number[]; channels?: string[]; keepalive_ms?: number;
  time?: string; auth_required?: boolean; auth_until?: string; delay_ms?: number;
}

// Those that are not there are no limits; docs/protocol.md says what each is of.
export interface Limits {
  max_subscriptions: number; max_items: number; max_message_bytes: number; max_requests_per_s: number;
  max_depth?: number; max_connections?: number; max_patterns?: number;
  max_messages_in_per_s?: number; max_bytes_in_per_s?: number; max_snapshot_bytes_per_s?: number; resync_interval_ms?: number;
  max_event_topics?: number; max_poll_wait_ms?: number; max_relays?: number;
  items_per_request?: number; items_per_pattern?: number; max_user_snapshot_bytes_per_s?: number;
  silence_timeout_ms?: number; stall_timeout_ms?: number; auth_timeout_ms?: number;
}

export interface Ack {
  type: "ack"; id: number; item: number; topic: number; symbol: string; channel: string;
  depth: number; group?: string; counts?: boolean; interval_ms: number; policy?: string;
  price_exponent: number; qty_exponent: number; epoch: string;
  state?: string; reason?: string; phase?: string;
  resumed?: boolean; ended?: boolean; last?: number; delay_ms?: number; auth_until?: string;
  replaces?: number; pattern_topic?: number;
}

export interface ErrorFrame {
  type: "error"; id: number; item?: number; code: string; message?: string;
  retry?: string; retry_after_ms?: number; topic?: number;
}

// A level as sent: price, quantity, and the order count where it was granted.
export type WireLevel = [string, string] | [string, string, number];

// An order as sent: identifier, price, quantity, and the two halves of its rank.
export type WireOrder = [string, string, string, string, number];

export interface Times { venue_first?: string; venue?: string; kafka?: string; published?: string }

// What a snapshot and a status say of a book beside its levels.
interface Marks {
  phase?: string; partial?: boolean; locked?: boolean; crossed?: boolean;
  indicative_price?: string; indicative_qty?: string; ts?: Times;
}

export interface Snapshot extends Marks {
  type: "snapshot"; topic: number; symbol?: string; epoch: string; seq: string; reason?: string;
  state?: string; state_reason?: string; price_exponent: number; qty_exponent: number;
  bids: WireLevel[]; asks: WireLevel[]; hash: string;
  bid_orders?: WireOrder[]; ask_orders?: WireOrder[];
}

export interface Delta {
  type: "delta"; topic: number; prev_seq: string; seq: string;
  bids: WireLevel[]; asks: WireLevel[]; hash: string; ts?: Times; merged?: number;
}

export interface OrdersDelta {
  type: "orders"; topic: number; prev_seq: string; seq: string;
  bids: WireOrder[]; asks: WireOrder[]; hash: string; ts?: Times; merged?: number;
}

export interface Status extends Marks {
  type: "status"; topic: number; seq: string; state?: string; reason?: string; final?: boolean; new_symbol?: string;
}

export interface Keepalive {
  type: "keepalive"; topic: number; seq: string; hash: string; symbol_age_ms: string; feed_age_ms: string; published?: string;
}

export interface PublicTrade {
  ordinal: string; trade_id?: string; price: string; qty: string; aggressor?: string;
  hidden?: boolean; auction?: boolean; off_book?: boolean; venue_time?: string;
  correction?: boolean; cancellation?: boolean;
}

export interface Trades {
  type: "trades"; topic: number; prev_seq: string; seq: string; trades: PublicTrade[];
  missed?: string; missed_first?: string; missed_last?: string; ts?: Times; history?: boolean;
}

export interface Ticker {
  type: "ticker"; topic: number; prev_seq: string; seq: string;
  last?: string; last_qty?: string; open?: string; high?: string; low?: string;
  previous_close?: string; settlement?: string; volume?: string; open_interest?: string;
  bid?: string; bid_qty?: string; ask?: string; ask_qty?: string; change?: string;
  ts?: Times; merged?: number; partial?: boolean;
}

export interface Instrument {
  price_exponent: number; qty_exponent: number; tick?: string; lot?: string; type?: string;
  name?: string; base?: string; quote?: string; expiry_time?: string; max_levels?: number;
}

// How a symbol is listed. One that has ended is to be forgotten.
export interface Listing {
  symbol: string; instrument?: Instrument; phase?: string; epoch: string; seq: string;
  ended?: boolean; end_reason?: string; new_symbol?: string;
}

export interface Instruments {
  type: "instruments"; topic: number; prev_seq: string; seq: string; listings: Listing[];
  snapshot?: boolean; more?: boolean; ts?: Times;
}

export interface Drain { type: "drain"; deadline_ms: number; reconnect_after_ms: number }
export interface Pong { type: "pong"; id: number }

// The last event of a stream, in place of a close frame.
export interface Close { type: "close"; code: number; reason: string; message?: string; retry?: string }

export type TopicFrame = Snapshot | Delta | OrdersDelta | Status | Keepalive | Trades | Ticker | Instruments;
export type Frame = Hello | Ack | ErrorFrame | TopicFrame | Drain | Pong | Close;

const FRAMES = new Set(["hello", "ack", "error", "snapshot", "delta", "orders", "status", "keepalive", "trades", "ticker", "instruments", "drain", "pong", "close"]);

// Thrown at what no server of this protocol says. The link that it came by ends.
export class ProtocolError extends Error {}

// Whether a value that was parsed is a frame that this client knows. Others come from
// newer servers and mean nothing to it. What its fields hold is checked where they are
// used: a book by its hash, a decimal by its form.
export function isFrame(value: unknown): value is Frame {
  if (typeof value !== "object" || value === null) throw new ProtocolError("a frame that is no object");
  return "type" in value && typeof value.type === "string" && FRAMES.has(value.type);
}

// The frame in a text; null where this client does not know its type.
export function parseFrame(text: string): Frame | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new ProtocolError("a frame that is no JSON");
  }
  return isFrame(value) ? value : null;
}

// Where a client stands in a topic.
export interface Resume { epoch: string; seq: string; hash?: string; ordinal?: string }

export interface SubscribeItem {
  symbol: string; channel: Channel; depth?: number; group?: string; counts?: boolean;
  interval_ms?: number; policy?: Policy; last?: number; resume?: Resume;
}

// What a topic is to become.
export interface ModifyItem {
  topic: number; depth: number; group: string; counts: boolean; interval_ms: number; policy: Policy;
}

export type Request =
  | { type: "subscribe"; items: SubscribeItem[] }
  | { type: "modify"; items: ModifyItem[] }
  | { type: "unsubscribe"; topics: number[] }
  | { type: "resync"; topics: number[] }
  | { type: "mismatch"; topic: number; seq: string; hash: string }
  | { type: "auth"; token: string }
  | { type: "ping" };

// Eight hexadecimal digits of a state hash.
export const hex = (hash: number): string => hash.toString(16).padStart(8, "0");

// An integer of 64 bits.
export function integer(text: string | undefined): bigint {
  if (typeof text !== "string" || !/^-?\d{1,19}$|^\d{20}$/.test(text)) throw new ProtocolError(`${String(text)} is no integer`);
  return BigInt(text);
}

// A state that is not known counts as one that must not be shown.
export const stateOf = (word: string | undefined): State => (word === "live" || word === "stale" ? word : "recovering");
