"""Converts a column of AnnData to a column of a CXG.

TileDB attributes are float32, int32, uint8, int8/16/32 codes or text; each comes with a
hint in `cxg_schema` that says how to read it. The table of types is in ``docs/cxg.md``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.convert.numbers import store_numbers
from cxg.convert.read.column import RawColumn, to_text
from cxg.convert.report import Report
from cxg.convert.text import from_bytes, from_strings
from cxg.format import layout
from cxg.format.text import encode_labels

MANY_CATEGORIES = 10_000
"""A categorical with more labels than this is probably an identifier; text with more never becomes one."""
_MISSING_LABEL = "nan"
_FLAGS = ("False", "True")
_ID_SHARE = 0.75
_CODED_TEXT_SHARE = 0.5


@dataclass(frozen=True)
class Palette:
    """Labels of a column for which the file may have colours, as the web client spells them.

    Attributes
    ----------
    labels : list of str
        All labels of the column, including the one added for missing values.
    own : list of str
        Labels of the file, in the order of its colours.
    present : list of str
        Labels that occur; a list of colours may be made for these alone.
    """

    labels: Sequence[str]
    own: Sequence[str]
    present: Sequence[str]


@dataclass
class StoredColumn:
    """A column ready to be written.

    Attributes
    ----------
    name : str
        TileDB attribute name.
    values : (n,) array of a type TileDB stores, or text
    hint : dict
        Its entry in `cxg_schema`.
    palette : Palette, or None
        Which labels the colours of the file belong to; None where a column cannot have any.
    """

    name: str
    values: Any
    hint: dict[str, Any]
    palette: Palette | None = None

    @property
    def labels(self) -> list[str] | None:
        """Return the labels of a coded column, else None."""
        return self.hint.get("categories")


def attribute_names(names: Iterable[str], taken: Iterable[str], axis: str, report: Report) -> dict[str, str]:
    """Choose attribute names that TileDB accepts, all different; report every change."""
    used = set(taken)
    out: dict[str, str] = {}
    for name in names:
        stem = name.replace("\0", "_") or "unnamed"
        if stem.startswith(layout.RESERVED_PREFIX):
            stem = "_" + stem.lstrip("_")
        stem = stem.encode("utf-8", "replace").decode("utf-8")
        final, number = stem, 0
        while final in used:
            number += 1
            final = f"{stem}-{number}"
        used.add(final)
        out[name] = final
        if final != name:
            report.info("column_renamed", f"{axis}/{name}", f"The column is called {final!r} in the CXG.")
    return out


def index_name(names: Iterable[str]) -> str:
    """Return the first of name_0, name_1 ... that no column has."""
    used = set(names)
    return next(name for i in range(len(used) + 1) if (name := f"{layout.INDEX_STEM}{i}") not in used)


def store(raw: RawColumn, name: str, axis: str, report: Report) -> StoredColumn:
    """Turn a column into its stored form."""
    _note_invalid_text(raw, axis, report)
    if raw.kind == "text":
        return _text(raw, name, axis)
    if raw.kind == "categorical":
        return _categorical(raw, name, axis, report)
    if raw.kind == "flag":
        return _flags(raw, name, axis, report)
    values, kind = store_numbers(np.asarray(raw.values), raw.missing, f"{axis}/{raw.name}", report)
    return StoredColumn(name, values, {"type": kind})


def store_names(raw: RawColumn, name: str, axis: str, report: Report) -> StoredColumn:
    """Turn a column into names of rows: always text, missing ones empty."""
    _note_invalid_text(raw, axis, report)
    return StoredColumn(name, to_text(raw), {"type": "string"})


def _note_invalid_text(raw: RawColumn, axis: str, report: Report) -> None:
    if raw.bad_text:
        text = f"{raw.bad_text} entries were not valid UTF-8; the bad bytes were replaced."
        report.warn("text_mended", f"{axis}/{raw.name}", text)


def _text(raw: RawColumn, name: str, axis: str) -> StoredColumn:
    rows = to_text(raw)
    most = min(int(len(rows) * _CODED_TEXT_SHARE), MANY_CATEGORIES)
    # Codes read a hundred times faster than text. The genes' columns stay text: single-cell-explorer
    # sends the codes of var without decoding them.
    if axis == layout.OBS and (found := encode_labels(rows, most)) is not None:
        return _coded(name, found[0], found[1], found[1])
    return StoredColumn(name, rows, {"type": "string"})


def _coded(
    name: str, codes: NDArray[Any], labels: list[str], own: Sequence[str], present: Sequence[str] | None = None
) -> StoredColumn:
    dtype = np.int8 if len(labels) <= 127 else np.int16 if len(labels) <= 32_767 else np.int32
    palette = Palette(labels, own, own if present is None else present)
    return StoredColumn(name, codes.astype(dtype), {"type": "categorical", "categories": labels}, palette)


def _categorical(raw: RawColumn, name: str, axis: str, report: Report) -> StoredColumn:
    subject = f"{axis}/{raw.name}"
    codes, labels = _unique_labels(np.asarray(raw.values).astype(np.int64), raw.labels or [])
    own = labels
    gone = codes < 0
    if gone.any():
        if _MISSING_LABEL not in labels:
            labels = [*labels, _MISSING_LABEL]
        codes = np.where(gone, labels.index(_MISSING_LABEL), codes)
        report.info(
            "missing_label", subject, f"{int(gone.sum())} rows without a category got the label {_MISSING_LABEL!r}."
        )
    as_text = len(labels) > _ID_SHARE * len(codes)
    if as_text and axis == layout.OBS:
        report.info(
            "categorical_as_text", subject, "It has nearly as many categories as rows, so it is stored as text."
        )
    elif axis == layout.OBS and len(labels) > MANY_CATEGORIES:
        report.warn(
            "many_categories",
            subject,
            f"It has {len(labels):,} categories; is it an identifier? The browser will be slow with it.",
        )
    if as_text or axis == layout.VAR:
        table = np.array([label.encode("utf-8", "replace") for label in labels], dtype=object)
        return StoredColumn(name, from_bytes(table[codes]), {"type": "string"})
    return _coded(name, codes, labels, own)


def _unique_labels(codes: NDArray[Any], labels: list[str]) -> tuple[NDArray[Any], list[str]]:
    """Merge labels that became equal as text (two broken ones, say)."""
    first = {label: i for i, label in reversed(list(enumerate(labels)))}
    if len(first) == len(labels):
        return codes, labels
    kept = [label for i, label in enumerate(labels) if first[label] == i]
    position = {label: i for i, label in enumerate(kept)}
    table = np.array([position[label] for label in labels] + [-1])
    return table[np.where(codes < 0, len(labels), codes)], kept


def _flags(raw: RawColumn, name: str, axis: str, report: Report) -> StoredColumn:
    values = np.asarray(raw.values).astype(bool)
    gone = raw.missing if raw.missing is not None else np.zeros(len(values), bool)
    present = [
        label for label, is_there in zip(_FLAGS, (~values & ~gone, values & ~gone), strict=True) if is_there.any()
    ]
    if gone.any():
        codes = np.where(gone, 2, values)
        report.info(
            "missing_label", f"{axis}/{raw.name}", f"{int(gone.sum())} missing flags got the label {_MISSING_LABEL!r}."
        )
        labels = [*_FLAGS, _MISSING_LABEL]
        if axis == layout.VAR:
            return StoredColumn(name, from_strings(labels[code] for code in codes.tolist()), {"type": "string"})
        return _coded(name, codes, labels, _FLAGS, present)
    if axis == layout.OBS and values.all():
        # single-cell-explorer takes the ones of an all-true flag for codes of a one-label list and fails.
        return _coded(name, np.zeros(len(values)), ["True"], _FLAGS, present)
    spelled = Palette(*([label.lower() for label in labels] for labels in (_FLAGS, _FLAGS, present)))
    return StoredColumn(name, values.astype(np.uint8), {"type": "boolean"}, spelled if axis == layout.OBS else None)
