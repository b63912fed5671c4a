"""Mean and fraction of cells above zero, by group of cells; added up slice by slice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

SLICE_VALUES = 250_000
"""Cells per call into numpy: they fit the processor's cache, and other threads soon get a turn."""


def count_cells(codes: NDArray[Any], n_groups: int) -> IntArray:
    """Count the cells of each group.

    Parameters
    ----------
    codes : (n_obs,) integer
        Group of each cell; below zero or beyond the last group is none.

    Returns
    -------
    (n_groups,) int64
    """
    counts = np.zeros(n_groups, np.int64)
    for start in range(0, len(codes), SLICE_VALUES):
        part = _places(codes[start : start + SLICE_VALUES], n_groups)
        counts += np.bincount(part, minlength=n_groups + 1)[:n_groups]
    return counts


def means_and_fractions(
    codes: NDArray[Any], counts: IntArray, values: NDArray[np.float32]
) -> tuple[FloatArray, FloatArray]:
    """Compute the mean of a gene in each group, and the fraction of the group's cells with a value above zero.

    Parameters
    ----------
    codes : (n_obs,) integer
        Group of each cell, as in `count_cells`.
    counts : (n_groups,) int64
        Cells of each group.
    values : (n_obs,) float32
        Expression of one gene; NaN is not above zero, and makes the mean of its group NaN.

    Returns
    -------
    means, fractions : (n_groups,) float64
        NaN for a group without cells.
    """
    n_groups = len(counts)
    total, above = np.zeros(n_groups), np.zeros(n_groups, np.int64)
    for start in range(0, len(codes), SLICE_VALUES):
        part = _places(codes[start : start + SLICE_VALUES], n_groups)
        numbers = values[start : start + SLICE_VALUES]
        with np.errstate(all="ignore"):
            total += np.bincount(part, numbers, n_groups + 1)[:n_groups]
            above += np.bincount(part[numbers > 0], minlength=n_groups + 1)[:n_groups]
    with np.errstate(all="ignore"):
        return total / counts, above / counts


def _places(codes: NDArray[Any], n_groups: int) -> NDArray[np.intp]:
    """Return codes as array positions; cells of no group get the position behind the last one."""
    places = codes.astype(np.intp)
    places[(places < 0) | (places > n_groups)] = n_groups
    return places
