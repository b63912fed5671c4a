// Marker genes of the labels of a column, as gene sets, for datasets that come without gene sets.

import { addButton } from "./bar.js";
import { isCategorical } from "./names.js";
import * as note from "./note.js";
import { isEmbedded } from "./page.js";
import { until, whenReady } from "./store.js";

const WAIT_MS = 15_000;

let loaded = null;
let button = null;

/** Add the button once the client knows that the dataset has no gene sets. */
export function start() {
  // The gene sets are in a side bar, which a frame does not show.
  if (!isEmbedded) whenReady().then(offer, () => {});
}

/** Return the column whose markers are listed, or null. */
export function loadedColumn() {
  return loaded;
}

/**
 * List the marker genes of the labels of a column as gene sets.
 *
 * @param {object} store  the client's
 * @param {string} by  name of the column; empty for the one that the server chooses
 * @throws {Error} with the server's sentence when there are none
 */
export async function loadMarkers(store, by) {
  await until(store, ({ genesets }) => genesets.initialized, WAIT_MS);
  const { prefix, version } = window.CELLXGENE.API;
  const query = by ? `?by=${encodeURIComponent(by)}` : "";
  const answer = await fetch(`${prefix}${version}markers${query}`, { headers: { Accept: "application/json" } });
  const found = await answer.json();
  if (!answer.ok) throw new Error(found.message);
  const known = store.getState().genesets.genesets;
  // The client puts each new set before the others.
  const added = found.genesets.filter((set) => !known.has(set.geneset_name)).reverse();
  for (const set of added) {
    const genesetName = set.geneset_name;
    store.dispatch({ type: "geneset: create", genesetName, genesetDescription: set.geneset_description });
    const genes = set.genes.map((gene) => ({ geneSymbol: gene.gene_symbol, geneDescription: gene.gene_description }));
    store.dispatch({ type: "geneset: add genes", genesetName, genes });
  }
  loaded = found.by;
  button?.remove();
  return added.length;
}

async function offer(store) {
  const isKnown = await until(store, ({ genesets }) => genesets.initialized, WAIT_MS);
  const { config, genesets } = store.getState();
  if (!isKnown || genesets.genesets.size || loaded !== null || config?.parameters?.["disable-diffexp"]) return;
  button = addButton({
    id: "markers",
    label: "Markers",
    title: "List the marker genes of each label as gene sets",
    onClick: () => list(store),
  });
}

async function list(store) {
  const { annoMatrix, colors } = store.getState();
  const { colorAccessor } = colors;
  const by = colorAccessor && isCategorical(annoMatrix.schema, colorAccessor) ? colorAccessor : "";
  button.setAttribute("aria-busy", "true");
  try {
    const count = await loadMarkers(store, by);
    note.show(
      count
        ? `The marker genes of ${count} labels of “${loaded}” are listed under the gene sets.`
        : `No gene stands out in a label of “${loaded}”.`,
    );
  } catch (error) {
    note.show(error.message, { kind: "error" });
  } finally {
    button.removeAttribute("aria-busy");
  }
}
