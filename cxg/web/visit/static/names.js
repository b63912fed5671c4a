// Names of columns, genes and gene sets, as a link gives them and as the client's queries need them.

import { until } from "./store.js";

const CATEGORICAL = ["string", "boolean", "categorical"];
const KINDS = ["column", "gene", "geneset"];
const WAIT_MS = 5_000;

/** Return the query that makes the client fetch something: a column, a gene or the mean of a gene set. */
export function queryOf({ annoMatrix, genesets }, { kind, name }) {
  if (kind === "column") return ["obs", name];
  const column = annoMatrix.schema.annotations.var.index;
  if (kind === "gene") return ["X", { where: { field: "var", column, value: name } }];
  const values = [...genesets.genesets.get(name).genes.keys()];
  return ["X", { summarize: { method: "mean", field: "var", column, values } }];
}

/** Return the schema of a column of obs, or null. */
export function columnOf(schema, name) {
  const columns = schema.annotations.obsByName;
  return Object.hasOwn(columns, name) ? columns[name] : null;
}

/** Whether a column of obs has labels rather than numbers. */
export function isCategorical(schema, name) {
  return CATEGORICAL.includes(columnOf(schema, name)?.type);
}

/** Put a name into quotation marks, for a sentence. */
export function quote(name) {
  return `“${name}”`;
}

/** Return what tells whether the names of a view are there; asks the client for the names of genes if need be. */
export async function makeResolver(store, view) {
  const { color, genes, genesets: named, scatter, select } = view;
  if (named.length || color || select.length) await until(store, ({ genesets }) => genesets.initialized, WAIT_MS);
  const { annoMatrix, genesets } = store.getState();
  const { schema } = annoMatrix;
  const needsGenes = genes.length || color || scatter.length || select.length;
  const known = needsGenes ? await readGeneNames(annoMatrix) : new Set();
  const has = {
    column: (name) => name !== schema.annotations.obs.index && Boolean(columnOf(schema, name)),
    gene: (name) => known.has(name),
    geneset: (name) => genesets.genesets.has(name),
  };
  return {
    hasGene: has.gene,
    hasGeneset: has.geneset,
    /** A column, else a gene, else a gene set of that name; a prefix such as `gene:` chooses one of them. */
    resolve(text) {
      const plain = KINDS.find((kind) => has[kind](text));
      if (plain) return { kind: plain, name: text };
      const at = text.indexOf(":");
      const [kind, name] = [text.slice(0, at), text.slice(at + 1)];
      return KINDS.includes(kind) && has[kind](name) ? { kind, name } : null;
    },
  };
}

async function readGeneNames(annoMatrix) {
  const { index } = annoMatrix.schema.annotations.var;
  // The client has asked for the same names, for its search.
  const frame = await annoMatrix.fetch("var", index);
  return new Set(frame.col(index).asArray());
}
