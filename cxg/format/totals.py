"""Sums over all cells that a converter stored in a CXG, so that a comparison with all other cells reads only some."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.format import reading
from cxg.format.layout import TOTAL_SQUARES, TOTAL_SUM, TRANSFORM_KEY, TRANSFORM_LOG1P
from cxg.format.nearby import holding
from cxg.storage import translated


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all cells that a converter stored: `total`, `total_squares` (n_var,) float64.

    They are sums of f(x), f being ln(1+x) when `log1p`, else x itself.
    """

    total: NDArray[np.float64]
    total_squares: NDArray[np.float64]
    log1p: bool


def read_totals(array: Any, n_var: int) -> Totals | None:
    """Read the array `X_totals` and close it; None when it is somebody else's, of that name.

    Raises
    ------
    DatasetInvalid, StorageUnavailable
        It cannot be read.
    """
    names = [TOTAL_SUM, TOTAL_SQUARES]
    try:
        stored = {array.schema.attr(i).name for i in range(array.schema.nattr)}
        if array.schema.shape != (n_var,) or array.schema.sparse or not stored.issuperset(names):
            return None
        with translated("X_totals"):
            meta = dict(array.meta)
            values = reading.read(holding(array, names), names, [[(0, n_var - 1)]], reading.ROW_MAJOR)
    finally:
        array.close()
    return Totals(values[TOTAL_SUM], values[TOTAL_SQUARES], meta.get(TRANSFORM_KEY) == TRANSFORM_LOG1P)
