"""`obs` and `var` of an h5ad: their columns, order and index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

from cxg.convert.read.column import RawColumn, Unreadable, as_str, categorical, encoding_of, is_text, read_column
from cxg.convert.report import Report
from cxg.convert.text import read_text_dataset
from cxg.errors import ConversionError


class Frame:
    """A table in an h5ad, read one column at a time.

    Parameters
    ----------
    item : h5py.Group or h5py.Dataset
        A group with one element per column, or the record dataset of AnnData before 0.7.
    axis : "obs" or "var"
        For messages.
    """

    def __init__(self, item: Any, axis: str) -> None:
        self.item, self.axis = item, axis
        self._records = isinstance(item, h5py.Dataset)
        if self._records and item.dtype.names is None:
            raise ConversionError(f"{item.name} is a plain dataset where a table (a group of columns) was expected.")
        self.index_key = self._find_index()
        self.n = int(item.shape[0] if self._records else self._length(item[self.index_key]))
        self.names, self._absent = self._find_names()

    def _find_index(self) -> str:
        keys = list(self.item.dtype.names) if self._records else list(self.item)
        for key in (as_str(self.item.attrs.get("_index", "")), "_index", "index"):
            if key in keys:
                return str(key)
        raise ConversionError(f"{self.item.name} has no index (names of its rows): write the file again with AnnData.")

    @staticmethod
    def _length(item: Any) -> int:
        if isinstance(item, h5py.Group):
            item = item.get("codes", item.get("values"))
        if not isinstance(item, h5py.Dataset) or item.ndim != 1:
            raise ConversionError("The index of obs or var cannot be read: write the file again with AnnData.")
        return int(item.shape[0])

    def _find_names(self) -> tuple[list[str], list[str]]:
        """Return the names of the columns present, and of those listed but absent."""
        if self._records:
            return [name for name in self.item.dtype.names if name != self.index_key], []
        order = self.item.attrs.get("column-order")
        if order is None:
            order = [name for name in self.item if name not in ("__categories", self.index_key)]
        elif isinstance(order, h5py.Empty):
            order = []
        # A column may have the name of the index: both are then one dataset, as their values are equal.
        names = list(dict.fromkeys(map(as_str, order)))
        return [name for name in names if name in self.item], [name for name in names if name not in self.item]

    def index(self) -> RawColumn:
        """Read the names of the rows.

        Raises
        ------
        ConversionError
            A CXG cannot hold them.
        """
        try:
            return self.column(self.index_key)
        except Unreadable as error:
            raise ConversionError(f"The index of {self.axis} cannot be used: {error}.") from error

    def column(self, name: str) -> RawColumn:
        """Read one column.

        Raises
        ------
        Unreadable
            A CXG cannot hold it.
        ConversionError
            Its length is wrong.
        """
        if self._records:
            return self._record_column(name)
        return read_column(self.item[name], name, self.n)

    def columns(self, report: Report) -> Iterator[RawColumn]:
        """Read every column but the index, in the order of the file; drops unusable ones with a warning."""
        for name in self._absent:
            text = "The column was left out: nothing in the file has that name."
            report.warn("column_dropped", f"{self.axis}/{name}", text)
        for name in self.names:
            try:
                yield self.column(name)
            except Unreadable as error:
                report.warn("column_dropped", f"{self.axis}/{name}", f"The column was left out: {error}.")

    def _record_column(self, name: str) -> RawColumn:
        values = self.item[name]
        if values.ndim != 1:
            raise Unreadable(f"it has {values.ndim} dimensions instead of one")
        categories = self.item.file.get(f"uns/{name}_categories")
        if categories is not None and values.dtype.kind in "iu":
            return categorical(name, values, categories)
        if is_text(values.dtype):
            text, bad = read_text_dataset(values)
            return RawColumn(name, "text", text, bad_text=bad)
        if values.dtype.kind not in "biuf":
            raise Unreadable(f"it holds values of type {values.dtype}, which a CXG cannot")
        return RawColumn(name, "flag" if values.dtype.kind == "b" else "number", np.asarray(values))


def open_frame(root: Any, key: str, axis: str) -> Frame:
    """Open a table of the file.

    Raises
    ------
    ConversionError
        The table is absent, of an unknown encoding, or has no rows.
    """
    item = root.get(key)
    if item is None:
        raise ConversionError(f"The file has no {key}: it is not an AnnData file, or not a complete one.")
    kind = encoding_of(item)
    if isinstance(item, h5py.Group) and kind not in ("dataframe", ""):
        raise ConversionError(
            f"{key} has the encoding {kind!r}, but a table (dataframe) is needed: write the file again with AnnData."
        )
    frame = Frame(item, axis)
    if frame.n == 0:
        what = "cells" if axis == "obs" else "genes"
        raise ConversionError(f"The file has no {what} ({key} has zero rows): there is nothing to convert.")
    return frame
