"""From filters to rows: positions, values, ranges, and the column kinds they fit."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cxg.errors import BadFilter
from cxg.format.columns import ColumnValues, Labels, Numbers
from cxg.format.selection import Filter, index_rows, quoted, range_mask, select, values_mask
from cxg.format.text import Text


def no_column(name: str) -> ColumnValues:
    raise AssertionError(f"{name} need not be read")


def where(mask: np.ndarray[Any, Any]) -> list[int]:
    assert mask.dtype == np.bool_
    return np.flatnonzero(mask).tolist()


@pytest.mark.parametrize(
    "index, rows",
    [
        ((), []),
        ((3,), [3]),
        ((9, 0, 3, 0), [0, 3, 9]),
        (((2, 5),), [2, 3, 4]),
        (((5, 5),), []),
        (((6, 2),), []),
        (((8, 100),), [8, 9]),
        (((100, 200),), []),
        (((0, 10**30),), list(range(10))),
        (((10**30, 10**31), 1), [1]),
        (((0, 2), (1, 4), 7, (3, 4)), [0, 1, 2, 3, 7]),
        (np.array([], np.int64), []),
        (np.array([0, 4, 9]), [0, 4, 9]),
        (np.array([9, 4, 4, 0]), [0, 4, 9]),
    ],
    ids=str,
)
def test_positions_and_half_open_ranges(index: Any, rows: list[int]) -> None:
    found = index_rows(index, 10)
    assert found.dtype == np.int64
    assert found.tolist() == rows
    assert select(Filter("obs", index), 10, no_column).tolist() == rows


@pytest.mark.parametrize(
    "index", [(10,), (-1,), (0, 99), (10**30,), (-(10**30),), np.array([3, 10]), np.array([-1, 3])], ids=str
)
def test_positions_that_do_not_exist(index: Any) -> None:
    with pytest.raises(BadFilter, match="positions go from 0 to 9"):
        index_rows(index, 10)


def test_many_overlapping_ranges_are_cheap() -> None:
    assert index_rows([(0, 100_000)] * 50_000, 100_000).size == 100_000


TEXT = Text.of(["a", "B", "", "a", "1", "nan", "True"])
LABELS = Labels(np.array([0, 1, -1, 0, 2, 7], np.int8), ("a", "B", "1"))


@pytest.mark.parametrize(
    "column, wanted, rows",
    [
        (TEXT, ["a"], [0, 3]),
        (TEXT, ["A"], []),
        (TEXT, [""], [2]),
        (TEXT, ["a", "B", "a"], [0, 1, 3]),
        (TEXT, [1], [4]),
        (TEXT, [True], [6]),
        (TEXT, [float("nan")], [5]),
        (TEXT, [], []),
        (LABELS, ["a"], [0, 3]),
        (LABELS, ["B", 1], [1, 4]),
        (LABELS, ["nan", "None", "null", ""], []),
        (Labels(np.array([0, 2, 1], np.uint8), ("a",)), ["a"], [0]),
        (Labels(np.array([0, 1, 1]), (False, True)), [True], [1, 2]),
        (Labels(np.array([0, 1, 1]), (False, True)), ["false"], [0]),
        (Labels(np.array([0, 1, 2, 0]), (3, 1.5, -2)), ["3", 1.5], [0, 1, 3]),
        (Labels(np.array([0, 1, 2, 0]), (3, 1.5, -2)), ["3.0"], [0, 3]),
        (Labels(np.array([-1, -1]), ()), ["a"], []),
        (Numbers(np.array([True, False, True])), [True], [0, 2]),
        (Numbers(np.array([1, 0, 1], np.uint8)), [False], [1]),
        (Numbers(np.array([True, False])), ["true", "False"], [0, 1]),
        (Numbers(np.array([True, False])), ["0"], [1]),
        (Numbers(np.array([True, False])), [2, "yes"], []),
    ],
    ids=str,
)
def test_values(column: ColumnValues, wanted: list[Any], rows: list[int]) -> None:
    assert where(values_mask("x", wanted, column)) == rows


FLOATS = Numbers(np.array([-np.inf, -1.5, 0, 0.1, 2, np.inf, np.nan], np.float32))


@pytest.mark.parametrize(
    "column, low, high, rows",
    [
        (FLOATS, -1.5, 0, [1, 2]),
        (FLOATS, None, 0, [0, 1, 2]),
        (FLOATS, 2, None, [4, 5]),
        (FLOATS, 1, 0, []),
        (FLOATS, 0.1, 1e300, [3, 4]),
        (FLOATS, -1e300, None, [1, 2, 3, 4, 5]),
        (FLOATS, float(np.float32(0.1)), float(np.float32(0.1)), [3]),
        (Numbers(np.array([-5, 0, 7], np.int32)), -5, 6.5, [0, 1]),
        (Numbers(np.array([-5, 0, 7], np.int32)), -1e300, 1e300, [0, 1, 2]),
        (Numbers(np.array([2**40, 2**41], np.int64)), 2**41, None, [1]),
    ],
    ids=str,
)
def test_ranges_include_both_ends_and_never_nan(
    column: ColumnValues, low: float | None, high: float | None, rows: list[int]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert where(range_mask("x", (low, high), column)) == rows


@pytest.mark.parametrize("column", [FLOATS, Numbers(np.array([1], np.int32)), Numbers(np.array([1], np.int64))])
def test_numeric_columns_want_a_range(column: ColumnValues) -> None:
    with pytest.raises(BadFilter, match="'x' is numeric; filter it with min and max"):
        values_mask("x", ["1"], column)


@pytest.mark.parametrize("column", [TEXT, LABELS, Numbers(np.array([True])), Numbers(np.array([1], np.uint8))])
def test_other_columns_want_values(column: ColumnValues) -> None:
    with pytest.raises(BadFilter, match="'x' is not numeric; filter it with values"):
        range_mask("x", (0, 1), column)


def test_all_conditions_must_hold() -> None:
    columns: dict[str, ColumnValues] = {
        "label": Labels(np.arange(20) % 4, ("a", "b", "c", "d")),
        "number": Numbers(np.arange(20, dtype=np.float32)),
        "flag": Numbers(np.arange(20) % 2 == 0),
    }
    wanted = Filter("obs", ((0, 15),), {"label": ("a", "c", "d"), "flag": (True,)}, {"number": (4, None)})
    assert select(wanted, 20, columns.__getitem__).tolist() == [4, 6, 8, 10, 12, 14]


def test_without_conditions_every_row_is_selected() -> None:
    found = select(Filter("var"), 5, no_column)
    assert (found.dtype, found.tolist()) == (np.int64, [0, 1, 2, 3, 4])
    assert Filter("var").is_empty
    assert not Filter("var", ()).is_empty


def test_lookup_spares_reading_the_column() -> None:
    known = {"a": [4, 1], "b": [2]}

    def lookup(name: str, value: str) -> Sequence[int] | None:
        return known.get(value, ()) if name == "name_0" else None

    wanted = Filter("var", None, {"name_0": ("b", "a", "a", "absent")})
    assert select(wanted, 5, no_column, lookup).tolist() == [1, 2, 4]
    assert select(Filter("var", None, {"name_0": ("absent",)}), 5, no_column, lookup).tolist() == []
    other = Filter("var", (3, 4), {"name_0": ("a", "b"), "kind": ("x",)})
    column = Labels(np.array([0, 0, 0, 0, 0]), ("x",))
    assert select(other, 5, lambda name: column if name == "kind" else no_column(name), lookup).tolist() == [4]


def test_values_that_are_no_text_are_not_looked_up() -> None:
    def lookup(name: str, value: str) -> Sequence[int] | None:
        raise AssertionError

    column = Labels(np.array([0, 1]), (1, 2))
    assert select(Filter("var", None, {"x": (2,)}), 2, lambda _: column, lookup).tolist() == [1]


def test_text_of_a_client_is_shown_short_and_escaped() -> None:
    assert quoted("name") == "'name'"
    assert quoted("a\nb") == "'a\\nb'"
    assert len(quoted("x" * 10**6)) < 70
    assert len(quoted("\x00" * 10**6)) < 70
    assert quoted("\ud800").isascii()
