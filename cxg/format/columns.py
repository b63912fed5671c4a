"""What one column of `obs` or `var` is, and what its values look like in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Label = str | bool | int | float
"""One label of a categorical column, as the CXG holds it."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `obs` or `var`, described without its values.

    Attributes
    ----------
    name : str
        Attribute name in the CXG array.
    type : str
        What the schema route says: ``string``, ``categorical``, ``boolean``, ``int32`` or ``float32``.
    categories : tuple of labels, or None
        Labels in display order, unused ones included; None when the column has no list of labels.
    """

    name: str
    type: str
    categories: tuple[Label, ...] | None = None


@dataclass(frozen=True, slots=True)
class Numbers:
    """Values of a numeric or boolean column.

    Attributes
    ----------
    values : (n,) float32, float64, int32 or uint32; bool (or uint8) for a boolean column
        In file order; NaN is a missing value.
    """

    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Labels:
    """Values of a categorical column.

    Attributes
    ----------
    codes : (n,) signed or unsigned integer
        Positions in `categories`; below zero or beyond the end is a missing value.
    categories : tuple of labels
        The labels, each at the position that the codes use.
    """

    codes: NDArray[np.integer[Any]]
    categories: tuple[Label, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """Values of a text column, as TileDB stores them: no Python object for each row.

    Attributes
    ----------
    data : (k,) uint8
        The UTF-8 of all rows, one after the other.
    offsets : (n + 1,) int64
        Where each row begins in it, and where the last one ends.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[str]) -> Text:
        """Make a column of strings."""
        encoded = [_encoded(row) for row in rows]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    def part(self, start: int, stop: int) -> Text:
        """Rows from `start` to before `stop`, without a copy."""
        offsets = self.offsets[start : stop + 1]
        return Text(self.data[offsets[0] : offsets[-1]], offsets - offsets[0])

    def is_at(self, row: int, text: str) -> bool:
        """Tell whether a row holds exactly this text."""
        return self.data[self.offsets[row] : self.offsets[row + 1]].tobytes() == _encoded(text)

    def strings(self) -> list[str]:
        """Every row as a `str`; what is no UTF-8 becomes U+FFFD."""
        body, ends = self.data.tobytes(), self.offsets
        try:
            whole = body.decode()
        except UnicodeDecodeError:
            return [body[a:b].decode("utf-8", "replace") for a, b in pairwise(ends.tolist())]
        if len(whole) < len(body):  # counted in characters, of which each has one byte that does not continue another
            begun = np.cumsum(np.append(0, (self.data & 0xC0) != 0x80))
            ends = begun[ends]
        return [whole[a:b] for a, b in pairwise(ends.tolist())]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


ColumnValues = Numbers | Labels | Text
"""The values of one column, in whichever of the three forms it has."""


def label_texts(values: ColumnValues) -> list[str]:
    """Every value of a column as text, whatever its kind."""
    if isinstance(values, Text):
        return values.strings()
    if isinstance(values, Numbers):
        return [str(value) for value in values.values]
    labels = [str(label) for label in values.categories]
    return [labels[code] if 0 <= code < len(labels) else "nan" for code in values.codes.tolist()]
