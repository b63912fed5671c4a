// Short notes to the visitor, below the plot. Screen readers announce them.

const KEEP_MS = 8_000;
const MOST_NOTES = 3;

let regions = null;

/** Put the empty regions into the page: some screen readers stay silent about a region that comes with its text. */
export function start() {
  regions ??= makeRegions();
}

/**
 * Show a note.
 *
 * @param {string} text  one or two sentences
 * @param {object} [options]
 * @param {"info" | "error"} [options.kind]  an error stays until it is dismissed and is announced at once
 * @param {{label: string, onClick: () => void}} [options.action]  a button of the note; such a note stays
 * @param {Element} [options.content]  more content, such as a field; such a note stays
 * @returns {{close: () => void}}
 */
export function show(text, { kind = "info", action = null, content = null } = {}) {
  const region = regionOf(kind);
  for (const other of [...region.children]) {
    if (other.dataset.text === text) other.remove();
  }
  const element = document.createElement("div");
  element.className = `cxg-note cxg-note-${kind}`;
  element.dataset.text = text;
  const sentence = document.createElement("p");
  sentence.textContent = text;
  element.append(sentence);
  if (content) element.append(content);
  const close = () => element.remove();
  if (action) element.append(button(action.label, action.onClick));
  element.append(button("Dismiss", close));
  region.append(element);
  if (region.children.length > MOST_NOTES) region.firstElementChild.remove();
  if (kind === "info" && !action && !content) closeLater(element, close);
  return { close };
}

function button(label, onClick) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = label;
  element.addEventListener("click", onClick);
  return element;
}

function closeLater(element, close) {
  let timer = setTimeout(close, KEEP_MS);
  const hold = () => clearTimeout(timer);
  const release = () => {
    timer = setTimeout(close, KEEP_MS);
  };
  for (const name of ["pointerenter", "focusin"]) element.addEventListener(name, hold);
  for (const name of ["pointerleave", "focusout"]) element.addEventListener(name, release);
}

function regionOf(kind) {
  start();
  return regions[kind];
}

function makeRegions() {
  const holder = document.createElement("section");
  holder.className = "cxg-notes";
  holder.setAttribute("aria-label", "Notes");
  const made = {};
  for (const [kind, role] of [["error", "alert"], ["info", "status"]]) {
    made[kind] = document.createElement("div");
    made[kind].setAttribute("role", role);
    holder.append(made[kind]);
  }
  document.body.append(holder);
  return made;
}
