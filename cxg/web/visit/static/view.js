// Reads the view that the client shows, and brings the client into a view.

import { columnOf, isCategorical, makeResolver, quote } from "./names.js";
import { applyZoom, readZoom } from "./plot.js";
import { applySelections, readSelections } from "./selections.js";
import { componentOf, until } from "./store.js";

const EXPRESSION = "color by expression";
const BY_LABEL = "color by categorical metadata";
const GENESET_MEAN = "color by geneset mean expression";
const WAIT_MS = 20_000;

let geneOrder = [];

/** Return the view that the client shows now; `baseLayout` is the embedding that needs no mention. */
export function readView(store, baseLayout) {
  const state = store.getState();
  const { controls, colors, centroidLabels, layoutChoice } = state;
  const scatter = [controls.scatterplotXXaccessor, controls.scatterplotYYaccessor];
  return {
    genes: readGenes(controls),
    color: readColor(state),
    labels: Boolean(colors.colorMode === BY_LABEL && centroidLabels.showLabels),
    layout: layoutChoice.current === baseLayout ? null : layoutChoice.current,
    select: readSelections(state),
    genesets: [...state.genesets.genesets.keys()].filter((name) => isOpen(genesetElement(name))),
    scatter: scatter.every(Boolean) ? scatter : [],
    zoom: readZoom(),
  };
}

/**
 * Bring the client into a view, whatever it shows now.
 *
 * @param {object} store
 * @param {object} view  as `state.js` describes it
 * @param {string} baseLayout  embedding of a view that names none
 * @returns {Promise<string[]>}  what the dataset does not have, in words
 */
export async function applyView(store, view, baseLayout) {
  const missing = [];
  const names = await makeResolver(store, view);
  const steps = [applyLayout, applyGenes, applyColor, applySelections, applyScatter, applyGenesets, applyZoom];
  for (const step of steps) {
    try {
      await step({ store, view, baseLayout, names, missing });
    } catch (error) {
      // One part that fails, such as a gene that the server cannot read now, must not stop the others.
      console.info("cellxgene-eb: a part of the view could not be shown:", error);
    }
  }
  return missing;
}

// Embedding -----------------------------------------------------------------------------------------------------------

async function applyLayout({ store, view, baseLayout, missing }) {
  const { annoMatrix, layoutChoice } = store.getState();
  let wanted = view.layout ?? baseLayout;
  if (!annoMatrix.schema.layout.obs.some(({ name }) => name === wanted)) {
    missing.push(`embedding ${quote(wanted)}`);
    wanted = baseLayout;
  }
  if (wanted === layoutChoice.current) return;
  const component = componentOf(document.querySelector('[data-testid="layout-choice"]'), "handleLayoutChoiceChange");
  component.handleLayoutChoiceChange({ currentTarget: { value: wanted } });
  await until(store, (state) => state.layoutChoice.current === wanted, WAIT_MS);
}

// Genes and colour ----------------------------------------------------------------------------------------------------

function applyGenes({ store, view, names, missing }) {
  const known = view.genes.filter(names.hasGene);
  for (const gene of view.genes) if (!names.hasGene(gene)) missing.push(`gene ${quote(gene)}`);
  const listed = readGenes(store.getState().controls);
  for (const gene of listed) {
    if (!known.includes(gene)) store.dispatch({ type: "clear user defined gene", data: gene });
  }
  const added = known.filter((gene) => !listed.includes(gene));
  if (added.length) store.dispatch({ type: "request user defined gene success", data: { genes: added } });
  geneOrder = known;
}

function applyColor({ store, view, names, missing }) {
  const { dispatch, getState } = store;
  const found = view.color && names.resolve(view.color);
  if (view.color && !found && !view.genes.includes(view.color)) {
    missing.push(`column, gene or gene set ${quote(view.color)}`);
  }
  const action = found ? colorAction(getState(), found) : { type: "reset colorscale" };
  const { colorMode, colorAccessor } = getState().colors;
  const accessor = found ? found.name : null;
  // The same action once more would take the colour away.
  if ((colorAccessor ?? null) !== accessor || (found && colorMode !== action.type)) dispatch(action);
  const isLabelled = found?.kind === "column" && isCategorical(getState().annoMatrix.schema, found.name);
  const showLabels = view.labels && isLabelled;
  if (Boolean(getState().centroidLabels.showLabels) !== showLabels) {
    dispatch({ type: "show centroid labels for category", showLabels });
  }
}

/** Return the listed genes in the order in which they came; the client turns its own list round whenever it draws it. */
function readGenes({ userDefinedGenes }) {
  const added = userDefinedGenes.filter((gene) => !geneOrder.includes(gene));
  geneOrder = [...geneOrder.filter((gene) => userDefinedGenes.includes(gene)), ...added];
  return [...geneOrder];
}

function colorAction({ annoMatrix }, { kind, name }) {
  if (kind === "gene") return { type: EXPRESSION, gene: name };
  if (kind === "geneset") return { type: GENESET_MEAN, geneset: name };
  const type = isCategorical(annoMatrix.schema, name) ? BY_LABEL : "color by continuous metadata";
  return { type, colorAccessor: name };
}

function readColor({ colors, annoMatrix }) {
  const { colorMode, colorAccessor } = colors;
  if (!colorAccessor) return null;
  if (colorMode === GENESET_MEAN) return `geneset:${colorAccessor}`;
  return colorMode === EXPRESSION && columnOf(annoMatrix.schema, colorAccessor) ? `gene:${colorAccessor}` : colorAccessor;
}

// Scatterplot and gene sets ----------------------------------------------------------------------------------------

function applyScatter({ store, view, names, missing }) {
  for (const gene of view.scatter) if (!names.hasGene(gene)) missing.push(`gene ${quote(gene)}`);
  const [x, y] = view.scatter;
  const { scatterplotXXaccessor, scatterplotYYaccessor } = store.getState().controls;
  const isPair = view.scatter.length === 2 && view.scatter.every(names.hasGene);
  if (!isPair) {
    if (scatterplotXXaccessor || scatterplotYYaccessor) store.dispatch({ type: "clear scatterplot" });
    return;
  }
  if (x !== scatterplotXXaccessor) store.dispatch({ type: "set scatterplot x", data: x });
  if (y !== scatterplotYYaccessor) store.dispatch({ type: "set scatterplot y", data: y });
}

function applyGenesets({ store, view, names, missing }) {
  for (const name of view.genesets) if (!names.hasGeneset(name)) missing.push(`gene set ${quote(name)}`);
  for (const name of store.getState().genesets.genesets.keys()) {
    const element = genesetElement(name);
    if (element && isOpen(element) !== view.genesets.includes(name)) element.click();
  }
}

function genesetElement(name) {
  return document.querySelector(`[data-testid="${CSS.escape(`${name}:geneset-expand`)}"]`);
}

function isOpen(element) {
  return Boolean(element?.querySelector('[data-testclass="geneset-expand-is-expanded"]'));
}

