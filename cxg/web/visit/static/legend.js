// What the colours of the plot mean, read from the client.

import { queryOf } from "./names.js";

const KINDS = { "color by expression": "gene", "color by geneset mean expression": "geneset" };
const STOPS = 24;

/**
 * Describe the colours of the plot.
 *
 * @param {object} store  the client's
 * @param {object} graph  the client's component that draws the plot
 * @returns {Promise<object | null>}  null when all cells have one colour; for labels {name, entries: [{label, color,
 *   count}]} of those with cells in view; for numbers {name, min, max, stops}, colours from `max` down to `min`
 */
export async function readLegend(store, graph) {
  const state = store.getState();
  const { colors, annoMatrix } = state;
  const { colorMode, colorAccessor: name } = colors;
  if (!colorMode || !name) return null;
  const frame = await annoMatrix.fetch(...queryOf(state, { kind: KINDS[colorMode] ?? "column", name }));
  if (colorMode === "color by categorical metadata") {
    // The client remembers the table of the last colours, so it need not make it again.
    const { scale } = graph.updateColorTable(colors, frame);
    const { categoryCounts } = frame.col(name).summarizeCategorical();
    const entries = annoMatrix.schema.annotations.obsByName[name].categories
      .map((label, k) => ({ label: String(label), color: String(scale(k) ?? "#000000"), count: categoryCounts.get(label) ?? 0 }))
      .filter(({ count }) => count > 0);
    return { name, entries };
  }
  const { min, max } = frame.icol(0).summarize();
  return { name, min, max, stops: readStops() };
}

/** Read the colours of the client's own scale, from the highest value down; empty where it shows none. */
function readStops() {
  const canvas = document.querySelector("#continuous_legend canvas");
  if (!canvas) return [];
  const { height } = canvas;
  // A copy is read: reading the client's own canvas often would make the browser warn.
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [1, height];
  const pen = copy.getContext("2d", { willReadFrequently: true });
  pen.drawImage(canvas, 0, 0);
  const { data } = pen.getImageData(0, 0, 1, height);
  return Array.from({ length: STOPS + 1 }, (_, k) => {
    // The client turns this canvas upside down.
    const row = Math.round(((height - 1) * (STOPS - k)) / STOPS);
    return `rgb(${data[4 * row]},${data[4 * row + 1]},${data[4 * row + 2]})`;
  });
}
