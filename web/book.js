// One view of a book, rebuilt from snapshot and delta frames of depthcast.v1.json.
// Prices and quantities stay the exact decimals that were sent.

const MASK = (1n << 32n) - 1n;
const BID = 1, ASK = 2;

// The integer behind a canonical decimal: value = mantissa * 10^exponent.
const mantissa = (text, exponent) => BigInt(text.replace(".", "")) / 10n ** BigInt(Math.max(0, exponent));

// The state hash of one level; docs/protocol.md, "State hash". Side 1 is bid, 2 ask.
export function mix(side, price, qty) {
  const low = (v) => Number(BigInt.asUintN(64, v) & MASK) | 0;
  const high = (v) => Number(BigInt.asUintN(64, v) >> 32n) | 0;
  let v = Math.imul(low(price), 0x9e3779b1) + Math.imul(high(price), 0x85ebca77) +
    Math.imul(low(qty), 0xc2b2ae3d) + Math.imul(high(qty), 0x27d4eb2f) + Math.imul(side, 0x165667b1) | 0;
  v ^= v >>> 16; v = Math.imul(v, 0x85ebca6b);
  v ^= v >>> 13; v = Math.imul(v, 0xc2b2ae35);
  return (v ^ v >>> 16) >>> 0;
}

export class Book {
  constructor() {
    this.reset();
  }

  reset() {
    this.epoch = null; this.seq = -1n; this.hash = 0; this.whole = false; this.exponents = [0, 0];
    this.sides = { [BID]: new Map(), [ASK]: new Map() };
  }

  snapshot(f) {
    this.reset();
    this.epoch = f.epoch; this.seq = BigInt(f.seq); this.whole = true;
    this.exponents = [f.price_exponent ?? 0, f.qty_exponent ?? 0];
    return this.#levels(f);
  }

  // Applies a delta by the rule of docs/protocol.md. Returns "applied", "ignored",
  // "gap" (ask for a resync) or "mismatch".
  delta(f) {
    const prev = BigInt(f.prev_seq), seq = BigInt(f.seq);
    if (!this.whole || seq <= this.seq) return "ignored";
    if (prev > this.seq) return "gap";
    this.seq = seq;
    return this.#levels(f);
  }

  keepalive(f) {
    if (this.whole && BigInt(f.seq) > this.seq) this.seq = BigInt(f.seq);
    return !this.whole || this.#hex() === f.hash ? "applied" : "mismatch";
  }

  resume() {
    return this.whole ? { epoch: this.epoch, seq: String(this.seq), hash: this.#hex() } : undefined;
  }

  // Levels of a side, best first: [price, quantity] as sent.
  levels(side) {
    const rising = (a, b) => (a.key < b.key ? -1 : 1);
    const all = [...this.sides[side].values()].sort(side === ASK ? rising : (a, b) => rising(b, a));
    return all.map((l) => [l.price, l.qty]);
  }

  #hex() { return this.hash.toString(16).padStart(8, "0"); }

  #levels(f) {
    this.#set(BID, f.bids ?? []);
    this.#set(ASK, f.asks ?? []);
    return this.#hex() === f.hash ? "applied" : "mismatch";
  }

  #set(side, levels) {
    const at = this.sides[side], [priceExponent, qtyExponent] = this.exponents;
    for (const [price, qty] of levels) {
      const key = mantissa(price, priceExponent), size = mantissa(qty, qtyExponent), old = at.get(key);
      if (old) this.hash = this.hash - mix(side, key, old.size) >>> 0;
      at.delete(key);
      if (size === 0n) continue;
      at.set(key, { key, size, price, qty });
      this.hash = this.hash + mix(side, key, size) >>> 0;
    }
  }
}

export { BID, ASK };
