// The trades of one symbol: none passes twice, and those that are missing are counted,
// whether the server announces them or not.

import { type PublicTrade, type Resume, type Trades, integer } from "./wire.js";

// What is new in a frame. Missed counts trades that will not come, with the ordinals
// missedFirst to missedLast.
export interface News {
  trades: PublicTrade[];
  history: boolean;
  missed: bigint; missedFirst: bigint; missedLast: bigint;
}

export class Tape {
  #begun = false; // epoch, seq and ordinal are known, if only as none yet
  #epoch = "";
  #seq = -1n;
  #ordinal = 0n; // of the last trade seen or counted as missed; 0: none yet

  // Begins anew, unless the epoch is the one that is known.
  begin(epoch: string): void {
    if (this.#begun && epoch === this.#epoch) return;
    [this.#begun, this.#epoch, this.#seq, this.#ordinal] = [true, epoch, -1n, 0n];
  }

  // Takes a snapshot, from whose seq on what follows is counted, even if that is a step back.
  replace(epoch: string, seq: bigint): void {
    this.begin(epoch);
    if (seq - 1n < this.#seq) this.#seq = seq - 1n;
  }

  // As a keepalive does.
  advance(seq: bigint): void {
    if (seq > this.#seq) this.#seq = seq;
  }

  // Moves on over a frame; null where it brings nothing new. Seq decides what is new where
  // it can; ordinals decide within a frame that begins before it. A server that had to
  // count from a later point of the log gives smaller ordinals: those are new trades too.
  take(f: Trades): News | null {
    const seq = integer(f.seq), history = f.history ?? false;
    if (seq <= this.#seq && !history) return null;
    const ordinals = f.trades.map((t) => integer(t.ordinal));
    let last = this.#ordinal, trades = f.trades;
    const newest = ordinals.at(-1);
    if (history && newest !== undefined && seq >= this.#seq && newest < last) last = 0n;
    if (history || integer(f.prev_seq) < this.#seq) trades = trades.filter((_, i) => ordinals[i]! > last);
    this.advance(seq);
    const news = { trades, history, ...missedBefore(f, trades, last) };
    this.#ordinal = news.missed > 0n ? news.missedLast : last;
    for (const t of trades) {
      const ordinal = integer(t.ordinal);
      if (ordinal > this.#ordinal || !(t.correction || t.cancellation)) this.#ordinal = ordinal;
    }
    return trades.length > 0 || news.missed > 0n ? news : null;
  }

  resume(): Resume | undefined {
    return this.#begun ? { epoch: this.#epoch, seq: String(this.#seq), ordinal: String(this.#ordinal) } : undefined;
  }
}

// The trades between the last one and the first of a frame. Where none was seen before,
// only what the server announced counts.
function missedBefore(f: Trades, trades: PublicTrade[], last: bigint): Pick<News, "missed" | "missedFirst" | "missedLast"> {
  let first = last + 1n, upTo = integer(f.missed_last ?? "0");
  const next = trades[0] && integer(trades[0].ordinal);
  if (last === 0n) first = integer(f.missed_first ?? "0");
  else if (next !== undefined && next > last) upTo = next - 1n;
  if (first === 0n || upTo < first) return { missed: 0n, missedFirst: 0n, missedLast: 0n };
  return { missed: upTo - first + 1n, missedFirst: first, missedLast: upTo };
}
