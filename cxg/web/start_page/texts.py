"""Makes a dataset's texts safe for a page: of bounded length, and without characters that garble the rest."""

from __future__ import annotations

import unicodedata

TITLE_MAX, SENTENCE_MAX, NAME_MAX = 200, 500, 100
ELLIPSIS = "…"
# Control characters and line separators.
_UNFIT = frozenset({"Cc", "Zl", "Zp"})
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_JOINER = "\u200d"
_MARKS_MAX = 4


def shorten(text: str, most: int) -> str:
    """Make one line of a text, with at most `most` characters, and an ellipsis where it was cut.

    White space becomes single spaces. Control characters, which HTML does not allow, become spaces; characters that
    change the direction of writing are dropped. Only a few of the marks on one letter are kept.

    Parameters
    ----------
    text : str
        May be of any length; only its first ``4 * most`` characters are examined.
    most : int

    Returns
    -------
    str
    """
    text = text.strip()
    looked_at = text[: 4 * most]
    line = " ".join("".join(_fit(looked_at)).split())
    if len(line) <= most:
        return line if len(looked_at) == len(text) else line + ELLIPSIS
    end = most - 1
    # An emoji of several characters, or a letter with its marks, is not cut through.
    while end > most // 2 and (_joins(line[end]) or line[end - 1] == _JOINER):
        end -= 1
    return line[:end].rstrip() + ELLIPSIS


def _fit(text: str) -> list[str]:
    kept, marks = [], 0
    for char in text:
        category = unicodedata.category(char)
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if category == "Cs":
            kept.append("?")
        elif category in _UNFIT or ord(char) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(char) <= 0xFDEF:
            kept.append(" ")
        elif char not in _TURNS and marks <= _MARKS_MAX:
            kept.append(char)
    return kept


def _joins(char: str) -> bool:
    return char == _JOINER or unicodedata.category(char) in ("Mn", "Me", "Mc", "Sk")
