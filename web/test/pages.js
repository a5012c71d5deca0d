// What the tests take from the repository: the vectors of the state hash, and the tables and
// examples of docs/protocol.md.

import { readFileSync } from "node:fs";

const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

export const vectors = JSON.parse(read("proto/testdata/state-hash.json"));
export const orderVectors = JSON.parse(read("proto/testdata/order-hash.json"));
const page = read("docs/protocol.md");

// The frames of the examples, in order, as a connection hears them; the default one where
// none is named.
export function frames(conn) {
  const said = [...page.matchAll(/^```json frame([^\n]*)\n(.*?)^```$/gms)];
  return said.filter((m) => m[1].match(/conn=(\w+)/)?.[1] === conn).map((m) => JSON.parse(m[2]));
}

// The rows of the table that a mark stands before.
export function table(mark) {
  const rows = page.split(`<!-- ${mark} -->\n`)[1].split("\n\n")[0].split("\n").slice(2);
  return rows.map((row) => row.split("|").slice(1, -1).map((cell) => cell.trim().replaceAll("`", "")));
}
