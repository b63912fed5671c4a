"""Differential expression of one dataset: from two sets of cells to the JSON answer."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from cxg.compute.diffexp import Moments, diffexp
from cxg.format.dataset import Dataset
from cxg.format.matrix import SparseBlock


def compare(opened: Dataset, set1: NDArray[np.int64], set2: NDArray[np.int64], top_n: int, lfc_cutoff: float) -> bytes:
    """Compare two sets of cells, (k,) sorted positions each; the answer as strict JSON.

    Where the sets make up the whole dataset and the CXG holds sums over all cells, only the
    smaller set is read.

    Raises
    ------
    DatasetInvalid, StorageUnavailable
        Expression cannot be read.
    """
    log1p = opened.looks_like_counts
    whole = _whole(opened, set1, set2)
    if whole is not None:
        smaller = _moments(opened, min(set1, set2, key=len), log1p)
        rest = whole.minus(smaller)
        moments = (smaller, rest) if len(set1) <= len(set2) else (rest, smaller)
    else:
        moments = (_moments(opened, set1, log1p), _moments(opened, set2, log1p))
    found = diffexp(*moments, top_n, lfc_cutoff)
    return json.dumps({"positive": found.positive, "negative": found.negative}, allow_nan=False).encode()


def _moments(opened: Dataset, cells: NDArray[np.int64], log1p: bool) -> Moments:
    moments = Moments(opened.n_var, len(cells), log1p=log1p)
    for block in opened.iter_X_rows(cells):
        if isinstance(block, SparseBlock):
            moments.add_sparse(block.var, block.value)
        else:
            moments.add_dense(block.values)
    return moments


def _whole(opened: Dataset, set1: NDArray[np.int64], set2: NDArray[np.int64]) -> Moments | None:
    """Moments of all cells, when the sets split them in two and the sums are stored."""
    if len(set1) + len(set2) != opened.n_obs or opened.totals is None:
        return None
    if np.intersect1d(set1, set2, assume_unique=True).size:
        return None
    whole = Moments(opened.n_var, opened.n_obs, log1p=opened.totals.log1p)
    whole.total, whole.total_squares = opened.totals.total, opened.totals.total_squares
    return whole if whole.is_finite else None
