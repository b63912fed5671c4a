"""Marker genes of groups of cells, as `scanpy.tl.rank_genes_groups` leaves them in `uns["rank_genes_groups"]`.

`names`, `scores`, `logfoldchanges` and `pvals_adj` are tables with a field for each group, the best gene first;
`params` says which column of obs the groups are from, and how the genes were ranked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from cxg.convert.read.column import as_str
from cxg.convert.report import Report
from cxg.format.geneset_files import GeneSet, gene_set

KEY = "rank_genes_groups"
_WHERE = f"uns/{KEY}"
_FIGURES = {"logfoldchanges": "log fold change", "pvals_adj": "adjusted p", "scores": "score"}


def find_markers(root: Any, names: Mapping[str, str], most: int, report: Report) -> list[GeneSet]:
    """Read the first `most` genes of each group as a gene set; none where the file has no ranking.

    Parameters
    ----------
    root : h5py.File
    names : mapping of str to str
        Name of each gene in the CXG by its name in the h5ad; others are left out, as of a ranking of `raw`.
    most : int
        Genes in each set.
    report : Report
        Receives a warning for what is left out.
    """
    group = root.get(_WHERE)
    table = group.get("names") if isinstance(group, h5py.Group) else None
    if group is None or most == 0:
        return []
    if not isinstance(table, h5py.Dataset) or table.dtype.names is None or table.ndim != 1:
        report.warn("markers_dropped", _WHERE, "It is not a table of genes for each group, and is left out.")
        return []
    # All genes of all groups would take hundreds of megabytes as text.
    n_ranks = 4 * most + 100
    ranked, parameters, figures = table[:n_ranks], _parameters(group), _tables(group, n_ranks)
    sets, absent = [], 0
    for label in ranked.dtype.names:
        symbols = [as_str(value) for value in ranked[label]]
        known = [place for place, symbol in enumerate(symbols) if symbol in names]
        absent += sum(symbol not in names for symbol in symbols[:most])
        about = {names[symbols[place]]: _figures(figures, label, place) for place in known[:most]}
        sets.append(gene_set(_name(label, parameters), _description(parameters, len(about)), about))
    if absent:
        report.warn(
            "markers_dropped", _WHERE, f"{absent:,} of its first genes are not among the genes of the CXG: left out."
        )
    return [one for one in sets if one["genes"]]


def _parameters(group: Any) -> dict[str, str]:
    """Texts in `params`: groupby, method, reference."""
    params = group.get("params")
    found = {}
    for key in ("groupby", "method", "reference"):
        item = params.get(key) if isinstance(params, h5py.Group) else None
        # Before anndata 0.7 a text was an array of one.
        if isinstance(item, h5py.Dataset) and item.shape in ((), (1,)):
            found[key] = as_str(np.asarray(item[()]).ravel()[0])
    return found


def _name(label: str, parameters: dict[str, str]) -> str:
    column = parameters.get("groupby")
    return f"{label} ({column})" if column else label


def _description(parameters: dict[str, str], n_genes: int) -> str:
    against = parameters.get("reference", "rest")
    method = f", {parameters['method']}" if "method" in parameters else ""
    return f"First {n_genes} marker genes against {'all other cells' if against == 'rest' else against}{method}"


def _tables(group: Any, n_ranks: int) -> dict[str, NDArray[Any]]:
    """Read the tables of figures that are there, by what their figures are called."""
    found = {}
    for key, text in _FIGURES.items():
        table = group.get(key)
        if isinstance(table, h5py.Dataset) and table.dtype.names is not None and table.ndim == 1:
            found[text] = table[:n_ranks]
    return found


def _figures(tables: dict[str, NDArray[Any]], label: str, place: int) -> str:
    """Say how far a gene stands out."""
    figures = []
    for text, table in tables.items():
        if label in (table.dtype.names or ()) and place < len(table) and table.dtype[label].kind in "fiu":
            value = float(table[label][place])
            if np.isfinite(value):
                figures.append(f"{text} {value:.3g}")
    return ", ".join(figures)
