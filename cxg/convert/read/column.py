"""Reads one column of an h5ad, in every encoding AnnData has used.

Columns are datasets (numbers, flags, text), groups with an `encoding-type` (categorical,
nullable), or, before AnnData 0.7, integer codes with a reference to their categories.
Format: https://anndata.readthedocs.io/en/stable/fileformat-prose.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from cxg.convert.text import blanked, from_strings, read_text_dataset
from cxg.errors import ConversionError
from cxg.format.text import Text

Kind = Literal["number", "flag", "text", "categorical"]


class Unreadable(Exception):
    """This one column cannot be used; the text says why. The conversion goes on without it."""


@dataclass
class RawColumn:
    """A column as stored in the file.

    Attributes
    ----------
    name : str
        Name in the file.
    kind : str
        Kind of `values`: numbers, flags, text, or codes of a categorical.
    values : (n,) numeric, bool or integer codes; or text
        Codes below zero are missing.
    missing : (n,) bool, or None
        True where a nullable column has no value.
    labels : list of str, or None
        Labels of a categorical, as text, in the order of the file.
    bad_text : int
        Rows or labels that were not valid UTF-8.
    """

    name: str
    kind: Kind
    values: NDArray[Any] | Text
    missing: NDArray[np.bool_] | None = None
    labels: list[str] | None = None
    bad_text: int = 0


def encoding_of(item: Any) -> str:
    """Return the `encoding-type` of an h5ad element, or empty text."""
    return as_str(item.attrs.get("encoding-type", ""))


def as_str(value: object) -> str:
    """Return the text of an attribute; bytes that are not UTF-8 become the replacement character."""
    raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogateescape")
    return raw.decode("utf-8", "replace")


def is_text(dtype: np.dtype[Any]) -> bool:
    """Tell whether an HDF5 dataset of this dtype holds text."""
    return dtype.kind in "SU" or h5py.check_string_dtype(dtype) is not None


def read_column(item: Any, name: str, n: int) -> RawColumn:
    """Read a column of `n` rows.

    Raises
    ------
    Unreadable
        A CXG cannot hold its encoding or dtype.
    ConversionError
        It has another number of rows.
    """
    if isinstance(item, h5py.Dataset):
        _check_length(item, n)
        if (reference := item.attrs.get("categories")) is not None:
            return categorical(name, item[:], item.file[reference])
        return _plain(name, item)
    kind = encoding_of(item)
    if kind == "categorical":
        _check_part(item, "codes", n)
        if "categories" not in item:
            raise Unreadable("its part 'categories' is missing")
        return categorical(name, item["codes"][:], item["categories"])
    if kind.startswith("nullable-"):
        _check_part(item, "values", n)
        _check_part(item, "mask", n)
        raw = _plain(name, item["values"])
        raw.missing = item["mask"][:].astype(bool)
        return raw
    raise Unreadable(f"its encoding {kind or 'of a group'!r} is not one that a CXG column can hold")


def _check_length(item: Any, n: int) -> None:
    if item.ndim != 1:
        raise Unreadable(f"it has {item.ndim} dimensions instead of one")
    if item.shape[0] != n:
        raise ConversionError(
            f"{item.name} has {item.shape[0]} entries but there are {n} rows: the file is damaged, write it again."
        )


def _check_part(item: Any, part: str, n: int) -> None:
    if not isinstance(item.get(part), h5py.Dataset):
        raise Unreadable(f"its part {part!r} is missing")
    _check_length(item[part], n)


def _plain(name: str, item: Any) -> RawColumn:
    if is_text(item.dtype):
        text, bad = read_text_dataset(item)
        return RawColumn(name, "text", text, bad_text=bad)
    if item.dtype.kind == "b":
        return RawColumn(name, "flag", item[:])
    if item.dtype.kind in "fiu":
        return RawColumn(name, "number", item[:])
    what = {"c": "complex numbers", "V": "records"}.get(item.dtype.kind, f"values of type {item.dtype}")
    raise Unreadable(f"it holds {what}, which a CXG cannot")


def categorical(name: str, codes: NDArray[Any], categories: Any) -> RawColumn:
    """Put codes and their categories together.

    Raises
    ------
    Unreadable
        The codes do not match the categories.
    """
    if codes.dtype.kind not in "iu":
        raise Unreadable("its codes are not integers")
    labels, bad = _read_labels(categories)
    if codes.size and int(codes.max()) >= len(labels):
        raise Unreadable("it has codes without a category")
    return RawColumn(name, "categorical", codes, labels=labels, bad_text=bad)


def _read_labels(item: Any) -> tuple[list[str], int]:
    """Read categories of any type as text; also how many were not valid UTF-8."""
    if isinstance(item, h5py.Group):
        if "values" not in item:
            raise Unreadable("its categories cannot be read")
        item = item["values"]
    if is_text(item.dtype):
        text, bad = read_text_dataset(item)
        return text.strings(), bad
    return [str(value) for value in item[:]], 0


def to_text(raw: RawColumn) -> Text:
    """Convert any column to text, for use as an index; missing values become empty."""
    if isinstance(raw.values, Text):
        rows = raw.values
    elif raw.labels is not None:
        rows = from_strings(raw.labels[code] if code >= 0 else "" for code in raw.values)
    else:
        rows = from_strings(map(str, raw.values))
    return blanked(rows, raw.missing)
