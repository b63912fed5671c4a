"""Limits on the texts in a dataset's metadata: as much as a visitor can read and memory can hold.

Metadata is JSON that somebody else wrote. A title may have 20 million characters, and a megabyte of brackets becomes
a hundred of Python objects.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cxg.format.selection import quoted

TITLE_MAX, LINK_MAX, TEXT_MAX, NAME_MAX, LABEL_MAX, COLOR_MAX = 1000, 2000, 2000, 1000, 1000, 64
# What one item of metadata may take in memory once it is parsed, as estimated beforehand.
PARSED_MAX_BYTES = 64 << 20
# All that data portals add is sent to the client with each visit.
PORTAL_VALUE_MAX_BYTES, PORTAL_MAX_BYTES = 64 << 10, 256 << 10
_BYTES_PER_VALUE = 80
_ELLIPSIS = "…"


def parsed_bytes(text: str) -> int:
    """Estimate from above the memory of a JSON text once it is parsed; each value comes with a counted sign."""
    return 2 * len(text) + _BYTES_PER_VALUE * sum(text.count(sign) for sign in ",[{:")


def cut(text: str, most: int, what: str, warnings: list[str]) -> str:
    """Cut a text to `most` characters, the last of which is an ellipsis, and add a warning if it was longer.

    Parameters
    ----------
    text : str
    most : int
    what : str
        Begins the warning: "The title".
    warnings : list of str
    """
    if len(text) <= most:
        return text
    warnings.append(f"{what} has {len(text):,} characters; only the first {most - 1:,} are used.")
    return text[: most - 1] + _ELLIPSIS


def cut_labels(labels: Iterable[Any], what: str, warnings: list[str]) -> tuple[Any, ...]:
    """Cut labels that are too long to read, so that they stay different."""
    labels = tuple(labels)
    long = [label for label in labels if isinstance(label, str) and len(label) > LABEL_MAX]
    if not long:
        return labels
    warnings.append(f"{what} has {len(long):,} labels of more than {LABEL_MAX:,} characters, which are cut.")
    taken = {label for label in labels if isinstance(label, str) and len(label) <= LABEL_MAX}
    found: list[Any] = []
    for number, label in enumerate(labels):
        if isinstance(label, str) and len(label) > LABEL_MAX:
            short = label[: LABEL_MAX - 1] + _ELLIPSIS
            if short in taken:
                ending = f"{_ELLIPSIS}{number}"
                short = label[: LABEL_MAX - len(ending)] + ending
            taken.add(short)
            found.append(short)
        else:
            found.append(label)
    return tuple(found)


def is_short_name(name: str, what: str, warnings: list[str]) -> bool:
    """Tell whether a column's name is short enough for a request to name it."""
    if len(name) <= NAME_MAX:
        return True
    warnings.append(f"Column {quoted(name)} of {what} is left out: its name has {len(name):,} characters.")
    return False
