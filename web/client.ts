// The client library of depthcast for browsers; docs/clients.md.

export { Book, type Level, type Outcome } from "./client/book.js";
export { Client, type Config } from "./client/client.js";
export { type Exponents, decimal, mantissa } from "./client/decimal.js";
export type { Event, LinkState } from "./client/event.js";
export { EventParser } from "./client/events.js";
export { ASK, BID, type Side, mix } from "./client/hash.js";
export { KINDS, type Kind, lossByCode } from "./client/link.js";
export { Memory, type Storage } from "./client/memory.js";
export { Quote } from "./client/quote.js";
export { arrange } from "./client/streams.js";
export { type Item, type Standing, Subscription } from "./client/subscription.js";
export { type News, Tape } from "./client/tape.js";
export { ProtocolError } from "./client/wire.js";
export type * from "./client/wire.js";
