"""What X looks like: extremes, signs, whole numbers, and the sums per gene that a CXG keeps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.format import layout

_SAMPLE = 4096


@dataclass
class MatrixStats:
    """Statistics of the stored entries, gathered block by block.

    Attributes
    ----------
    nnz, n_nan, n_inf, n_negative : int
        Entries other than zero, and how many of them are NaN, infinite or below zero.
    low, high : float
        Extremes of the finite entries; infinities when there are none.
    whole : bool
        Every finite entry is a whole number.
    """

    nnz: int = 0
    n_nan: int = 0
    n_inf: int = 0
    n_negative: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    whole: bool = True
    _seen: bool = field(default=False, repr=False)

    def add(self, values: NDArray[np.float32]) -> None:
        """Take in the entries of one block."""
        self.nnz += values.size
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if not low >= 0:  # minus infinity is negative too, and NaN hides what is
            self.n_negative += int(np.count_nonzero(values < 0))
        if not (np.isfinite(low) and np.isfinite(high)):
            self.n_nan += int(np.count_nonzero(np.isnan(values)))
            self.n_inf += int(np.count_nonzero(np.isinf(values)))
            values = values[np.isfinite(values)]
            if not values.size:
                return
            low, high = float(values.min()), float(values.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        # Most matrices show a fraction within the first few entries.
        self.whole = self.whole and _is_whole(values[:_SAMPLE]) and _is_whole(values)

    def extremes(self, cells: int) -> tuple[float, float]:
        """Return the smallest and largest finite value of the whole matrix of `cells` cells, absent entries as 0."""
        low, high = self.low, self.high
        if self.nnz < cells or low > high:
            low, high = min(low, 0.0), max(high, 0.0)
        return low, high

    def look_like_counts(self, cells: int) -> bool:
        """Tell whether the whole matrix of `cells` cells is to be log-transformed: a wide range, no negative value."""
        return not self.n_negative and layout.looks_like_counts(*self.extremes(cells))


def _is_whole(values: NDArray[np.float32]) -> bool:
    return bool(np.array_equal(values, np.rint(values)))


class GeneTotals:
    """Sum and sum of squares of f(x) for each gene, in float64.

    Parameters
    ----------
    n_var : int
    log1p : bool, or None
        Whether f is ln(1+x); None while that is not known yet, then both are summed.
    """

    def __init__(self, n_var: int, log1p: bool | None) -> None:
        self._wanted = (False, True) if log1p is None else (log1p,)
        self._sums = {which: np.zeros((2, n_var)) for which in self._wanted}

    def add(self, start: int, indptr: NDArray[Any], values: NDArray[np.float32]) -> None:
        """Take in consecutive genes, `start` first, whose entries are `values[indptr[i]:indptr[i+1]]`."""
        filled = np.flatnonzero(np.diff(indptr))
        if not filled.size:
            return
        for which in self._wanted:
            numbers = values.astype(np.float64)
            if which:
                with np.errstate(invalid="ignore", divide="ignore"):
                    np.log1p(numbers, out=numbers)
            first = indptr[filled]
            self._sums[which][0, start + filled] += np.add.reduceat(numbers, first)
            numbers *= numbers
            self._sums[which][1, start + filled] += np.add.reduceat(numbers, first)

    def result(self, log1p: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sums and sums of squares of ln(1+x) or of x, (n_var,) each."""
        both = self._sums[log1p]
        return both[0], both[1]
