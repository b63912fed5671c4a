// The table of the last comparison, as the server writes it.

import { fileName, save } from "./files.js";
import * as note from "./note.js";

const CSV = "text/csv";

let last = null;
let usualFetch = null;

/**
 * Watch for comparisons. The client must not have started, since it takes `fetch` from the window for each request.
 *
 * @param {() => void} onDone  called after each comparison that succeeded
 */
export function watch(onDone) {
  usualFetch = window.fetch;
  window.fetch = async function fetchAndWatch(input, options) {
    const answer = await usualFetch.apply(this, arguments);
    if (answer.ok && isComparison(input, options)) {
      last = { url: String(input), body: options.body };
      onDone();
    }
    return answer;
  };
}

/** Ask the server for the last comparison as a table, and save it. */
export async function saveComparison() {
  const answer = await usualFetch(last.url, {
    method: "POST",
    headers: { Accept: CSV, "Content-Type": "application/json" },
    body: last.body,
    credentials: "include",
  });
  if (answer.ok) {
    save(await answer.blob(), fileName("comparison.csv"));
    return;
  }
  const sentence = await answer.json().then(({ message }) => message, () => null);
  note.show(sentence ?? `The server did not send the table (${answer.status}); try again.`, { kind: "error" });
}

function isComparison(input, options) {
  return options?.method === "POST" && typeof options.body === "string" && /\/diffexp\/obs$/.test(String(input));
}
