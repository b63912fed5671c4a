"""Summaries of cells: the mean over a set of genes, an embedding scaled for drawing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_SLICE = 1_000_000
"""Elements handled per call into numpy, after which other threads get a turn."""


class GeneSum:
    """Sum over genes in each cell, collected block by block, to keep large gene sets out of memory.

    Parameters
    ----------
    n_obs : int
        Number of cells.

    Attributes
    ----------
    total : (n_obs,) float64
        The sum so far.
    """

    def __init__(self, n_obs: int) -> None:
        self.n_obs = n_obs
        self.total: NDArray[np.float64] = np.zeros(n_obs)

    def add_sparse(self, obs: NDArray[Any], value: NDArray[Any]) -> None:
        """Add the stored values of some genes; what is not stored is zero.

        Parameters
        ----------
        obs : (k,) integer
            Cell of each value, below n_obs, in any order.
        value : (k,) float32
            The values.
        """
        for start in range(0, len(obs), _SLICE):
            cells = obs[start : start + _SLICE].astype(np.intp)
            self.total += np.bincount(cells, value[start : start + _SLICE], self.n_obs)

    def add_columns(self, values: NDArray[Any]) -> None:
        """Add every value of some genes.

        Parameters
        ----------
        values : (n_obs, k) float32
            One column for each gene; best in Fortran order.
        """
        with np.errstate(invalid="ignore"):  # infinities of both signs
            for k in range(values.shape[1]):
                self.total += values[:, k]

    def mean(self, n_genes: int) -> FloatArray:
        """Mean over the genes added.

        Parameters
        ----------
        n_genes : int
            Number of genes; without any the mean is 0.

        Returns
        -------
        (n_obs,) float32
        """
        with np.errstate(over="ignore"):
            return (self.total / max(1, n_genes)).astype(np.float32)


def mean_columns(values: NDArray[Any]) -> FloatArray:
    """Mean of each row, summed in float64.

    Parameters
    ----------
    values : (n_obs, k) float32
        One column for each gene. NaN makes the cell's mean NaN.

    Returns
    -------
    (n_obs,) float32
        Zeros if there is no column.
    """
    total = GeneSum(values.shape[0])
    total.add_columns(values)
    return total.mean(values.shape[1])


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
