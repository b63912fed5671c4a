"""Lists of names in one parameter of an address: separated by commas, with a backslash before a comma in a name."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PIECE = re.compile(r"(?:\\.|[^,\\]|\\$)+", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_TO_ESCAPE = re.compile(r"([\\,])")


def split_names(text: str) -> list[str]:
    r"""Split a list of names, ``A,B``; ``\,`` is a comma and ``\\`` a backslash of a name.

    Blanks around a name, and names without a character, are left out. As in the links of the explorer, a backslash
    takes away the meaning of whatever character follows it.
    """
    names = (_ESCAPED.sub(r"\1", piece.strip()) for piece in _PIECE.findall(text))
    return [name for name in names if name]


def join_names(names: Iterable[str]) -> str:
    """Join names to a list that `split_names` takes apart again."""
    return ",".join(_TO_ESCAPE.sub(r"\\\1", name) for name in names)
