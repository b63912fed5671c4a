"""Tables as CSV (RFC 4180) that pandas and spreadsheets read alike, with notes about their origin on top.

A note is a line that begins with ``#``. Texts are always quoted, so that a reader who skips comments takes no ``#``
inside a name for one. A spreadsheet would run a name such as ``=HYPERLINK(...)`` as a formula; such a name gets an
apostrophe in front, and so does a name that begins with one, so that taking away one apostrophe gives back every name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

CSV = "text/csv; charset=utf-8"
_FORMULA_STARTS = frozenset("=+-@\t\r'")
_LINE_END = "\r\n"

Cell = str | int | float
"""A field of a table."""


def write_table(notes: Mapping[str, Cell], header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    """Write a table.

    Parameters
    ----------
    notes : mapping
        What to say on top, a line for each name.
    header : sequence of str
    rows : iterable of sequences
        Texts and numbers. Numbers are written with all their digits; NaN is an empty field.

    Returns
    -------
    bytes
        UTF-8 without a byte order mark; lines end with CR LF.
    """
    lines = [f"# {_note(name)}: {_note(value)}" for name, value in notes.items()]
    lines.append(",".join(map(_field, header)))
    lines += [",".join(map(_field, row)) for row in rows]
    return (_LINE_END.join(lines) + _LINE_END).encode("utf-8", "replace")


def guarded(text: str) -> str:
    """Put an apostrophe in front of a text that a spreadsheet might run as a formula."""
    return f"'{text}" if text[:1] in _FORMULA_STARTS else text


def _field(value: Cell) -> str:
    if isinstance(value, str):
        return '"' + guarded(value).replace('"', '""') + '"'
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return str(value)


def _note(value: Cell) -> str:
    """Make one line of a value; a double quote could join it with the next one."""
    return " ".join(str(value).split()).replace('"', "'")
