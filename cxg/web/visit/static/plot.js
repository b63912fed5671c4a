// The camera of the plot.

import { componentOf } from "./store.js";

// The client's own limits.
const SCALES = [0.5, 3];

/** Return [x, y, scale] of the plot, or null when nobody moved it. */
export function readZoom() {
  const matrix = graph()?.state.camera?.view();
  if (!matrix) return null;
  const zoom = [matrix[6], matrix[7], matrix[0]];
  return zoom.every((number, k) => Math.abs(number - (k === 2 ? 1 : 0)) < 1e-4) ? null : zoom;
}

/** Move the plot to where a view has it. */
export function applyZoom({ view }) {
  const component = graph();
  const camera = component?.state.camera;
  if (!camera) return;
  const [x, y, wanted] = view.zoom ?? [0, 0, 1];
  const scale = Math.min(Math.max(wanted, SCALES[0]), SCALES[1]);
  // Matrices of 3 x 3 by columns: a scale, then a move.
  camera.viewMatrix.set([scale, 0, 0, 0, scale, 0, x, y, 1]);
  camera.viewMatrixInv.set([1 / scale, 0, 0, 0, 1 / scale, 0, -x / scale, -y / scale, 1]);
  component.renderCanvas();
  component.setState((state) => ({ ...state, updateOverlay: !state.updateOverlay }));
}

function graph() {
  return componentOf(document.querySelector('[data-testid="layout-graph"]'), "handleCanvasEvent");
}
