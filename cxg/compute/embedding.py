"""An embedding, scaled for drawing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
# Rows scaled at a time, in double precision: they stay in the processor's cache.
_ROWS = 1 << 14


def scale_embedding(xy: NDArray[Any]) -> FloatArray:
    """Scale coordinates into the unit square that the client draws.

    The longer side fills [0, 1], the shorter is centred and keeps its proportion.

    Parameters
    ----------
    xy : (n_obs, 2) float
        Coordinates; NaN hides a cell.

    Returns
    -------
    (n_obs, 2) float32
        In Fortran order, so that each dimension is contiguous. NaN where a coordinate was not
        finite; 0.5 everywhere if all points are the same.
    """
    out: FloatArray = np.empty(xy.shape, np.float32, order="F")
    low, side, is_finite = _extent(xy)
    longest = np.fmax.reduce(side)
    for dimension in (0, 1):
        for start in range(0, len(xy), _ROWS):
            part = xy[start : start + _ROWS, dimension].astype(np.float64)
            if not is_finite:
                part[np.isinf(part)] = np.nan
            if longest > 0:
                part -= low[dimension]
                part /= longest
                part += 0.5 - side[dimension] / (2 * longest)
            else:
                part[~np.isnan(part)] = 0.5
            out[start : start + _ROWS, dimension] = part
    return out


def _extent(xy: NDArray[Any]) -> tuple[list[float], list[float], bool]:
    """Find each dimension's least finite coordinate, the distance to the largest, and whether all are finite."""
    low, side, is_finite = [np.nan, np.nan], [np.nan, np.nan], True
    for dimension in (0, 1):
        values = xy[:, dimension]
        # A sum is finite only if all its summands are.
        if not np.isfinite(values.sum(dtype=np.float64)):
            is_finite = False
            values = values[np.isfinite(values)]
        if len(values):
            low[dimension] = float(values.min())
            side[dimension] = float(values.max()) - low[dimension]
    return low, side, is_finite
