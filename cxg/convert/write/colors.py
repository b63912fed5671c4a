"""Colours of labels and flags: from `uns["<column>_colors"]` to ``{column: {label: "#rrggbb"}}``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
from PIL import ImageColor

from cxg.convert.read.column import is_text
from cxg.convert.report import Report
from cxg.convert.write.columns import Palette

_SUFFIX = "_colors"
_ONTOLOGY = "_ontology_term_id"
_MISSING_GREY = "#bfbfbf"


class BadColorError(ValueError):
    """A value that is not a valid colour."""


def category_colors(root: Any, columns: Mapping[str, tuple[str, Palette]], report: Report) -> dict[str, dict[str, str]]:
    """Read the colours of every column of labels or flags that has them.

    Parameters
    ----------
    root : h5py.File
    columns : dict
        For each such column of obs: its name in the CXG, and its labels.
    report : Report
        Receives a warning for each column whose colours were left out; the others are kept.

    Returns
    -------
    dict of column name to label to lower-case ``#rrggbb``, complete for each column.
    """
    uns = root.get("uns")
    out: dict[str, dict[str, str]] = {}
    if not isinstance(uns, h5py.Group):
        return out
    for key in [key for key in uns if isinstance(key, str) and key.endswith(_SUFFIX)]:
        for target in _targets(key.removesuffix(_SUFFIX), uns, columns):
            name, palette = columns[target]
            try:
                own = _colors(uns[key], palette)
            except BadColorError as error:
                report.warn("colors_dropped", f"uns/{key}", f"The colours of {target!r} were left out: {error}.")
                continue
            out[name] = {label: own.get(label, _MISSING_GREY) for label in palette.labels}
    return out


def _targets(stem: str, uns: Any, columns: Mapping[str, Any]) -> list[str]:
    """Find the columns of a key: its own and, as on the data portal, the one whose ontology terms it colours."""
    out = [stem] if stem in columns else []
    plain = stem.removesuffix(_ONTOLOGY)
    if plain != stem and plain in columns and plain + _SUFFIX not in uns:
        own = columns[stem if stem in columns else plain][1].own
        if len(own) == len(columns[plain][1].own):
            out.append(plain)
    return out


def _colors(item: Any, palette: Palette) -> dict[str, str]:
    """Read colours by label; scanpy makes them for the flags that occur, others for both."""
    colors = [to_hex(value) for value in _values(item)]
    own = palette.own if len(colors) >= len(palette.own) or not palette.present else palette.present
    if len(colors) < max(1, len(own)):
        raise BadColorError(f"there are {len(colors)} colours for {len(palette.own)} categories")
    return dict(zip(own, colors, strict=False))


def _values(item: Any) -> list[Any]:
    if not isinstance(item, h5py.Dataset) or item.ndim not in (1, 2):
        raise BadColorError("they are not a list")
    if is_text(item.dtype):
        return [
            value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in item[:].ravel()
        ]
    return list(item[:])


def to_hex(value: object) -> str:
    """Convert a colour to lower-case ``#rrggbb``.

    Takes CSS names, hex text with or without opacity, ``rgb(...)``, and triples or quadruples
    of 0-1 floats or 0-255 integers.

    Raises
    ------
    BadColorError
        The value has none of these forms.
    """
    if isinstance(value, str):
        try:
            return "#" + bytes(ImageColor.getrgb(value.strip())[:3]).hex()
        except ValueError:
            raise BadColorError(f"{value!r} is not a colour") from None
    parts = np.asarray(value)
    if parts.ndim != 1 or parts.size not in (3, 4) or parts.dtype.kind not in "fiu":
        raise BadColorError(f"{value!r} is not a colour")
    scaled = np.rint(parts[:3] * 255) if parts.dtype.kind == "f" else parts[:3]
    if not np.all((scaled >= 0) & (scaled <= 255)):
        raise BadColorError(f"{parts.tolist()} is outside the range of colours")
    return "#" + bytes(int(part) for part in scaled).hex()
