// The client library of depthcast for browsers; docs/browser.md.

export { arrange } from "./client/arrange.js";
export { Book, type Outcome } from "./client/book.js";
export { Client, type Config } from "./client/client.js";
export { type Exponents, decimal, mantissa } from "./client/decimal.js";
export type { Event, LinkState } from "./client/event.js";
export { EventParser } from "./client/events.js";
export { ASK, BID, type Side, mix, mixOrder } from "./client/hash.js";
export type { Item, View } from "./client/item.js";
export type { Level } from "./client/levels.js";
export { KINDS, type Kind, lossByCode } from "./client/link.js";
export { Listings } from "./client/listings.js";
export { Memory, type Storage } from "./client/memory.js";
export { BookByOrder, type Order } from "./client/orders.js";
export { Quote } from "./client/quote.js";
export { type Followed, type Standing, Subscription } from "./client/subscription.js";
export { type News, Tape } from "./client/tape.js";
export { ProtocolError } from "./client/wire.js";
export type * from "./client/wire.js";
