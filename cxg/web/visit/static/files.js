// Files that the browser makes and saves: their names, and tables as CSV.

import { page } from "./page.js";

const UNFIT = /[\x00-\x1f\x7f/\\:*?"<>|]+/g;
const FORMULA_STARTS = /^[=+\-@\t\r']/;
const LINE_END = "\r\n";
// Rows that are put together before the browser gets a turn.
const ROWS_AT_A_TIME = 50_000;

/** Return the name of a file about the dataset, such as `pbmc3k-cells.csv`. */
export function fileName(what) {
  const stem = page.dataset.replace(/\.cxg$/, "");
  return `${stem ? `${stem}-` : ""}${what}`.replace(UNFIT, "_");
}

/**
 * Have the browser save a file.
 *
 * @param {Blob} blob
 * @param {string} name
 */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.hidden = true;
  document.body.append(link);
  link.click();
  link.remove();
  // The browser reads the file after this task.
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * Write a table of one column of texts, in the form of the server's tables; the browser gets a turn now and then.
 *
 * @param {Object<string, string | number>} notes  what to say on top, a line for each name
 * @param {string} header
 * @param {ArrayLike<T>} rows
 * @param {(row: T) => string} textOf
 * @returns {Promise<Blob>}
 * @template T
 */
export async function writeColumn(notes, header, rows, textOf) {
  const origin = { dataset: page.dataset, title: page.title ?? "", version: page.version };
  const lines = Object.entries({ ...origin, ...notes }).map(([name, value]) => `# ${name}: ${note(value)}`);
  const parts = [[...lines, field(header), ""].join(LINE_END)];
  for (let start = 0; start < rows.length; start += ROWS_AT_A_TIME) {
    const end = Math.min(start + ROWS_AT_A_TIME, rows.length);
    let text = "";
    for (let k = start; k < end; k += 1) text += field(textOf(rows[k])) + LINE_END;
    parts.push(text);
    if (end < rows.length) await new Promise((resolve) => setTimeout(resolve));
  }
  return new Blob(parts, { type: "text/csv;charset=utf-8" });
}

/** Write a text as a field; one that a spreadsheet might run as a formula gets an apostrophe in front. */
function field(text) {
  const guarded = FORMULA_STARTS.test(text) ? `'${text}` : text;
  return `"${guarded.replaceAll('"', '""')}"`;
}

function note(value) {
  return String(value).replace(/\s+/g, " ").trim().replaceAll('"', "'");
}
