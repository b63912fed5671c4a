"""`obs` and `var` prepared for writing: every column in its stored form, the index checked and named."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cxg.convert.read.table import Frame
from cxg.convert.report import Report
from cxg.convert.text import first_duplicate, numbered
from cxg.convert.write.columns import Palette, attribute_names, index_name, store, store_names
from cxg.convert.write.spill import to_disk
from cxg.errors import ConversionError
from cxg.format import layout
from cxg.format.text import Text

HELD_BYTES = 256 << 20
"""Columns of one table that stay in memory; further ones wait in a temporary file."""


@dataclass
class Table:
    """A table ready to be written.

    Attributes
    ----------
    columns : dict
        TileDB attribute name to values, the index first.
    hints : str
        JSON text of `cxg_schema`.
    palettes : dict
        Columns that may have colours by their name in the file: attribute name and labels.
    n_labels : dict
        Attribute name of each column of codes: how many labels it has.
    """

    columns: dict[str, Any]
    hints: str
    palettes: dict[str, tuple[str, Palette]] = field(default_factory=dict)
    n_labels: dict[str, int] = field(default_factory=dict)


def build_table(
    frame: Frame, names_from: str | None, make_unique: bool, report: Report, scratch: Path | None = None
) -> Table:
    """Read a whole table, one column at a time.

    Parameters
    ----------
    names_from : str or None
        Column that becomes the index; the index of the file is then kept as a column. The name of that index itself
        changes nothing.
    scratch : Path or None
        Folder for columns beyond the first 256 MB; None keeps all in memory.

    Raises
    ------
    ConversionError
        The index is not unique, or the column does not exist.
    """
    axis = frame.axis
    if names_from == frame.index_key and names_from not in frame.names:
        names_from = None
    if names_from is not None and names_from not in frame.names:
        have = ", ".join(frame.names) or "none"
        raise ConversionError(f"--{axis}-names: {axis} has no column {names_from!r}; it has: {have}.")
    index_attr = index_name(frame.names)
    # In cxg_schema the key of the index is among the names of the columns.
    names = attribute_names(frame.names, [index_attr, layout.INDEX_HINT], axis, report)
    stored = {index_attr: store_names(frame.index(), index_attr, axis, report)}
    palettes: dict[str, tuple[str, Palette]] = {}
    held = 0
    for raw in frame.columns(report):
        if raw.name == names_from:
            stored[names[raw.name]] = store_names(raw, names[raw.name], axis, report)
            continue
        stored[names[raw.name]] = store(raw, names[raw.name], axis, report)
        if (palette := stored[names[raw.name]].palette) is not None:
            palettes[raw.name] = names[raw.name], palette
        held += stored[names[raw.name]].values.nbytes
        if scratch is not None and held > HELD_BYTES:
            stored[names[raw.name]].values = to_disk(stored[names[raw.name]].values, scratch, len(stored))
    if names_from is not None and names[names_from] not in stored:
        raise ConversionError(f"--{axis}-names: the column {names_from!r} cannot be used as names.")
    index = names[names_from] if names_from is not None else index_attr
    stored[index].values = _unique(stored[index].values, axis, make_unique, report)
    ordered = {index: stored.pop(index), **stored}
    return Table(
        columns={name: column.values for name, column in ordered.items()},
        hints=layout.encode_hints(index, {name: column.hint for name, column in ordered.items()}),
        palettes=palettes,
        n_labels={name: len(column.labels) for name, column in ordered.items() if column.labels},
    )


def _unique(rows: Text, axis: str, make_unique: bool, report: Report) -> Text:
    found = first_duplicate(rows)
    if found is None:
        return rows
    example, repeated = found
    what = "cells" if axis == layout.OBS else "genes"
    if not make_unique:
        raise ConversionError(
            f"The names of the {what} are not unique: {example!r} and others, {repeated} repeats in all; "
            f"use --make-unique to number them, or --{axis}-names COLUMN to take other names."
        )
    rows, changed = numbered(rows)
    report.warn("names_numbered", axis, f"{changed} repeated names of {what} got a number, such as {example + '-1'!r}.")
    return rows
