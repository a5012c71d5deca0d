// The state hash of a view: the sum modulo 2^32 of mix over its levels; docs/protocol.md,
// "State hash".

export type Side = 1 | 2;
export const BID: Side = 1;
export const ASK: Side = 2;

const low = (v: bigint): number => Number(BigInt.asUintN(32, v)) | 0;
const high = (v: bigint): number => Number(BigInt.asUintN(32, v >> 32n)) | 0;

export function mix(side: Side, price: bigint, qty: bigint): number {
  let v = (Math.imul(low(price), 0x9e3779b1) + Math.imul(high(price), 0x85ebca77) +
    Math.imul(low(qty), 0xc2b2ae3d) + Math.imul(high(qty), 0x27d4eb2f) + Math.imul(side, 0x165667b1)) | 0;
  v ^= v >>> 16; v = Math.imul(v, 0x85ebca6b);
  v ^= v >>> 13; v = Math.imul(v, 0xc2b2ae35);
  return (v ^ (v >>> 16)) >>> 0;
}
