// Links of those that ask once, with a URL: event streams and long polls. What one URL
// cannot ask for takes several.

import { arrange } from "./arrange.js";
import type { Host, Kind, Link, Loss } from "./link.js";
import { type Carrier, Stream } from "./stream.js";
import type { Subscription } from "./subscription.js";

export class StreamLink implements Link {
  #streams: Stream[] = [];
  #ended = false;
  #heard = false;
  #queued = false;
  #leaveAt = 0;

  constructor(readonly kind: Kind, readonly host: Host, private readonly carry: Carrier) {
    this.update();
  }

  // Arranges anew what is followed, once whoever changes it has done with it.
  update(): void {
    if (this.#queued) return;
    this.#queued = true;
    queueMicrotask(() => {
      this.#queued = false;
      if (!this.#ended) this.#arrange();
    });
  }

  #arrange(): void {
    for (const sub of this.host.subs) {
      if (sub.leaving) sub.end("");
      if (sub.wish) sub.become(sub.wish);
    }
    const groups = arrange(this.host.subs.filter((s) => !s.ended && s.byName));
    const kept = groups.map((group) => this.#streams.find((s) => s.follows(group)) ?? group);
    for (const s of this.#streams) if (!kept.includes(s)) s.forget();
    this.#streams = kept.map((k) => (k instanceof Stream ? k : new Stream(this, k, this.carry)));
  }

  tick(now: number): void {
    if (this.#leaveAt > 0 && now >= this.#leaveAt) {
      return this.lose({ why: "the server stops", retry: "now", ours: true, waitMs: 0, planned: true });
    }
    for (const s of this.#streams) s.tick(now);
  }

  resync(sub: Subscription): void {
    this.#streams.find((s) => s.followed.includes(sub))?.resync();
  }

  heard(): void {
    if (this.#heard || this.#ended) return;
    this.#heard = true;
    this.host.heard(this);
  }

  drain(afterMs: number): void {
    if (this.#leaveAt === 0) this.#leaveAt = this.host.now() + afterMs;
  }

  close(): void {
    this.#ended = true;
    for (const s of this.#streams) s.close();
  }

  lose(loss: Loss): void {
    if (this.#ended) return;
    this.close();
    this.host.lost(this, loss);
  }
}
