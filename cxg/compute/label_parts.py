"""A set of cells as whole labels of one column, and the cells by which it differs from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IndexArray = NDArray[np.int64]
# A sample of this many cells finds the columns that fit a set best; the best few are then compared in full.
_SAMPLE, _BEST = 8_192, 3


@dataclass(frozen=True, slots=True)
class LabelledCells:
    """A categorical column: (n_obs,) code of each cell, (labels,) how many cells each label has."""

    codes: NDArray[Any]
    counts: IndexArray


@dataclass(frozen=True, slots=True)
class LabelParts:
    """A set of cells, taken apart.

    Attributes
    ----------
    column : int
        Position of the column that is used.
    labels : (k,) int64, sorted labels that are taken whole; without any the set is best read as it is
    missing : IndexArray
        Cells of the set that have other labels, sorted.
    surplus : IndexArray
        Cells that have those labels and are not in the set, sorted.
    """

    column: int
    labels: IndexArray
    missing: IndexArray
    surplus: IndexArray


def take_apart(
    cells: IndexArray, columns: Sequence[LabelledCells], label_cost: float, *, only_whole: bool = False
) -> LabelParts:
    """Find the column and the labels that leave least to read.

    Parameters
    ----------
    cells : (k,) sorted, unique
    label_cost : float
        What reading the sums of one label takes, as a number of cells.
    only_whole : bool
        Use no label of which a cell is not in the set, so that nothing is subtracted.
    """
    nothing = np.zeros(0, np.int64)
    sample = cells[:: max(1, len(cells) // _SAMPLE)]
    share = len(sample) / max(1, len(cells))
    guesses = [_cost(_overlap(column, sample) / share, column.counts, label_cost) for column in columns]
    best, least = LabelParts(0, nothing, cells, nothing), float(len(cells))
    for position in np.argsort(guesses, kind="stable")[:_BEST].tolist():
        column = columns[position]
        inside = _overlap(column, cells)
        if only_whole:
            inside[inside < column.counts] = 0
        cost = _cost(inside, column.counts, label_cost)
        if cost < least:
            labels = np.flatnonzero(_saved(inside, column.counts, label_cost) > 0)
            best, least = _parts(cells, column, position, labels, int((column.counts - inside)[labels].sum())), cost
    return best


def _overlap(column: LabelledCells, cells: IndexArray) -> NDArray[Any]:
    return np.bincount(column.codes[cells], minlength=len(column.counts))


def _saved(inside: NDArray[Any], counts: IndexArray, label_cost: float) -> NDArray[Any]:
    """Cells that need not be read when a label's sums are: those it shares with the set, less those it has beside."""
    saved: NDArray[Any] = inside - (counts - inside) - label_cost
    return saved


def _cost(inside: NDArray[Any], counts: IndexArray, label_cost: float) -> float:
    saved = _saved(inside, counts, label_cost)
    return float(inside.sum() - saved[saved > 0].sum())


def _parts(cells: IndexArray, column: LabelledCells, position: int, labels: IndexArray, n_surplus: int) -> LabelParts:
    chosen = np.zeros(len(column.counts), np.bool_)
    chosen[labels] = True
    missing, surplus = cells[~chosen[column.codes[cells]]], np.zeros(0, np.int64)
    if n_surplus:
        others = chosen[column.codes]
        others[cells] = False
        surplus = np.flatnonzero(others)
    return LabelParts(position, labels, missing, surplus)
