// The button "Download" in the client's bar with what can be taken away, and the table after a comparison.

import { addButton } from "./bar.js";
import { saveCells } from "./cells.js";
import { saveComparison, watch } from "./comparison.js";
import { isCategorical } from "./names.js";
import * as note from "./note.js";
import { isEmbedded } from "./page.js";
import { savePicture } from "./picture.js";
import { joinNames } from "./state.js";
import { whenReady } from "./store.js";

const PANEL = "cxg-take-away-panel";

/** Watch for comparisons at once, and add the buttons when the client shows its plot. */
export function start() {
  // A frame leaves room for the plot, and a link to the whole page.
  if (isEmbedded) return;
  let table = null;
  watch(() => {
    table ??= addButton({
      id: "comparison",
      label: "Table (CSV)",
      title: "Download the genes of the last comparison as a table",
      onClick: () => attempt(table, saveComparison),
    });
  });
  whenReady().then(addMenu, () => {});
}

function addMenu(store) {
  const opener = addButton({
    id: "take-away",
    label: "Download",
    title: "Pictures, cells and numbers of this view",
    onClick: () => (panel.hidden ? open() : close()),
  });
  const panel = document.createElement("div");
  panel.id = PANEL;
  panel.hidden = true;
  panel.setAttribute("role", "group");
  panel.setAttribute("aria-label", "Download");
  const expression = document.createElement("a");
  const items = [
    item("Picture (PNG)", () => savePicture(store, "png")),
    item("Picture (SVG)", () => savePicture(store, "svg")),
    item("Selected cells (CSV)", () => saveCells(store)),
    expression,
  ];
  expression.textContent = "Expression by label…";
  expression.target = "_blank";
  expression.rel = "noopener";
  expression.addEventListener("click", () => close());
  panel.append(...items);
  opener.setAttribute("aria-expanded", "false");
  opener.setAttribute("aria-controls", PANEL);
  opener.after(panel);

  function item(label, run) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.addEventListener("click", () => {
      close();
      attempt(opener, run);
    });
    return button;
  }

  function open() {
    expression.href = expressionAddress(store.getState());
    panel.hidden = false;
    opener.setAttribute("aria-expanded", "true");
    items[0].focus();
  }

  function close() {
    if (panel.contains(document.activeElement)) opener.focus();
    panel.hidden = true;
    opener.setAttribute("aria-expanded", "false");
  }

  for (const element of [opener, panel]) {
    element.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !panel.hidden) {
        event.stopPropagation();
        close();
      }
    });
  }
  document.addEventListener("pointerdown", ({ target }) => {
    if (!panel.hidden && !panel.contains(target) && !opener.contains(target)) close();
  });
}

/** Run what a button is for; meanwhile the button is busy, and what goes wrong becomes a note. */
async function attempt(button, run) {
  if (button.getAttribute("aria-busy") === "true") return;
  button.setAttribute("aria-busy", "true");
  try {
    await run();
  } catch (error) {
    note.show(`The file could not be made: ${error.message}`, { kind: "error" });
  } finally {
    button.removeAttribute("aria-busy");
  }
}

/** Return the address of the page of expression by label, for the visitor's genes and the column on the plot. */
export function expressionAddress({ annoMatrix, colors, config, controls }) {
  const { colorMode, colorAccessor } = colors;
  const coloured = colorMode === "color by expression" ? [colorAccessor] : [];
  const genes = [...new Set([...controls.userDefinedGenes, ...coloured])];
  const most = config?.limits?.column_request_max ?? genes.length;
  const parameters = [];
  if (genes.length) parameters.push(`genes=${encodeURIComponent(joinNames(genes.slice(0, most)))}`);
  if (colorAccessor && isCategorical(annoMatrix.schema, colorAccessor)) parameters.push(`by=${encodeURIComponent(colorAccessor)}`);
  return parameters.length ? `expression?${parameters.join("&")}` : "expression";
}
