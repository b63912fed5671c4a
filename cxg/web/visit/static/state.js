// A view and its parameters in the address of the page. Nothing here touches the page or the client.
//
// A view is an object:
//   genes     names of the genes that are listed
//   color     what the cells are coloured by; null for nothing
//   labels    whether labels are drawn on the plot
//   layout    name of the embedding; null for the dataset's own first one
//   select    list of {name, labels, isComplement} or {name, range: [min, max]}
//   genesets  names of the gene sets that are open
//   scatter   the two genes of the scatterplot, or an empty list
//   zoom      [x, y, scale] of the plot, or null
//
// Names are separated by commas, and a column from its labels by a colon. A backslash before a comma, a colon, an
// exclamation mark or a backslash takes away that meaning. The address is percent-encoded once more, as any address.

export const NAMES = ["gene", "color", "labels", "layout", "select", "genesets", "scatter", "zoom"];

const SPECIAL = /[\\,:!]/g;
const DIGITS = 4;

/** Whether parameters name anything of a view; an empty `color=` does, and stands for the plain view. */
export function hasView(parameters) {
  return NAMES.some((name) => parameters.has(name));
}

/** Return the view that parameters describe; what they leave out is as in a plain view. */
export function parseView(parameters) {
  const genes = unique(parameters.getAll("gene").filter(Boolean));
  const color = parameters.get("color");
  return {
    genes,
    color: color === null ? (genes[0] ?? null) : color || null,
    labels: ["1", "true", "yes"].includes(parameters.get("labels")),
    layout: parameters.get("layout") || null,
    select: parameters.getAll("select").filter(Boolean).map(parseSelection),
    genesets: unique(parameters.getAll("genesets").flatMap(splitNames)),
    scatter: parameters.getAll("scatter").flatMap(splitNames).slice(0, 2),
    zoom: parseZoom(parameters.get("zoom")),
  };
}

/** Return the view that a mapping from parameter names to values describes: texts, numbers, switches or lists. */
export function viewOfData(data) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(data ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== false) parameters.append(name, one === true ? "1" : String(one));
    }
  }
  return parseView(parameters);
}

/** Return the parameters of a view as text for an address, as readable as an address allows. */
export function writeView(view) {
  const parts = view.genes.map((gene) => ["gene", gene]);
  const implied = view.genes[0] ?? null;
  if (view.color !== implied) parts.push(["color", view.color ?? ""]);
  if (view.labels) parts.push(["labels", "1"]);
  if (view.layout) parts.push(["layout", view.layout]);
  for (const selection of view.select) parts.push(["select", writeSelection(selection)]);
  if (view.genesets.length) parts.push(["genesets", joinNames(view.genesets)]);
  if (view.scatter.length) parts.push(["scatter", joinNames(view.scatter)]);
  if (view.zoom) parts.push(["zoom", view.zoom.map((number) => short(number)).join(",")]);
  return parts.map(([name, value]) => `${name}=${encode(value)}`).join("&");
}

/** Return an address's query with the parameters of a view replaced and all others kept, without its "?". */
export function replaceView(search, viewText) {
  const others = search
    .replace(/^\?/, "")
    .split("&")
    .filter((part) => part && !NAMES.includes(decode(part.split("=")[0])));
  return [...others, viewText].filter(Boolean).join("&");
}

/** Split a text at commas without a backslash before them. */
export function splitNames(text) {
  return splitRaw(text).map(unescape);
}

/** Join names by commas; a list whose last name is empty ends with one more comma. */
export function joinNames(names) {
  const text = names.map(escape).join(",");
  return names.at(-1) === "" ? `${text},` : text;
}

/** Read a range such as `0.5..3`, `..3` or `0.5..`, both ends included; null when the text is not one. */
export function parseRange(text) {
  const found = /^\s*(\S*?)\s*\.\.\s*(\S*)\s*$/.exec(text);
  if (!found) return null;
  const min = found[1] === "" ? -Infinity : Number(found[1]);
  const max = found[2] === "" ? Infinity : Number(found[2]);
  return Number.isNaN(min) || Number.isNaN(max) || min > max ? null : [min, max];
}

function parseSelection(text) {
  const [name, ...rest] = splitRaw(text, ":");
  const raw = rest.join(":");
  const isComplement = raw.startsWith("!");
  return {
    name: unescape(name),
    labels: splitNames(isComplement ? raw.slice(1) : raw),
    isComplement,
    range: parseRange(unescape(raw)),
  };
}

function writeSelection({ name, labels, isComplement, range }) {
  const ends = range?.map((end) => (Number.isFinite(end) ? String(end) : ""));
  return `${escape(name)}:${ends ? ends.join("..") : (isComplement ? "!" : "") + joinNames(labels)}`;
}

function parseZoom(text) {
  const numbers = (text ?? "").split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
  return numbers.length === 3 && numbers.every(Number.isFinite) ? numbers : null;
}

function splitRaw(text, separator = ",") {
  if (text === "") return [];
  const parts = [""];
  for (let k = 0; k < text.length; k += 1) {
    if (text[k] === "\\" && k + 1 < text.length) {
      parts[parts.length - 1] += text[k] + text[k + 1];
      k += 1;
    } else if (text[k] === separator) parts.push("");
    else parts[parts.length - 1] += text[k];
  }
  if (separator === "," && parts.at(-1) === "") parts.pop();
  return parts;
}

function escape(name) {
  return name.replace(SPECIAL, "\\$&");
}

function unescape(text) {
  return text.replace(/\\([^])/g, "$1");
}

function short(number) {
  return String(Number(number.toPrecision(DIGITS)));
}

function unique(names) {
  return [...new Set(names)];
}

/** Percent-encode a value, but for characters that are plain text in a query: `,` `:` `/` `!` and a blank as `+`. */
function encode(value) {
  return encodeURIComponent(value.toWellFormed?.() ?? value)
    .replace(/%(?:2C|3A|2F)/g, decodeURIComponent)
    .replace(/%20/g, "+")
    // Programs that find links in a text end them at these.
    .replace(/['()*]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}

function decode(text) {
  try {
    return decodeURIComponent(text.replace(/\+/g, " "));
  } catch {
    return text;
  }
}
