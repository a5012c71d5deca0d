// Exact prices and quantities: a mantissa of 64 bits times ten to an exponent. No
// floating point touches them.

import { ProtocolError } from "./wire.js";

export interface Exponents { price: number; qty: number }

const MIN_EXPONENT = -18, MAX_EXPONENT = 9;

export function exponents(price: number, qty: number): Exponents {
  for (const e of [price, qty]) {
    if (!Number.isInteger(e) || e < MIN_EXPONENT || e > MAX_EXPONENT) throw new ProtocolError(`exponent ${e}`);
  }
  return { price, qty };
}

// The mantissa of a canonical decimal: exactly -exponent digits stand after its point.
// Of a level that is gone the quantity is "0", whatever the exponent.
export function mantissa(text: string, exponent: number): bigint {
  if (text === "0") return 0n;
  const digits = Math.max(0, -exponent), parts = /^-?\d+(?:\.(\d+))?$/.exec(text);
  if (!parts || (parts[1] ?? "").length !== digits) {
    throw new ProtocolError(`${text} is no decimal with ${digits} digits after the point`);
  }
  let m = BigInt(text.replace(".", ""));
  if (exponent > 0) {
    const unit = 10n ** BigInt(exponent);
    if (m % unit !== 0n) throw new ProtocolError(`${text} is no multiple of ${unit}`);
    m /= unit;
  }
  if (m !== BigInt.asIntN(64, m)) throw new ProtocolError(`${text} exceeds 64 bits`);
  return m;
}

// The canonical decimal of a mantissa.
export function decimal(m: bigint, exponent: number): string {
  if (exponent >= 0) return String(m * 10n ** BigInt(exponent));
  const digits = String(m < 0n ? -m : m).padStart(1 - exponent, "0");
  return `${m < 0n ? "-" : ""}${digits.slice(0, exponent)}.${digits.slice(exponent)}`;
}
