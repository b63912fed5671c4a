"""The least and the greatest value of X, from what TileDB knows of each tile where that is enough."""

from __future__ import annotations

from typing import Any

import numpy as np

from cxg.format.layout import VALUE
from cxg.format.matrix import query as reading
from cxg.format.matrix.handles import value_name
from cxg.format.matrix.open import Matrix
from cxg.storage.faults import translated


def extremes(x: Matrix) -> tuple[float, float]:
    """Find the least value and the greatest finite one, places where nothing is stored as 0.

    Reads what TileDB keeps with each tile; all of X where a writer left nothing of the kind, cells were written
    twice, or a value is infinite. A negative value ends the search: it is given as the least.

    Parameters
    ----------
    x : Matrix

    Returns
    -------
    low, high : float
        NaN is passed over, minus infinity is not; (inf, -inf) of a dense X without any finite value.

    Raises
    ------
    DatasetInvalid, StorageUnavailable
        X cannot be read.
    """
    low, high = (np.inf, -np.inf) if x.kind == "dense" else (0.0, 0.0)
    array = x.whole_array()
    known = _of_tiles(array) if array is not None else (np.nan, np.nan)
    if known[0] < 0 or np.isfinite(known).all():
        return min(low, known[0]), max(high, known[1])
    for values in x.iter_values():
        numbers = values[~np.isnan(values)]
        if not numbers.size:
            continue
        low = min(low, float(numbers.min()))
        if low < 0:
            break
        finite = numbers[np.isfinite(numbers)]
        high = max(high, float(finite.max())) if finite.size else high
    return low, high


def _of_tiles(array: Any) -> tuple[float, float]:
    """Extremes of an array that is open, infinite ones included; NaN where TileDB cannot tell."""
    attr = value_name(array)
    if attr != VALUE:  # an old name, by which TileDB-Py does not ask for more than values
        return np.nan, np.nan
    with translated("the expression matrix"):
        return reading.read_extremes(array, attr)
