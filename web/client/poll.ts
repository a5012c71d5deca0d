// Long polling.

import { get } from "./http.js";
import { Broken } from "./link.js";
import type { Topics } from "./stream.js";
import { ProtocolError, isFrame } from "./wire.js";

const WAIT_MS = 20_000; // that the server may hold a poll
const GRACE_MS = 15_000;

export async function carryPolls(topics: Topics, alive: () => void, signal: AbortSignal): Promise<void> {
  // The first answer shows that polls come through: it must not wait for a quiet market.
  for (let waitMs = 0; !signal.aborted; waitMs = WAIT_MS) {
    const query = topics.query(), cursor = topics.token, begun = topics.host.now();
    query.set("wait_ms", String(waitMs));
    if (cursor !== null) query.set("cursor", cursor);
    const limit = AbortSignal.any([signal, AbortSignal.timeout(waitMs + GRACE_MS)]);
    const answer: unknown = await (await get(topics.host, "v1/poll", query, limit)).json();
    if (signal.aborted) return;
    if (typeof answer !== "object" || answer === null || !("type" in answer) || answer.type !== "poll") {
      throw new Broken({ why: "no poll came", retry: "after", ours: false });
    }
    if (!("frames" in answer) || !Array.isArray(answer.frames)) throw new ProtocolError("a poll without frames");
    alive();
    for (const f of answer.frames) {
      if (isFrame(f)) topics.take(f);
      if (signal.aborted) return;
    }
    if ("cursor" in answer && typeof answer.cursor === "string" && answer.cursor !== "") topics.stands(answer.cursor);
    await pause(begun + topics.host.settings.pollMs - topics.host.now(), signal);
  }
}

// A market that never rests is asked about now and then: then one answer has the net of
// all changes.
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (ms <= 0 || signal.aborted) return;
  await new Promise<void>((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
  });
}
