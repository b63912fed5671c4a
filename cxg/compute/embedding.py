"""An embedding, scaled for drawing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]


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
    # Dimension by dimension: numpy is ten times slower along pairs than along contiguous numbers.
    points = np.array(xy.T, dtype=np.float64, order="C")
    finite = np.isfinite(points)
    if not finite.all():
        points[~finite] = np.nan
    # fmin and fmax pass over NaN, without a warning where there is nothing else
    low = np.fmin.reduce(points, axis=1, initial=np.nan, keepdims=True)
    side = np.fmax.reduce(points, axis=1, initial=np.nan, keepdims=True) - low
    longest = np.fmax.reduce(side, axis=None)
    if longest > 0:
        points -= low
        points /= longest
        points += 0.5 - side / (2 * longest)
    else:
        points[finite] = 0.5
    return points.astype(np.float32).T
