"""Sums over all cells that a converter stored beside X, so that a set against the rest reads only the set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.format.layout import MIN_KEY, TOTAL_SQUARES, TOTAL_SUM, TRANSFORM_KEY, TRANSFORM_LOG1P
from cxg.format.local_array import read_from
from cxg.format.matrix import query as reading
from cxg.storage.faults import translated


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all cells that a converter stored: `total`, `total_squares` (n_var,) float64.

    They are sums of f(x), f being ln(1+x) when `log1p`, else x itself.
    """

    total: NDArray[np.float64]
    total_squares: NDArray[np.float64]
    log1p: bool

    @property
    def is_certain(self) -> bool:
        """Tell whether `log1p` needs no look at X: a logarithm that is not finite may be that of minus infinity."""
        return not self.log1p or bool(np.isfinite(self.total).all())


def read_totals(array: Any, n_var: int) -> Totals | None:
    """Read the array `X_totals`, and close it.

    Parameters
    ----------
    array : tiledb.Array
        It must be open for reading.
    n_var : int
        Number of genes of the dataset.

    Returns
    -------
    Totals, or None
        None for an array of that name that is somebody else's, and for logarithms of negative values.

    Raises
    ------
    DatasetInvalid, StorageUnavailable
        It cannot be read.
    """
    names, ranges = [TOTAL_SUM, TOTAL_SQUARES], [[(0, n_var - 1)]]
    try:
        stored = {array.schema.attr(i).name for i in range(array.schema.nattr)}
        if array.schema.shape != (n_var,) or array.schema.sparse or not stored.issuperset(names):
            return None
        with translated("X_totals"):
            meta = reading.read_meta(array)
            values = read_from(array, names, lambda one: reading.read(one, names, ranges, reading.ROW_MAJOR))
    finally:
        array.close()
    log1p = meta.get(TRANSFORM_KEY) == TRANSFORM_LOG1P
    # The first converter took any wide range for counts, with negative values too.
    if log1p and not _is_at_least_0(meta.get(MIN_KEY)):
        return None
    return Totals(values[TOTAL_SUM], values[TOTAL_SQUARES], log1p)


def _is_at_least_0(value: object) -> bool:
    return isinstance(value, float | int | np.number) and bool(value >= 0)
