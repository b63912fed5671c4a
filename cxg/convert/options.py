"""The choices of the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Choices for one conversion; the defaults are those of `cxg convert`.

    Attributes
    ----------
    title, about : str or None
        Shown by the web client; None takes the title from the file, or its name.
    obs_names, var_names : str or None
        Column to use as the names of cells or genes instead of the index.
    layer : str or None
        Take X from this layer.
    raw : bool
        Take X and var from `raw`.
    make_unique : bool
        Number repeated names instead of refusing them.
    custom_colors : bool
        Keep the colours in `uns`.
    sparse_threshold : float
        Per cent of non-zeros at which X is written as one dense array; 100 never does.
    gene_sets : Path or None
        File of gene sets, `.csv` or `.gmt`, to store.
    markers : int
        Genes to take for each group of `uns["rank_genes_groups"]`; 0 takes none.
    """

    title: str | None = None
    about: str | None = None
    obs_names: str | None = None
    var_names: str | None = None
    layer: str | None = None
    raw: bool = False
    make_unique: bool = False
    custom_colors: bool = True
    sparse_threshold: float = 100.0
    gene_sets: Path | None = None
    markers: int = 20
