// The state hash of a view: the sum modulo 2^32 of mix over its levels, or of mixOrder
// over its orders; docs/protocol.md, "State hash".

import type { Order } from "./orders.js";

export type Side = 1 | 2;
export const BID: Side = 1;
export const ASK: Side = 2;

const low = (v: bigint): number => Number(BigInt.asUintN(32, v)) | 0;
const high = (v: bigint): number => Number(BigInt.asUintN(32, v >> 32n)) | 0;

export const mix = (side: Side, price: bigint, qty: bigint): number => scramble(sum(side, price, qty));

// Of an order that is gone: 0.
export function mixOrder(side: Side, o: Order): number {
  if (o.qty === 0n) return 0;
  return scramble(sum(side, o.price, o.qty) + Math.imul(low(o.id), 0xcc9e2d51) + Math.imul(high(o.id), 0x1b873593) +
    Math.imul(low(o.rankSeq), 0x7feb352d) + Math.imul(high(o.rankSeq), 0x846ca68b) + Math.imul(o.rankIndex, 0xb5297a4d));
}

function sum(side: Side, price: bigint, qty: bigint): number {
  return Math.imul(low(price), 0x9e3779b1) + Math.imul(high(price), 0x85ebca77) +
    Math.imul(low(qty), 0xc2b2ae3d) + Math.imul(high(qty), 0x27d4eb2f) + Math.imul(side, 0x165667b1);
}

function scramble(v: number): number {
  v |= 0;
  v ^= v >>> 16; v = Math.imul(v, 0x85ebca6b);
  v ^= v >>> 13; v = Math.imul(v, 0xc2b2ae35);
  return (v ^ (v >>> 16)) >>> 0;
}
