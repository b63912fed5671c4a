// Links that carry a view: the first view, the address bar, the button that copies a link, the browser's back button.

import { addButton } from "./bar.js";
import * as note from "./note.js";
import { isEmbedded, page, parameters } from "./page.js";
import { hasView, parseView, replaceView, viewOfData, writeView } from "./state.js";
import { whenReady } from "./store.js";
import { applyView, readView } from "./view.js";

const SETTLE_MS = 400;
const CONFIRM_MS = 2_000;
// Servers and mail programs cut longer addresses.
const LONG_ADDRESS = 4_000;

const STATE_KEYS = [
  "colors", "centroidLabels", "layoutChoice", "categoricalSelection", "continuousSelection", "controls", "genesets",
];

const current = { store: null, baseLayout: null, text: null, wanted: null, isApplying: false, timer: 0 };

/** Show the view that the address names, and keep the address up to date from then on. */
export function start() {
  // The client listens for this event too, with a function that fails.
  addEventListener("popstate", (event) => {
    event.stopImmediatePropagation();
    if (current.store) goTo(viewOfAddress());
  });
  if (!isEmbedded) {
    addButton({
      id: "copy-link",
      label: "Copy link",
      title: "Copy a link to this page as it looks now",
      onClick: copyLink,
    });
  }
  whenReady().then(showFirstView, () => {});
}

/** Return a link to the page as it looks now. */
export function linkOfView() {
  const text = current.store ? textOf(readView(current.store, current.baseLayout)) : location.search.slice(1);
  return `${location.origin}${location.pathname}${text ? `?${text}` : ""}`;
}

async function showFirstView(store) {
  current.store = store;
  current.baseLayout = store.getState().layoutChoice.current;
  const isAsked = hasView(parameters) || Object.keys(page.view ?? {}).length > 0;
  if (isAsked) await goTo(viewOfAddress());
  else remember();
  watch(store);
}

function viewOfAddress() {
  const now = new URLSearchParams(location.search);
  return hasView(now) ? parseView(now) : viewOfData(page.view);
}

/** Show a view; of several that are wanted while one is being shown, the last. */
async function goTo(view) {
  current.wanted = view;
  if (current.isApplying) return;
  current.isApplying = true;
  clearTimeout(current.timer);
  while (current.wanted) {
    const next = current.wanted;
    current.wanted = null;
    await show(next);
  }
  current.isApplying = false;
  remember();
}

async function show(view) {
  try {
    const missing = await applyView(current.store, view, current.baseLayout);
    if (!missing.length) return;
    const source = hasView(new URLSearchParams(location.search)) ? "the link" : "its default view";
    note.show(`This dataset does not have what ${source} names: ${missing.join(", ")}. The rest is shown.`, {
      kind: "error",
    });
  } catch (error) {
    console.info("cellxgene-eb: the view could not be shown:", error);
  }
}

function remember() {
  current.text = textOf(readView(current.store, current.baseLayout));
}

/** Write a view; a plain view is written as `color=` where the page would otherwise show the dataset's default view. */
function textOf(view) {
  const text = writeView(view);
  const usual = writeView(viewOfData(page.view));
  return text === usual ? "" : text || (usual ? "color=" : "");
}

// The address bar.

function watch(store) {
  let seen = {};
  store.subscribe(() => {
    const state = store.getState();
    if (STATE_KEYS.every((key) => seen[key] === state[key])) return;
    seen = Object.fromEntries(STATE_KEYS.map((key) => [key, state[key]]));
    updateLater();
  });
  // Zoom and open gene sets are not in the store.
  for (const name of ["wheel", "pointerup", "click"]) {
    document.getElementById("root").addEventListener(name, updateLater, { passive: true });
  }
}

function updateLater() {
  clearTimeout(current.timer);
  if (!current.isApplying) current.timer = setTimeout(updateAddress, SETTLE_MS);
}

function updateAddress() {
  if (current.isApplying) return;
  const view = readView(current.store, current.baseLayout);
  const text = textOf(view);
  if (text === current.text) return;
  const isStep = stepOf(text) !== stepOf(current.text);
  current.text = text;
  const query = replaceView(location.search, text);
  if (query.length > LONG_ADDRESS) return;
  const address = `${location.pathname}${query ? `?${query}` : ""}`;
  // Inside another page, more entries would belong to that page's back button.
  if (isStep && !isEmbedded) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}

/** What of a view the back button undoes: all but the zoom and the open gene sets. */
function stepOf(text) {
  const rest = new URLSearchParams(text);
  rest.delete("zoom");
  rest.delete("genesets");
  return rest.toString();
}

// The button.

async function copyLink(event) {
  const link = linkOfView();
  const left = leftOut();
  const button = event.currentTarget;
  if (!(await copyText(link))) {
    showField(link);
    return;
  }
  const sentences = ["Link copied."];
  if (left.length) sentences.push(`It does not carry ${left.join(" and ")}.`);
  if (link.length > LONG_ADDRESS) sentences.push("It is so long that some programs may cut it.");
  note.show(sentences.join(" "));
  button.textContent = "Copied";
  setTimeout(() => {
    button.textContent = "Copy link";
  }, CONFIRM_MS);
}

function leftOut() {
  if (!current.store) return [];
  const { graphSelection, annoMatrix, colors, genesets } = current.store.getState();
  const found = [];
  if (graphSelection.selection.mode !== "all") found.push("the cells in the lasso");
  if (isSubset(annoMatrix)) found.push("the subset of cells");
  if (annoMatrix.isClipped) found.push("the clipping");
  if (colors.colorMode === "color by geneset mean expression" && isMadeHere(genesets, colors.colorAccessor)) {
    found.push("the gene set of a comparison");
  }
  return found;
}

/** Whether the visitor put cells away; an embedding without some of the cells is a subset of its own. */
function isSubset(annoMatrix) {
  for (let view = annoMatrix; view?.isView; view = view.viewOf) if (view.userFlags?.isUserSubsetView) return true;
  return false;
}

function isMadeHere({ genesets }, name) {
  return /^Pop[12] high/.test(genesets.get(name)?.genesetName ?? "");
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Over plain http there is no clipboard for scripts; the older way still works there.
    return copyBySelection(text);
  }
}

function copyBySelection(text) {
  const before = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "cxg-offscreen";
  document.body.append(field);
  field.select();
  let isCopied = false;
  try {
    isCopied = document.execCommand("copy");
  } catch {
    // The field below is left.
  }
  field.remove();
  before?.focus();
  return isCopied;
}

function showField(link) {
  const field = document.createElement("input");
  field.readOnly = true;
  field.value = link;
  field.setAttribute("aria-label", "Link to this view");
  note.show("This browser does not let the page copy. Copy the link from here:", { content: field });
  field.focus();
  field.select();
}
