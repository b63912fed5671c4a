"""Differential expression: finds the genes that separate two sets of cells.

It makes a t-test for each gene from sums and sums of squares alone, so that the cells can be read in
blocks of any size. Method and answer are those of cellxgene 1.3.0, computed in float64 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.errors import DatasetInvalid

FloatArray = NDArray[np.float64]
Entry = tuple[int, float, float, float]
"""Gene position, difference of means, p, adjusted p; all finite."""

SLICE_VALUES = 250_000
"""Elements per call into numpy: they fit the processor's cache, and other threads soon get a turn."""
_ROUNDING = 1e-12
"""Differences below this, relative to the sums they come from, are rounding and count as zero."""

_KEPT_SHARE = 1e-4
"""A spread above this share of the squares that it was subtracted from has lost 4 digits of 14, and no more."""


class Moments:
    """Sum and sum of squares of each gene over a set of cells, collected block by block.

    NaN and infinite values make the sums of their gene non-finite, which `diffexp` handles.

    Parameters
    ----------
    n_var : int
        Number of genes.
    n : int
        Number of cells in the set; known beforehand, not counted here.
    log1p : bool
        Collect ln(1 + x) instead of x, as is done for data that look like counts.
    slice_values : int
        Values that are added up at a time.

    Attributes
    ----------
    total, total_squares : (n_var,) float64
        The sums so far; cells without a stored value count as zero.
    """

    def __init__(self, n_var: int, n: int = 0, log1p: bool = False, slice_values: int = SLICE_VALUES) -> None:
        self._slice_values = slice_values
        self.n_var = n_var
        self.n = n
        self.log1p = log1p
        self.total: FloatArray = np.zeros(n_var)
        self.total_squares: FloatArray = np.zeros(n_var)

    def add_sparse(self, var: NDArray[Any], value: NDArray[Any]) -> None:
        """Add the stored values of some cells; values that are not stored are zero.

        Parameters
        ----------
        var : (k,) integer
            Gene of each value, in any order, repeats allowed.
        value : (k,) float32
            The values.

        Raises
        ------
        DatasetInvalid
            A value belongs to a gene that does not exist.
        """
        for start in range(0, len(var), self._slice_values):
            genes = var[start : start + self._slice_values]
            # Checked before bincount, which would allocate an array as long as the largest number.
            if int(genes.max()) >= self.n_var or int(genes.min()) < 0:
                raise DatasetInvalid(f"X has a value for a gene beyond the {self.n_var} genes of var.")
            genes = genes.astype(np.intp)
            values = self._transformed(value[start : start + self._slice_values])
            with np.errstate(all="ignore"):
                self.total += np.bincount(genes, values, self.n_var)
                self.total_squares += np.bincount(genes, values * values, self.n_var)

    def add_dense(self, block: NDArray[Any]) -> None:
        """Add whole cells.

        Parameters
        ----------
        block : (rows, n_var) float32
            Every value of some cells.
        """
        rows = max(1, self._slice_values // max(1, self.n_var))
        for start in range(0, len(block), rows):
            values = self._transformed(block[start : start + rows])
            with np.errstate(all="ignore"):
                self.total += values.sum(axis=0)
                self.total_squares += np.einsum("ij,ij->j", values, values)

    def add(self, other: Moments) -> None:
        """Add the moments of other cells, collected with the same transformation."""
        self.n += other.n
        with np.errstate(all="ignore"):
            self.total += other.total
            self.total_squares += other.total_squares

    def _transformed(self, values: NDArray[Any]) -> FloatArray:
        numbers = values.astype(np.float64)
        if self.log1p:
            with np.errstate(all="ignore"):  # below -1 there is no logarithm; `diffexp` handles the NaN
                np.log1p(numbers, out=numbers)
        return numbers

    @property
    def is_finite(self) -> bool:
        """Tell whether no gene had NaN or infinity; only then does `minus` give the same as adding."""
        return bool(np.isfinite(self.total).all() and np.isfinite(self.total_squares).all())

    def minus(self, other: Moments) -> Moments:
        """Compute the moments of the cells in this set that are not in a subset of it.

        Reading the smaller part and subtracting it from the whole saves reading the larger part.

        Parameters
        ----------
        other : Moments
            Of a subset of these cells, with the same transformation.

        Returns
        -------
        Moments
            Right only where `is_finite` holds for this set.
        """
        rest = Moments(self.n_var, self.n - other.n, self.log1p)
        with np.errstate(invalid="ignore"):
            rest.total = self.total - other.total
            rest.total_squares = self.total_squares - other.total_squares
        # For a gene without values, the difference of two large sums is only rounding.
        nothing = np.abs(rest.total_squares) <= _ROUNDING * self.total_squares
        rest.total[nothing] = 0
        rest.total_squares[nothing] = 0
        return rest

    def keeps_digits(self, whole: Moments) -> bool:
        """Tell whether what `whole.minus` gave, this set, is as good as adding up its cells.

        The sums of the whole are off by some 1e-14 of themselves, and what is left keeps that error. A gene's variance
        is what counts: the spread of its values here must not be small beside the squares of the whole. Genes of which
        nothing is left are zero.
        """
        with np.errstate(all="ignore"):
            spread = self.total_squares - self.total * (self.total / np.float64(self.n))
        return bool(((spread >= _KEPT_SHARE * whole.total_squares) | (self.total_squares == 0)).all())

    def means(self, genes: Sequence[int]) -> FloatArray:
        """Compute the means of some genes, (k,) float64; one that is not finite is 0."""
        with np.errstate(all="ignore"):
            return _finite_or_zero(self.total[list(genes)] / np.float64(self.n))

    def mean_and_variance(self) -> tuple[FloatArray, FloatArray]:
        """Compute mean and variance of each gene.

        Returns
        -------
        mean, variance : (n_var,) float64
            Variance with divisor n - 1; anything that is not finite is 0.
        """
        with np.errstate(all="ignore"):
            mean = self.total / np.float64(self.n)
            spread = self.total_squares - self.total * mean
            spread[spread <= _ROUNDING * self.total_squares] = 0
            variance = spread / np.float64(self.n - 1)
        return _finite_or_zero(mean), _finite_or_zero(variance)


@dataclass(frozen=True, slots=True)
class DiffexpResult:
    """Genes that stand out.

    Attributes
    ----------
    positive : list of (var, lfc, p, padj)
        Higher in the first set, largest t first.
    negative : list of (var, lfc, p, padj)
        Higher in the second set, most negative t first.
    """

    positive: list[Entry]
    negative: list[Entry]


def diffexp(a: Moments, b: Moments, top_n: int, lfc_cutoff: float) -> DiffexpResult:
    """Rank genes by a t-test between two sets of cells.

    Both variances are divided by the size of the smaller set. Welch's test would divide each by its
    own; 1.3.0 overestimates on purpose, and the order of genes depends on it.

    Genes whose means differ by no more than `lfc_cutoff` are left out if more than ``2 * top_n``
    others remain. Of the genes ranked by t, the first `top_n` and the last `top_n` are returned,
    whatever their sign. Differences from 1.3.0: equal t are ordered by position; `top_n` may reach
    the number of genes; and no gene is in both lists. If the lists would overlap, they are cut where
    the sign of t changes, or as near to it as `top_n` allows.

    Parameters
    ----------
    a, b : Moments
        Of the two sets.
    top_n : int
        Length of each list; 0 or less gives empty lists.
    lfc_cutoff : float
        Least difference of means, exclusive.

    Returns
    -------
    DiffexpResult
    """
    mean_a, variance_a = a.mean_and_variance()
    mean_b, variance_b = b.mean_and_variance()
    lfc = mean_a - mean_b
    lfc[np.abs(lfc) <= _ROUNDING * (np.abs(mean_a) + np.abs(mean_b))] = 0
    with np.errstate(all="ignore"):
        share_a = variance_a / np.float64(min(a.n, b.n))
        share_b = variance_b / np.float64(min(a.n, b.n))
        t = lfc / np.sqrt(share_a + share_b)
    t[np.isnan(t)] = 0  # equal means without variance; infinity stays and gives p = 0
    first, last = _ranked(t, lfc, max(0, min(top_n, a.n_var)), lfc_cutoff)
    genes = np.concatenate([first, last])
    p = _p_values(t[genes], share_a[genes], share_b[genes], a.n, b.n)
    adjusted = np.minimum(1.0, p * a.n_var)
    entries = list(zip(genes.tolist(), lfc[genes].tolist(), p.tolist(), adjusted.tolist(), strict=True))
    return DiffexpResult(entries[: len(first)], entries[len(first) :])


def _ranked(t: FloatArray, lfc: FloatArray, top_n: int, lfc_cutoff: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Select the genes with the largest t and those with the smallest, each list with its extreme first."""
    pool = np.flatnonzero(np.abs(lfc) > lfc_cutoff)
    if len(pool) <= 2 * top_n:
        pool = np.arange(len(t))
    order = pool[np.argsort(-t[pool], kind="stable")]
    n_first = n_last = top_n
    if 2 * top_n > len(order):
        n_first = min(max(int(np.count_nonzero(t[order] >= 0)), len(order) - top_n), top_n)
        n_last = len(order) - n_first
    # Sorting positions before t keeps equal t in the order of positions here too.
    last = np.sort(order[len(order) - n_last :])
    return order[:n_first], last[np.argsort(t[last], kind="stable")]


def _p_values(t: FloatArray, share_a: FloatArray, share_b: FloatArray, n_a: int, n_b: int) -> FloatArray:
    """Compute the two-sided p of genes; only of those returned, as this is the expensive step."""
    # Imported here because it takes longer than the rest of a server's start (0.1 s, 20 MB) and
    # many servers never need it.
    from scipy.special import stdtr

    with np.errstate(all="ignore"):
        pooled = share_a + share_b
        freedom = pooled**2 / (share_a**2 / np.float64(n_a - 1) + share_b**2 / np.float64(n_b - 1))
    freedom[~np.isfinite(freedom)] = 1
    p: FloatArray = 2 * stdtr(freedom, -np.abs(t))
    p[np.isinf(t)] = 0
    return np.nan_to_num(p, nan=1.0)


def _finite_or_zero(values: FloatArray) -> FloatArray:
    values[~np.isfinite(values)] = 0
    return values
