// The names of the selected cells, as a table of one column.

import { fileName, save, writeColumn } from "./files.js";

/**
 * Save the names of the selected cells; those of all cells in view when none is selected.
 *
 * @param {object} store  the client's
 */
export async function saveCells(store) {
  const { annoMatrix, obsCrossfilter } = store.getState();
  const rows = obsCrossfilter.countSelected() > 0 ? obsCrossfilter.allSelectedLabels() : annoMatrix.rowIndex.labels();
  const { index } = annoMatrix.schema.annotations.obs;
  // Rows are those of the whole dataset, also where the client shows a subset.
  const whole = annoMatrix.base();
  const names = (await whole.fetch("obs", index)).col(index).asArray();
  const notes = { cells: `${rows.length} of ${whole.nObs}` };
  save(await writeColumn(notes, "cell", rows, (row) => String(names[row])), fileName("cells.csv"));
}
