"""The arrays `obs` and `var`: their columns, the meaning of each, and the values.

A CXG says what a column means in two places that do not always agree: the type of the
TileDB attribute and the hints in the array's `cxg_schema` metadata. The table in
`_describe` decides, for every combination found in real files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.errors import DatasetInvalid, UnknownColumn
from cxg.format import text_limits as bounds
from cxg.format.columns import Column, ColumnValues, Label, Labels, Numbers
from cxg.format.layout import SCHEMA_KEY
from cxg.format.local_array import read_from
from cxg.format.matrix import query as reading
from cxg.format.notes import Loss
from cxg.format.selection import quoted
from cxg.format.text import Text
from cxg.storage.faults import translated

_INT32 = np.iinfo(np.int32)


class Annotations:
    """One of the two annotation arrays, opened.

    Attributes
    ----------
    axis : str
        "obs" or "var".
    n : int
        Rows: cells for `obs`, genes for `var`.
    index : str
        Name of the column that holds cell or gene names.
    columns : tuple of Column
        In stored order, the index first where it is stored so. Columns of a kind the web
        client cannot show are left out and named in `warnings`.
    """

    def __init__(self, array: Any, axis: str) -> None:
        self.axis = axis
        self.warnings: list[str] = []
        self._array = array
        schema = array.schema
        if schema.sparse or schema.ndim != 1:
            raise DatasetInvalid(f"{axis} is not a one-dimensional dense array, so this is not a CXG.")
        self.n = int(schema.shape[0])
        with translated(f"the metadata of {axis}"):
            self.meta: dict[str, Any] = reading.read_meta(array)
        stored_hints = self.meta.get(SCHEMA_KEY)
        if isinstance(stored_hints, str) and bounds.parsed_bytes(stored_hints) > bounds.PARSED_MAX_BYTES:
            # Without the labels, their codes would be shown as numbers.
            needed_mb = bounds.parsed_bytes(stored_hints) >> 20
            raise DatasetInvalid(
                f"The labels of {axis} ({SCHEMA_KEY}) need about {needed_mb:,} MB of memory, and "
                f"{bounds.PARSED_MAX_BYTES >> 20} MB are allowed: leave out the columns with the most labels."
            )
        hints = parse_json(stored_hints, f"{SCHEMA_KEY} of {axis}", self.warnings)
        self._hints: Mapping[str, Any] = hints if isinstance(hints, dict) else {}
        self._stored = {schema.attr(i).name: schema.attr(i) for i in range(schema.nattr)}
        found = (self._describe(name) for name in self._stored if bounds.is_short_name(name, axis, self.warnings))
        self.columns: tuple[Column, ...] = tuple(column for column in found if column is not None)
        self._by_name = {column.name: column for column in self.columns}
        self.index = self._find_index()

    def column(self, name: str) -> Column:
        """Describe one column.

        Raises
        ------
        UnknownColumn
            No column has that name.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise UnknownColumn(f"There is no column called {quoted(name)} in {self.axis}.") from None

    def is_coded(self, name: str) -> bool:
        """Tell whether a column is stored as codes, so that its list of labels is complete."""
        return np.dtype(self._stored[name].dtype).kind in "iu"

    def is_numeric(self, name: str) -> bool:
        """Tell whether a column is stored as numbers: integers, codes of labels, booleans or floats."""
        return np.dtype(self._stored[name].dtype).kind in "iufb"

    def is_text(self, name: str) -> bool:
        """Tell whether a column is stored as text of any length."""
        return _is_text(self._stored[name])

    def is_wide(self, name: str) -> bool:
        """Tell whether a column is stored as numbers of 64 bits."""
        return bool(np.dtype(self._stored[name].dtype).itemsize == 8)

    def text_bytes(self, name: str) -> int | None:
        """Return the bytes of all values of a text column, without reading any; None for numbers.

        Raises
        ------
        UnknownColumn, DatasetInvalid, StorageUnavailable
            As `read`.
        """
        self.column(name)
        dtype = np.dtype(self._stored[name].dtype)
        if dtype.kind not in "USO":
            return None
        if not self.is_text(name):
            return self.n * int(dtype.itemsize)
        with translated(f"column {name!r} of {self.axis}"):
            return read_from(self._array, [name], lambda array: reading.text_bytes(array, name, 0, self.n - 1))

    def read(self, name: str) -> ColumnValues:
        """Read the values of one column, (n,) rows, in one read of the array.

        Raises
        ------
        UnknownColumn
            There is none of that name.
        DatasetInvalid, StorageUnavailable
            The values cannot be read.
        """
        column = self.column(name)
        if not self.is_text(name):
            return self.decode(name, self.read_stored(name))
        with translated(f"column {name!r} of {self.axis}"):
            read = partial(reading.read_text, name=name, first=0, last=self.n - 1)
            text = Text(*read_from(self._array, [name], read))
        return text if column.categories is None else _labels_of_text(text.strings(), column.categories)

    def read_stored(self, name: str) -> NDArray[Any]:
        """Read the stored values of a column of fixed-size values, (n,): codes, numbers or short text.

        Raises
        ------
        UnknownColumn, DatasetInvalid, StorageUnavailable
            As `read`.
        """
        self.column(name)
        with translated(f"column {name!r} of {self.axis}"):
            read = partial(reading.read, names=[name], ranges=[[(0, self.n - 1)]], order=reading.ROW_MAJOR)
            return read_from(self._array, [name], read)[name]

    def decode(self, name: str, stored: NDArray[Any]) -> ColumnValues:
        """Decode the stored values of a column.

        Raises
        ------
        UnknownColumn
            There is none of that name.
        """
        return self._decode(self.column(name), stored)

    def close(self) -> None:
        """Close the array."""
        reading.close(self._array)

    def _hint(self, name: str) -> Mapping[str, Any]:
        hint = self._hints.get(name)
        return hint if isinstance(hint, dict) else {}

    def _find_index(self) -> str:
        named = self._hints.get("index")
        if isinstance(named, str) and named in self._by_name:
            return named
        if "name_0" in self._by_name:
            return "name_0"
        text = [column.name for column in self.columns if column.type == "string"]
        if not text:
            raise DatasetInvalid(f"{self.axis} has no column of names, so its cells or genes cannot be told apart.")
        self.warnings.append(f"{self.axis} does not say which column holds the names; {text[0]!r} is taken.")
        return text[0]

    def _describe(self, name: str) -> Column | None:
        stored = self._stored[name]
        dtype = np.dtype(stored.dtype)
        hint = self._hint(name)
        listed = hint.get("categories")
        labels: tuple[Label, ...] | None = tuple(listed) if isinstance(listed, list) and listed else None
        hinted = hint.get("type")
        if stored.isvar and not _is_text(stored):
            dtype = np.dtype(np.void)  # several numbers in one row
        if (dtype.kind in "iu" and hinted == "boolean") or dtype.kind == "b":
            return Column(name, "boolean")
        if dtype.kind in "USO":
            return Column(name, "categorical", labels) if labels else Column(name, "string")
        if dtype.kind in "iu" and labels is not None:
            labels = bounds.cut_labels(labels, f"Column {name!r} of {self.axis}", self.warnings)
            return Column(name, "categorical", labels)
        if dtype.kind in "iuf":
            if hinted == "categorical":
                return Column(name, "categorical")
            return Column(name, "int32" if dtype.kind in "iu" and dtype.itemsize <= 4 else "float32")
        self.warnings.append(f"Column {name!r} of {self.axis} is left out: the web client cannot show {dtype} values.")
        return None

    def _decode(self, column: Column, raw: np.ndarray) -> ColumnValues:
        if raw.dtype.kind in "US":
            rows = [item.decode("utf-8", "replace") if isinstance(item, bytes) else item for item in raw.tolist()]
            return Text.of(rows) if column.categories is None else _labels_of_text(rows, column.categories)
        if column.type == "boolean":
            return Numbers(raw != 0)
        if column.categories is not None:
            return Labels(raw, column.categories)
        return Numbers(_as_wire_number(raw))


def _is_text(stored: Any) -> bool:
    return bool(stored.isvar) and np.dtype(stored.dtype).kind in "USO"


def _labels_of_text(rows: list[str], categories: tuple[Label, ...]) -> Labels:
    """Code a text column by its list of labels; values outside the list extend it."""
    codes: dict[str, int] = {str(label): code for code, label in enumerate(categories)}
    listed = len(codes)
    coded = np.fromiter((codes.setdefault(value, len(codes)) for value in rows), np.int32, len(rows))
    extra = list(codes)[listed:]
    return Labels(coded, (*categories, *extra))


def _as_wire_number(raw: np.ndarray) -> np.ndarray:
    """Narrow to what the wire carries: int32, uint32, float32, or float64 for wide integers (exact to 2**53)."""
    if raw.dtype.kind == "f":
        return raw.astype(np.float32, copy=False)
    if raw.dtype.itemsize < 4:
        return raw.astype(np.int32)
    return raw.astype(np.float64) if raw.dtype.itemsize == 8 else raw


def parse_json(value: Any, what: str, warnings: list[str]) -> Any:
    """Parse JSON metadata; anything else becomes None and a warning. Bytes are never unpickled.

    NaN and Infinity, which some writers use although JSON lacks them, become None. So does a text that would take too
    much memory.
    """
    if value is None:
        return None
    if isinstance(value, bytes):
        warnings.append(Loss(f"{what} holds binary data, perhaps a pickle, which is never read."))
        return None
    if isinstance(value, str) and bounds.parsed_bytes(value) > bounds.PARSED_MAX_BYTES:
        needed_mb, allowed_mb = bounds.parsed_bytes(value) >> 20, bounds.PARSED_MAX_BYTES >> 20
        warnings.append(f"{what} needs about {needed_mb:,} MB of memory, allowed are {allowed_mb} MB; it is ignored.")
        return None
    try:
        return json.loads(value, parse_constant=lambda _: None, parse_float=_finite)
    except (TypeError, ValueError, RecursionError):
        warnings.append(Loss(f"{what} is not JSON and is ignored."))
        return None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None
