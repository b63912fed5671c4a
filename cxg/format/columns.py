"""Description of one column of `obs` or `var`, and the three forms of its values in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.format.text import Text

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
        Type in the schema route: ``string``, ``categorical``, ``boolean``, ``int32`` or ``float32``.
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


ColumnValues = Numbers | Labels | Text
"""The values of one column, in one of three forms."""


def label_texts(values: ColumnValues) -> list[str]:
    """Return every value of a column as text."""
    if isinstance(values, Text):
        return values.strings()
    if isinstance(values, Numbers):
        return [str(value) for value in values.values]
    labels = [str(label) for label in values.categories]
    return [labels[code] if 0 <= code < len(labels) else "nan" for code in values.codes.tolist()]
