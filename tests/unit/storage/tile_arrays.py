"""Sparse arrays of one fragment with any filters, as other writers of CXGs make them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tiledb
from scipy import sparse

LINES, OTHERS = 1200, 700
_PLAIN = (tiledb.ByteShuffleFilter(), tiledb.ZstdFilter(3))


@cache
def matrix() -> Any:
    """Make a matrix of LINES x OTHERS with some 20,000 values, few different ones; some lines have none."""
    found = sparse.random(LINES, OTHERS, 0.025, "csr", np.float32, np.random.default_rng(1))
    found.data = np.round(found.data * 8 + 1)
    kept = sparse.diags((np.arange(LINES) % 100 != 5).astype(np.float32))
    found = (kept @ found).tocsr().astype(np.float32)
    found.eliminate_zeros()
    found.sort_indices()
    return found


def write(
    path: Path,
    types: Sequence[str] = ("u4", "u4", "f4"),
    dim: Sequence[Any] = _PLAIN,
    other: Sequence[Any] = _PLAIN,
    *,
    nullable: bool = False,
    n_dims: int = 1,
) -> Path:
    """Write `matrix` by lines: types and filters of the coordinate `obs`, of `var` and of the values (as zstd)."""
    coo = matrix().tocoo()
    kinds = [np.dtype(name) for name in types]
    dims = [tiledb.Dim("obs", domain=(0, LINES - 1), tile=64, dtype=kinds[0], filters=tiledb.FilterList(list(dim)))]
    if n_dims == 2:
        dims.append(tiledb.Dim("second", domain=(0, OTHERS - 1), tile=64, dtype=kinds[0]))
    attrs = [
        tiledb.Attr("", dtype=kinds[2], filters=tiledb.FilterList([tiledb.ZstdFilter(3)]), nullable=nullable),
        tiledb.Attr("var", dtype=kinds[1], filters=tiledb.FilterList(list(other))),
    ]
    schema = tiledb.ArraySchema(tiledb.Domain(*dims), attrs, sparse=True, allows_duplicates=True, capacity=5_000)
    tiledb.Array.create(str(path), schema)
    at = [coo.row.astype(kinds[0]), coo.col.astype(kinds[0])][:n_dims]
    with tiledb.open(str(path), "w") as array:
        array[tuple(at)] = {"": coo.data.astype(kinds[2]), "var": coo.col.astype(kinds[1])}
    return path
