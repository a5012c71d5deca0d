// Plain HTTP as event streams, polls and questions use it.

import { type Host, Broken } from "./link.js";

// Asks, and returns an answer of status 200. It fails with a Broken: an answer in our
// server's form ({"type":"error",…}) is its word, any other one somebody's in between.
export async function get(host: Host, path: string, query: URLSearchParams, signal: AbortSignal): Promise<Response> {
  const token = await host.token();
  const url = host.url(path);
  url.search = query.toString();
  const headers = token === undefined ? {} : { Authorization: `Bearer ${token}` };
  const answer = await host.settings.fetch(url, { signal, cache: "no-store", headers });
  if (answer.status === 200) return answer;
  const after = Number(answer.headers.get("Retry-After"));
  const waitMs = after > 0 ? { waitMs: 1000 * (after + Math.random()) } : {}; // others are told the same second
  const refusal = await worded(answer);
  throw new Broken({
    why: refusal?.message ?? `HTTP ${answer.status}`, ours: refusal !== null, token: answer.status === 401, ...waitMs,
    retry: answer.status >= 500 || answer.status === 429 || answer.status === 408 ? "after" : "never",
  });
}

// What our server says of its refusal; null where the answer is not its.
async function worded(answer: Response): Promise<{ message: string } | null> {
  try {
    const value: unknown = await answer.json();
    if (typeof value !== "object" || value === null || !("type" in value) || value.type !== "error" || !("message" in value)) return null;
    return { message: String(value.message) };
  } catch {
    return null;
  }
}

// Whether the server is there by plain HTTP. A Broken with its own words is thrown where
// it says something else.
export async function reachable(host: Host): Promise<boolean> {
  try {
    const answer = await get(host, "v1/status", new URLSearchParams(), AbortSignal.timeout(host.settings.openMs));
    const value: unknown = await answer.json();
    return typeof value === "object" && value !== null && "caught_up" in value;
  } catch (e) {
    if (e instanceof Broken && e.loss.ours) throw e;
    return false;
  }
}
