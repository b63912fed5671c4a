// The plot as a picture with title, labels and legend: PNG, or SVG around an image of the points.

import { layOut } from "./drawing.js";
import { fileName, save } from "./files.js";
import { readLegend } from "./legend.js";
import { page } from "./page.js";
import { componentOf } from "./store.js";

const SCALE = 2;

/**
 * Save the plot as it is now.
 *
 * @param {object} store  the client's
 * @param {"png" | "svg"} kind
 */
export async function savePicture(store, kind) {
  const canvas = document.querySelector('[data-testid="layout-graph"]');
  const graph = componentOf(canvas, "renderPoints");
  if (!graph?.state.regl) throw new Error("The plot is not drawn yet; try again in a moment.");
  const legend = await readLegend(store, graph);
  const { width, height } = canvas;
  const drawing = layOut({ width, height, ...wordsOf(store.getState(), legend), labels: readLabels(canvas), legend });
  const points = drawLarger(graph, canvas);
  const blob = kind === "svg" ? await asSvg(drawing, points) : await asPng(drawing, points);
  save(blob, fileName(`${legend?.name ?? "cells"}.${kind}`));
}

/**
 * Draw the points anew with twice as many pixels in each direction, and return a copy of them.
 *
 * The client draws them by its own method, so the points are exactly those on the screen; only their size in pixels is
 * doubled. All of this happens within one task, so the visitor sees nothing of it.
 */
function drawLarger(graph, canvas) {
  const { regl, drawPoints, colorBuffer, pointBuffer, flagBuffer, camera, projectionTF } = graph.state;
  const { width, height } = canvas;
  const paint = (draw) => graph.renderPoints(regl, draw, colorBuffer, pointBuffer, flagBuffer, camera, projectionTF);
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [SCALE * width, SCALE * height];
  // The size of a point grows with the root of `distance`, and with the smaller side of the plot.
  const larger = (values) =>
    drawPoints({ ...values, distance: SCALE ** 2 * values.distance, minViewportDimension: Math.min(width, height) });
  try {
    [canvas.width, canvas.height] = [copy.width, copy.height];
    paint(larger);
    copy.getContext("2d").drawImage(canvas, 0, 0, copy.width, copy.height);
  } finally {
    [canvas.width, canvas.height] = [width, height];
    paint(drawPoints);
  }
  return copy;
}

function wordsOf({ annoMatrix, layoutChoice, obsCrossfilter }, legend) {
  const [shown, selected] = [annoMatrix.nObs, obsCrossfilter.countSelected()];
  const cells = `${shown.toLocaleString("en")} cells`;
  const part = selected > 0 && selected < shown ? `${selected.toLocaleString("en")} of ${cells} selected` : cells;
  return {
    title: page.title ?? page.dataset,
    subtitle: [legend ? `coloured by ${legend.name}` : "", layoutChoice.current, part].filter(Boolean).join(" · "),
    axes: layoutChoice.currentDimNames,
  };
}

/** Read the labels on the plot, and where they are on it. */
function readLabels(canvas) {
  const box = canvas.getBoundingClientRect();
  return Array.from(document.querySelectorAll('[data-testclass="centroid-label"] text'), (element) => {
    const { e, f } = element.getScreenCTM();
    return { x: e - box.left, y: f - box.top, size: parseFloat(getComputedStyle(element).fontSize), text: element.textContent };
  }).filter(({ x, y }) => x >= 0 && y >= 0 && x <= box.width && y <= box.height);
}

async function asSvg(drawing, points) {
  const png = await blobOf(points);
  const image = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(png);
  });
  return new Blob([drawing.write(image)], { type: "image/svg+xml" });
}

async function asPng(drawing, points) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [SCALE * drawing.width, SCALE * drawing.height];
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#ffffff";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(points, SCALE * drawing.left, SCALE * drawing.top);
  // The page's policy allows images from data URLs, but none from blobs.
  const words = new Image(canvas.width, canvas.height);
  words.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(drawing.write(null))}`;
  await words.decode();
  pen.drawImage(words, 0, 0, canvas.width, canvas.height);
  return blobOf(canvas);
}

function blobOf(canvas) {
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("The browser could not make the picture."))), "image/png");
  });
}
