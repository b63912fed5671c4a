"""How a set of cells is taken apart into whole labels and a rest."""

import numpy as np
import pytest

from cxg.compute.label_parts import LabelledCells, take_apart

N = 400
RNG = np.random.default_rng(3)
CODES = [RNG.integers(0, 3, N).astype(np.int8), np.sort(RNG.integers(0, 20, N)).astype(np.int16)]
COLUMNS = [LabelledCells(codes, np.bincount(codes, minlength=n)) for codes, n in zip(CODES, (4, 20), strict=True)]


def without(cells, n):
    return np.delete(cells, np.arange(n) * 2)


def with_others(cells, n):
    return np.union1d(cells, np.setdiff1d(np.arange(N), cells)[:n])


FIRST, OTHER = np.flatnonzero(CODES[0] == 1), np.flatnonzero(CODES[1] == 7)
SETS = {
    "a label": (FIRST, 0, [1], 0, 0),
    "a label of the other column": (OTHER, 1, [7], 0, 0),
    "a label and 3 cells": (with_others(FIRST, 3), 0, [1], 3, 0),
    "a label but 3 cells": (without(FIRST, 3), 0, [1], 0, 3),
    "labels": (np.flatnonzero(CODES[1] >= 12), 1, list(range(12, 20)), 0, 0),
    "all cells": (np.arange(N), 0, [0, 1, 2], 0, 0),
    "all cells but 2": (without(np.arange(N), 2), 0, [0, 1, 2], 0, 2),
    "few cells": (np.array([3, 50, 390]), 0, [], 3, 0),
}


@pytest.mark.parametrize("name", SETS)
def test_taken_apart(name):
    cells, column, labels, missing, surplus = SETS[name]
    parts = take_apart(cells, COLUMNS, 1)
    assert parts.labels.tolist() == labels
    assert (len(parts.missing), len(parts.surplus)) == (missing, surplus)
    assert not labels or parts.column == column
    together(cells, parts)


def together(cells, parts):
    """The parts are the set again."""
    whole = np.flatnonzero(np.isin(CODES[parts.column], parts.labels))
    assert not np.intersect1d(whole, parts.missing).size
    assert np.isin(parts.surplus, whole).all()
    np.testing.assert_array_equal(np.union1d(np.setdiff1d(whole, parts.surplus), parts.missing), cells)


@pytest.mark.parametrize("seed", range(20))
def test_any_set(seed):
    rng = np.random.default_rng(seed)
    cells = np.flatnonzero(rng.random(N) < rng.choice([0.02, 0.4, 0.6, 0.98]))
    cells = np.union1d(cells, np.flatnonzero(CODES[rng.integers(2)] == 2))
    parts = take_apart(cells, COLUMNS, 1)
    together(cells, parts)
    assert len(parts.missing) + len(parts.surplus) + len(parts.labels) <= len(cells)
    parts = take_apart(cells, COLUMNS, 1, only_whole=True)
    together(cells, parts)
    assert not len(parts.surplus)


def test_a_label_that_costs_more_than_its_cells_is_read():
    assert not len(take_apart(OTHER, COLUMNS, len(OTHER)).labels)
    assert len(take_apart(OTHER, COLUMNS, len(OTHER) - 1).labels)


@pytest.mark.parametrize("columns", [[], COLUMNS])
def test_nothing_to_take_apart(columns):
    cells = np.array([1, 2])
    parts = take_apart(cells, columns, 5)
    assert (len(parts.labels), parts.missing.tolist()) == (0, [1, 2])


def test_a_sample_of_a_large_set_finds_the_column():
    n = 100_000
    codes = [np.arange(n) % (7 + i) for i in range(6)]
    columns = [LabelledCells(one, np.bincount(one)) for one in codes]
    for position, one in enumerate(codes):
        parts = take_apart(np.flatnonzero(one != 3), columns, 1)
        assert (parts.column, len(parts.missing), len(parts.surplus)) == (position, 0, 0)
