"""What is asked: URLs as the web client forms them, sets of cells, and the visitors' mix of requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

# Columns that the generator writes; the other six are integers, flags and text.
CATEGORICAL = ("cell_type", "donor", "tissue", "assay", "batch", "phase")
FLOATS = ("score_s", "score_g2m", "percent_mito")
VISITED = (*CATEGORICAL, *FLOATS, "n_reads", "plate_row", "is_doublet", "passed_qc", "barcode", "note")
EMBEDDINGS = ("umap", "pca")
GENES_PER_SET = 20
GENE, OBS, EMBEDDING = "gene", "obs", "embedding"
_MIX = ((GENE, 0.7), (OBS, 0.2), (EMBEDDING, 0.1))


def _twice(text: str) -> str:
    """Percent-encode two times, as the web client does with names in filters."""
    return quote(quote(text, safe="!'()*-._~"), safe="!'()*-._~")


class Questions:
    """URLs for one server.

    Parameters
    ----------
    api : path of the API, with a slash at the end
    index : name of the var column that holds gene names, from the schema
    n_cells, n_genes : size of the dataset; gene i is called GENEi
    """

    def __init__(self, api: str, index: str, n_cells: int, n_genes: int) -> None:
        self.api, self.n_cells, self.n_genes = api, n_cells, n_genes
        self._index = _twice(index)

    def column(self, name: str) -> str:
        return f"{self.api}annotations/obs?annotation-name={quote(name)}"

    def embedding(self, name: str) -> str:
        return f"{self.api}layout/obs?layout-name={quote(name)}"

    def gene(self, number: int) -> str:
        return f"{self.api}data/var?var:{self._index}=GENE{number}"

    def mean(self, numbers: list[int]) -> str:
        genes = "&".join(f"var:{self._index}=GENE{number}" for number in numbers)
        return f"{self.api}summarize/var?method=mean&{genes}"

    def genes_in_order(self, seed: int) -> list[int]:
        """All genes in a seeded random order."""
        return [int(i) for i in np.random.default_rng([seed, 1]).permutation(self.n_genes)]

    def visits(self, seed: int, genes: list[int], *, again: bool) -> Iterator[tuple[str, str]]:
        """Yield (kind, URL) in the visitors' mix: 70 % genes, 20 % obs columns, 10 % embeddings.

        Parameters
        ----------
        again : choose among `genes` for ever; else each of them comes once, and then it ends
        """
        rng = np.random.default_rng([seed, 2])
        kinds, shares = zip(*_MIX, strict=True)
        fresh = iter(genes)
        while True:
            for kind in rng.choice(kinds, 1000, p=shares):
                if kind == OBS:
                    yield OBS, self.column(VISITED[rng.integers(len(VISITED))])
                elif kind == EMBEDDING:
                    yield EMBEDDING, self.embedding(EMBEDDINGS[rng.integers(len(EMBEDDINGS))])
                else:
                    number = genes[rng.integers(len(genes))] if again else next(fresh, None)
                    if number is None:
                        return
                    yield GENE, self.gene(number)


Cells = NDArray[np.int64]


def random_sets(n_cells: int, size: int, seed: int) -> tuple[Cells, Cells]:
    """Two disjoint random sets of `size` cells, sorted."""
    chosen = np.random.default_rng([seed, 3, size]).permutation(n_cells)[: 2 * size]
    return np.sort(chosen[:size]), np.sort(chosen[size:])


def contiguous_sets(n_cells: int, size: int, seed: int) -> tuple[Cells, Cells]:
    """Two runs of `size` neighbouring cells, one in each half."""
    half = n_cells // 2
    first, second = np.random.default_rng([seed, 4, size]).integers(0, max(1, half - size), 2)
    return np.arange(first, first + size), np.arange(half + second, half + second + size)


def set_and_rest(n_cells: int, size: int, seed: int) -> tuple[Cells, Cells]:
    """A random set of `size` cells, and all the others."""
    chosen = np.zeros(n_cells, bool)
    chosen[np.random.default_rng([seed, 5, size]).permutation(n_cells)[:size]] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def diffexp_body(first: Cells, second: Cells) -> bytes:
    """Body of POST diffexp/obs as the web client sends it."""

    def cells(which: Cells) -> dict[str, Any]:
        return {"filter": {"obs": {"index": which.tolist()}}}

    wanted = {"mode": "topN", "count": 50, "set1": cells(first), "set2": cells(second)}
    return json.dumps(wanted, separators=(",", ":")).encode()
