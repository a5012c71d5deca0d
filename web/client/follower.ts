// What a client follows, and what it tells of it, whatever the link.

import type { Event } from "./event.js";
import { type Settings } from "./link.js";
import { Subscription } from "./subscription.js";
import type { Ack, ErrorFrame, TopicFrame } from "./wire.js";

export abstract class Follower {
  abstract readonly settings: Settings;
  protected followed: Subscription[] = []; // in the order of subscribe; what patterns have brought, too

  abstract now(): number;
  protected abstract emit(event: Event): void;
  // Has the link ask for the snapshot of what is void.
  protected abstract ask(sub: Subscription, cause: "gap" | "mismatch"): void;
  // Has the link look at the subscriptions, once whoever changes them has done with it.
  protected abstract update(): void;

  get subs(): readonly Subscription[] { return this.followed; }

  granted(sub: Subscription, f: Ack): void {
    const anew = sub.standing !== "granted" || sub.changing; // every poll says it again
    sub.grant(f);
    this.#expectSnapshot(sub);
    if (anew && !sub.leaving) this.emit({ type: "granted", sub, ack: f });
    if (sub.wish) this.update();
  }

  adjusted(sub: Subscription, f: Ack): void {
    sub.adjust(f);
    if (!sub.leaving) this.emit({ type: "granted", sub, ack: f });
    if (sub.wish) this.update();
  }

  brought(pattern: Subscription, f: Ack): Subscription | null {
    return pattern.pattern?.take(pattern, f.symbol, () => {
      const sub = new Subscription({ ...pattern.item, symbol: f.symbol }, pattern);
      this.followed.push(sub);
      return sub;
    }) ?? null;
  }

  refused(sub: Subscription, f: ErrorFrame): void {
    const retryInMs = f.retry === "now" ? 0 : f.retry === "after" ? f.retry_after_ms || 1000 : -1;
    if (sub.leaving) return sub.end("");
    if (sub.before && (sub.changing || retryInMs < 0)) return this.#unchanged(sub, f);
    if (retryInMs < 0) sub.end(f.message ?? f.code);
    else {
      if (sub.standing === "asked") sub.standing = "waiting";
      sub.due = this.now() + Math.max(1, retryInMs);
    }
    this.emit({ type: "refused", sub, error: f, retryInMs });
  }

  // Has a subscription go on as it was.
  #unchanged(sub: Subscription, f: ErrorFrame): void {
    sub.revert();
    if (sub.standing === "asked") sub.standing = "waiting";
    this.emit({ type: "refused", sub, error: f, retryInMs: -1 });
    this.update();
  }

  incomplete(pattern: Subscription, f: ErrorFrame): void {
    const said = `${f.code} ${f.message ?? ""}`;
    if (!pattern.pattern || pattern.leaving || pattern.pattern.told === said) return; // every poll says it again
    pattern.pattern.told = said;
    this.emit({ type: "incomplete", sub: pattern, error: f });
  }

  frame(sub: Subscription, f: TopicFrame): void {
    if (sub.leaving || sub.ended) return;
    const { event, lost } = sub.take(f);
    if (event) this.emit(event);
    // What is lost already is asked for again by the clock.
    if (lost && sub.attempts === 0) this.#resync(sub, lost);
    else this.#expectSnapshot(sub);
  }

  ended(sub: Subscription, why: string): void {
    sub.end(why);
    this.emit({ type: "status", sub, final: true });
  }

  protected lookAfter(now: number): void {
    for (const sub of this.followed) {
      if (sub.standing === "granted" && sub.due > 0 && now >= sub.due) this.#resync(sub, "gap");
    }
    this.forget();
  }

  protected forget(): void {
    if (this.followed.some((s) => s.ended)) this.followed = this.followed.filter((s) => !s.ended);
  }

  // A book that the server calls live does not stay void for want of a snapshot.
  #expectSnapshot(sub: Subscription): void {
    if (sub.awaits && sub.due === 0 && sub.standing === "granted") sub.due = this.now() + this.settings.resyncMs;
  }

  #resync(sub: Subscription, cause: "gap" | "mismatch"): void {
    sub.attempts++;
    sub.due = this.now() + this.settings.resyncMs;
    this.emit({ type: "lost", sub, cause, attempt: sub.attempts });
    this.ask(sub, cause);
  }
}
