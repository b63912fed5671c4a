"""From a filter to the rows it selects: pure functions on columns already read.

A filter names rows of one axis by position, by exact values of text-like columns and by ranges of
numeric columns. Every condition must hold (AND); the values wanted of one column are alternatives
(OR). Without any condition all rows are selected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cxg.errors import BadFilter
from cxg.format.columns import ColumnValues, Label, Labels, Numbers
from cxg.format.text import Text

Axis = Literal["obs", "var"]
Wanted = str | bool | int | float
"""One wanted value of a text-like column."""
Bounds = tuple[float | None, float | None]
"""Least and greatest value, both inclusive; None is open."""
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

_SHOWN = 60


@dataclass(frozen=True, slots=True, eq=False)
class Filter:
    """Conditions on the rows of one axis.

    Attributes
    ----------
    axis : {"obs", "var"}
        The axis that is filtered.
    index : tuple, (k,) int64, or None
        Positions: single ones and half-open ranges ``(a, b)``, or plain positions as an array; in
        any order, repeats allowed. None is no condition, an empty tuple selects nothing.
    values : mapping of column to tuple
        Wanted values of text, boolean and categorical columns.
    ranges : mapping of column to (least, greatest)
        Bounds for numeric columns.
    """

    axis: Axis
    index: tuple[int | tuple[int, int], ...] | IntArray | None = None
    values: Mapping[str, tuple[Wanted, ...]] = field(default_factory=dict)
    ranges: Mapping[str, Bounds] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Tell whether there is no condition, so that every row is selected."""
        return self.index is None and not self.values and not self.ranges


def quoted(text: object) -> str:
    """Quote, escape and cut short a client's text, for use in an error message.

    Parameters
    ----------
    text : object
        Anything that came with a request.

    Returns
    -------
    str
        At most about 65 characters, printable.
    """
    quoted = repr(text[:_SHOWN] if isinstance(text, str) else text)
    return quoted if len(quoted) <= _SHOWN + 5 else quoted[:_SHOWN] + "..."


def select(
    wanted: Filter,
    n: int,
    read_column: Callable[[str], ColumnValues],
    lookup: Callable[[str, str], Sequence[int] | None] | None = None,
) -> IntArray:
    """Select the rows that fulfil every condition of a filter.

    Parameters
    ----------
    wanted : Filter
        The conditions.
    n : int
        Number of rows of the axis.
    read_column : callable
        Values of a column by name; raises UnknownColumn for a name it does not know.
    lookup : callable, optional
        Positions of one exact text in a column, or None for a column it keeps no positions of. It
        spares reading and comparing all of an index column.

    Returns
    -------
    (k,) int64
        Ascending positions, each once.

    Raises
    ------
    BadFilter
        A position that does not exist, values for a numeric column, a range for any other.
    UnknownColumn
        From `read_column`.
    """
    selected = None if wanted.index is None else index_rows(wanted.index, n)
    for name, values in wanted.values.items():
        selected = _both(selected, _rows_with_values(name, values, read_column, lookup))
    for name, bounds in wanted.ranges.items():
        selected = _both(selected, np.flatnonzero(range_mask(name, bounds, read_column(name))))
    return np.arange(n, dtype=np.int64) if selected is None else selected


def _both(a: IntArray | None, b: IntArray) -> IntArray:
    return b if a is None else np.intersect1d(a, b, assume_unique=True)


def index_rows(index: Sequence[int | tuple[int, int]] | IntArray, n: int) -> IntArray:
    """Return positions and half-open ranges as ascending positions, each once.

    Parameters
    ----------
    index : sequence of int and (int, int), or (k,) int64
        A single position must exist; the ends of a range are clipped to the axis.
    n : int
        Number of rows of the axis.

    Returns
    -------
    (k,) int64

    Raises
    ------
    BadFilter
        A position below 0 or beyond the last row.
    """
    if isinstance(index, np.ndarray):
        if not index.size:
            return index
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= n:
            raise BadFilter(_no_such_row(low if low < 0 else high, n))
        return index if bool((index[1:] > index[:-1]).all()) else np.unique(index)
    singles = [item for item in index if not isinstance(item, tuple)]
    for item in singles:
        if not 0 <= item < n:
            raise BadFilter(_no_such_row(item, n))
    ranges = [item for item in index if isinstance(item, tuple)]
    if not ranges:
        return np.unique(np.array(singles, dtype=np.int64))
    # Counting starts and ends keeps the cost at n, however many ranges overlap.
    edges = np.zeros(n + 1, dtype=np.int64)
    for start, stop in ranges:
        first, end = min(max(start, 0), n), min(max(stop, 0), n)
        if first < end:
            edges[first] += 1
            edges[end] -= 1
    mask = np.cumsum(edges[:n]) > 0
    mask[singles] = True
    return np.flatnonzero(mask)


def _no_such_row(position: int, n: int) -> str:
    text = str(position) if abs(position) < 10**18 else "a very large number"
    return f"Position {text} in the filter does not exist; positions go from 0 to {n - 1}."


def _rows_with_values(
    name: str,
    values: Sequence[Wanted],
    read_column: Callable[[str], ColumnValues],
    lookup: Callable[[str, str], Sequence[int] | None] | None,
) -> IntArray:
    if lookup is not None and all(isinstance(value, str) for value in values):
        found: list[int] = []
        for value in dict.fromkeys(values):
            positions = lookup(name, str(value))
            if positions is None:
                break
            found.extend(positions)
        else:
            return np.unique(np.array(found, dtype=np.int64))
    return np.flatnonzero(values_mask(name, values, read_column(name)))


def values_mask(name: str, wanted: Sequence[Wanted], column: ColumnValues) -> BoolArray:
    """Find the rows of a text, boolean or categorical column that hold one of the wanted values.

    Parameters
    ----------
    name : str
        The column, for the error message.
    wanted : sequence
        Values; compared as text with labels that are text, as numbers with labels that are numbers.
        Missing values equal nothing.
    column : ColumnValues
        The column.

    Returns
    -------
    (n,) bool

    Raises
    ------
    BadFilter
        The column is numeric.
    """
    texts, numbers = _as_texts(wanted), _as_numbers(wanted)
    if isinstance(column, Text):
        return np.fromiter(map(texts.__contains__, column.strings()), np.bool_, len(column))
    if isinstance(column, Labels):
        k = len(column.categories)
        table = np.zeros(k + 1, dtype=np.bool_)
        table[:k] = [_is_wanted(label, texts, numbers) for label in column.categories]
        present = (column.codes >= 0) & (column.codes < k)
        rows: BoolArray = table[np.where(present, column.codes, k)]
        return rows
    if not _is_boolean(column):
        raise BadFilter(f"Column {quoted(name)} is numeric; filter it with min and max, not with values.")
    want_true, want_false = _is_wanted(True, texts, numbers), _is_wanted(False, texts, numbers)
    return np.where(column.values != 0, want_true, want_false)


def _as_texts(wanted: Sequence[Wanted]) -> frozenset[str]:
    return frozenset(value if isinstance(value, str) else str(value) for value in wanted)


def _as_numbers(wanted: Sequence[Wanted]) -> frozenset[float]:
    numbers: set[float] = set()
    for value in wanted:
        try:
            numbers.add(float(value))
        except (ValueError, OverflowError):
            continue
    return frozenset(numbers)


def _is_wanted(label: Label, texts: frozenset[str], numbers: frozenset[float]) -> bool:
    if isinstance(label, str):
        return label in texts
    if isinstance(label, bool):
        # JSON and Python spell them differently, and on the wire they may be 0 and 1.
        spellings = ("True", "true") if label else ("False", "false")
        return not texts.isdisjoint(spellings) or float(label) in numbers
    return label in numbers or str(label) in texts


def range_mask(name: str, bounds: Bounds, column: ColumnValues) -> BoolArray:
    """Find the rows of a numeric column within bounds, both ends included.

    Parameters
    ----------
    name : str
        The column, for the error message.
    bounds : (least, greatest)
        None is open. NaN rows are outside any bounds.
    column : ColumnValues
        The column.

    Returns
    -------
    (n,) bool

    Raises
    ------
    BadFilter
        The column is not numeric.
    """
    if not isinstance(column, Numbers) or _is_boolean(column):
        raise BadFilter(f"Column {quoted(name)} is not numeric; filter it with values, not with a range.")
    low, high = bounds
    mask = np.ones(len(column.values), dtype=np.bool_)
    # np.float64 makes numpy compare in double precision; a bare float would be rounded to float32
    # first, with an overflow for large ones.
    if low is not None:
        mask &= column.values >= np.float64(low)
    if high is not None:
        mask &= column.values <= np.float64(high)
    return mask


def _is_boolean(column: ColumnValues) -> bool:
    return isinstance(column, Numbers) and column.values.dtype in (np.bool_, np.uint8)
