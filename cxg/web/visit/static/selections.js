// Selections of cells by labels and by ranges of numbers.

import { columnOf, isCategorical, queryOf, quote } from "./names.js";

// How the client names what a range belongs to.
const DIMENSIONS = { column: "obsAnno_", gene: "varData_userDefined_", geneset: "geneSetSummary_" };

/** Return the selections that the client shows, as a view has them. */
export function readSelections(state) {
  return [...readLabels(state), ...readRanges(state)];
}

/** Select the cells of a view, and take back every other selection of labels or ranges. */
export async function applySelections({ store, view, names, missing }) {
  const kept = new Set();
  for (const selection of view.select) {
    const found = names.resolve(selection.name);
    if (!found) {
      missing.push(`column ${quote(selection.name)}`);
      continue;
    }
    kept.add(dimensionOf(found));
    const hasLabels = found.kind === "column" && isCategorical(store.getState().annoMatrix.schema, found.name);
    if (hasLabels) await selectLabels(store, found.name, selection, missing);
    else if (selection.range) await selectRange(store, found, selection.range);
    else missing.push(`range of ${quote(found.name)}, written as 0.5..3`);
  }
  for (const { name } of readLabels(store.getState())) {
    const all = { labels: [], isComplement: true };
    if (!kept.has(dimensionOf({ kind: "column", name }))) await selectLabels(store, name, all, missing);
  }
  for (const key of Object.keys(store.getState().continuousSelection)) {
    const found = namespaceOf(key);
    if (found && !kept.has(key)) await selectRange(store, found, null);
  }
}

async function selectLabels(store, name, { labels, isComplement }, missing) {
  const { annoMatrix } = store.getState();
  await annoMatrix.fetch("obs", name);
  const { categories } = columnOf(annoMatrix.schema, name);
  const texts = new Set(categories.map(String));
  const wanted = new Set(labels);
  for (const label of labels) if (!texts.has(label)) missing.push(`label ${quote(label)} of ${quote(name)}`);
  if (labels.length && !labels.some((label) => texts.has(label))) return;
  const isSelected = (category) => wanted.has(String(category)) !== isComplement;
  const values = categories.filter(isSelected);
  const spec = values.length === categories.length ? { mode: "all" } : { mode: "exact", values };
  const obsCrossfilter = await store.getState().obsCrossfilter.select("obs", name, spec);
  store.dispatch({
    type: "categorical metadata filter select",
    metadataField: name,
    obsCrossfilter,
    labelSelectionState: new Map(categories.map((category) => [category, isSelected(category)])),
  });
}

async function selectRange(store, found, range) {
  const query = queryOf(store.getState(), found);
  let ends = range;
  if (range && !range.every(Number.isFinite)) {
    const { min, max } = (await store.getState().annoMatrix.fetch(...query)).icol(0).summarize();
    ends = [Math.max(range[0], min), Math.min(range[1], max)];
  }
  const spec = ends ? { mode: "range", lo: ends[0], hi: ends[1], inclusive: true } : { mode: "all" };
  const obsCrossfilter = await store.getState().obsCrossfilter.select(...query, spec);
  const action = {
    selection: found.name,
    continuousNamespace: {
      isObs: found.kind === "column",
      isUserDefined: found.kind === "gene",
      isGeneSetSummary: found.kind === "geneset",
    },
    obsCrossfilter,
    range: ends,
  };
  if (!ends) {
    store.dispatch({ ...action, type: "continuous metadata histogram cancel" });
    return;
  }
  // The client's undo expects both.
  store.dispatch({ ...action, type: "continuous metadata histogram start" });
  store.dispatch({ ...action, type: "continuous metadata histogram end" });
}

function readLabels({ categoricalSelection, annoMatrix }) {
  const found = [];
  for (const [name, ticks] of Object.entries(categoricalSelection)) {
    const off = new Set([...ticks].filter(([, isOn]) => !isOn).map(([label]) => String(label)));
    if (!off.size) continue;
    const all = columnOf(annoMatrix.schema, name)?.categories ?? [...ticks.keys()];
    const on = all.map(String).filter((label) => !off.has(label));
    const isComplement = on.length > off.size;
    found.push({ name, labels: isComplement ? [...off] : on, isComplement });
  }
  return found;
}

function readRanges({ continuousSelection, annoMatrix }) {
  return Object.entries(continuousSelection).flatMap(([key, range]) => {
    const found = namespaceOf(key);
    if (!found) return [];
    const { kind, name } = found;
    const isPlain = kind === "column" || (kind === "gene" && !columnOf(annoMatrix.schema, name));
    return { name: isPlain ? name : `${kind}:${name}`, range };
  });
}

function dimensionOf({ kind, name }) {
  return `${DIMENSIONS[kind]}${name}`;
}

function namespaceOf(key) {
  const [kind, prefix] = Object.entries(DIMENSIONS).find(([, start]) => key.startsWith(start)) ?? [];
  return kind ? { kind, name: key.slice(prefix.length) } : null;
}

