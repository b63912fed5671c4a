"""Groups of cells: the labels of a column of obs, and the label of each cell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.compute.grouped import count_cells
from cxg.errors import BadFilter, LimitExceeded
from cxg.format.annotations import Annotations
from cxg.format.columns import Column, ColumnValues, Labels
from cxg.format.selection import quoted
from cxg.format.text import Text


@dataclass(frozen=True, slots=True)
class Groups:
    """Labels of a column that have cells, in the order of the column, or sorted where it has none.

    Attributes
    ----------
    labels : tuple of str
    counts : (labels,) int64
        Cells of each label.
    codes : (n_obs,) integer
        Position in `labels` of each cell; any other number is a cell without a label.
    """

    labels: tuple[str, ...]
    counts: NDArray[np.int64]
    codes: NDArray[Any]


def label_columns(obs: Annotations, most: int) -> list[str]:
    """List the columns whose labels can be offered without reading any: categorical ones up to `most`, and booleans."""
    return [
        column.name
        for column in obs.columns
        if column.type == "boolean" or (column.categories is not None and len(column.categories) <= most)
    ]


def require_labels(obs: Annotations, name: str) -> Column:
    """Check that a column may have labels.

    Raises
    ------
    UnknownColumn
        There is no column of that name.
    BadFilter
        It is numeric.
    """
    column = obs.column(name)
    if column.type in ("int32", "float32"):
        raise BadFilter(f"Column {quoted(name)} is numeric; name a column of labels in 'by'.")
    return column


def group_cells(column: Column, values: ColumnValues, most: int) -> Groups:
    """Find the label of each cell.

    Parameters
    ----------
    column : Column
        As `require_labels` returns it.
    values : ColumnValues
        Of that column.
    most : int
        Labels with cells that are allowed.

    Raises
    ------
    LimitExceeded
        It has more labels.
    """
    labels, codes = _coded(column, values, most)
    counts = count_cells(codes, len(labels))
    used = np.flatnonzero(counts)
    if len(used) > most:
        raise _too_many(column.name, most)
    places = np.full(len(labels), -1, np.int32)
    places[used] = np.arange(len(used))
    labelled = (codes >= 0) & (codes < len(labels))
    found = np.full(len(codes), -1, np.int32)
    found[labelled] = places[codes[labelled]]
    return Groups(tuple(labels[k] for k in used.tolist()), counts[used], found)


def _coded(column: Column, values: ColumnValues, most: int) -> tuple[list[str], NDArray[Any]]:
    if isinstance(values, Labels):
        return [str(label) for label in values.categories], values.codes
    if isinstance(values, Text):
        return _coded_text(column.name, values, most)
    # Booleans, and categoricals without a list of labels, which are numbers; NaN is a missing label.
    present = values.values[~np.isnan(values.values)] if values.values.dtype.kind == "f" else values.values
    found = np.unique(present)
    if len(found) > most:
        raise _too_many(column.name, most)
    codes = np.searchsorted(found, values.values)
    if values.values.dtype.kind == "f":
        codes[np.isnan(values.values)] = -1
    return [_number(value) for value in found.tolist()], codes


def _coded_text(name: str, rows: Text, most: int) -> tuple[list[str], NDArray[Any]]:
    seen: dict[bytes, int] = {}

    def codes() -> Iterator[int]:
        for row in rows:
            yield seen.setdefault(row, len(seen))
            # Checked at once: a column of identifiers would take more memory than there is room for.
            if len(seen) > most:
                raise _too_many(name, most)

    coded = np.fromiter(codes(), np.int32, len(rows))
    texts = [row.decode("utf-8", "replace") for row in seen]
    order = sorted(range(len(texts)), key=texts.__getitem__)
    places = np.zeros(len(texts), np.int32)
    places[order] = np.arange(len(texts))
    return [texts[k] for k in order], places[coded]


def _number(value: float) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _too_many(name: str, most: int) -> LimitExceeded:
    return LimitExceeded(
        f"Column {quoted(name)} has more than {most:,} labels, the most that one table may have; "
        "name another column in 'by'."
    )
