"""Coordinates of cells as float32, converted from any stored type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.format import layout


def narrowed(values: NDArray[Any]) -> NDArray[np.float32]:
    """Narrow coordinates; subtract the minimum from those far from 0, since only differences are drawn.

    Parameters
    ----------
    values : (k, n) integer or float
        A row for each dimension.

    Returns
    -------
    (k, n) float32
    """
    if values.dtype == np.float32:
        return values
    out = np.empty(values.shape, np.float32)
    for dimension, row in enumerate(values):
        finite = row if row.dtype.kind in "iu" else row[np.isfinite(row)]
        low, high = (finite.min(), finite.max()) if finite.size else (0, 0)
        with np.errstate(over="ignore"):
            out[dimension] = row - low if layout.is_far(float(low), float(high)) else row
    return out
