"""Encodes columns of labels and of text as strict JSON arrays, without a Python object for each row if possible.

JSON allows spaces after elements, so numpy alone can copy words that are padded to equal length. Rows are
encoded in groups, so that encoding takes little memory beside the answer itself.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.format.text import Text

Bytes = bytes | memoryview
# Rows encoded at a time.
ROWS = 1 << 16
# Labels are padded to equal length where that makes the text at most this many times longer.
_MOST_PADDING = 1.25
# Most labels of a categorical column that are looked up together, and most combinations of them that are prepared.
_MOST_TOGETHER, _MOST_PIECES = 4, 2500
# UTF-8 never has this byte. Texts are padded with it where that takes at most this many times their length, and it is
# removed afterwards.
_FILL, _MOST_FILLED = b"\xff", 4
_NEEDS_ESCAPE = bytes(range(0x20)) + b'"\\'


@dataclass(frozen=True, slots=True)
class JSONColumn:
    """A column that is already encoded.

    Attributes
    ----------
    parts : list of bytes and memoryview
        UTF-8 text of one strict JSON array with one element for each row, in pieces.
    """

    parts: list[Bytes]

    def __len__(self) -> int:
        """Return the number of bytes."""
        return sum(map(len, self.parts))

    @property
    def nbytes(self) -> int:
        """Number of bytes, under the name that numpy's arrays have for it."""
        return len(self)


def json_labels(
    codes: NDArray[Any], categories: Sequence[str | bool | int | float | None], rows: int = ROWS
) -> JSONColumn:
    """Encode a categorical column; 100,000 rows take about a millisecond.

    Parameters
    ----------
    codes : (n,) integer
        Positions in `categories`; below zero or beyond the end gives ``null``.
    categories : sequence of str, bool, int, float or None
        Labels; None and non-finite numbers give ``null``.
    rows : int
        Rows encoded at a time.
    """
    words = _Words([*(_json_label(label) for label in categories), b"null"], len(codes))
    return _array(map(words.rows, (codes[start : start + rows] for start in range(0, len(codes), rows))))


def json_text(text: Text, rows: int = ROWS) -> JSONColumn:
    """Encode a text column, some rows at a time; 100,000 rows of plain ASCII take a few milliseconds."""
    return _array(_text_rows(text.part(start, min(start + rows, len(text)))) for start in range(0, len(text), rows))


def json_strings(values: Sequence[str | None]) -> JSONColumn:
    """Encode text values; None gives ``null``, lone surrogates are written as escapes."""
    return JSONColumn([_dump(list(values))])


def _array(chunks: Iterator[Bytes]) -> JSONColumn:
    """Join chunks in which every element has a comma before it into one array."""
    first = next(chunks, None)
    return JSONColumn([b"[]"] if first is None else [b"[", memoryview(first)[1:], *chunks, b"]"])


class _Words:
    """The words for codes; the last word is for all codes out of range."""

    def __init__(self, words: list[bytes], n_rows: int) -> None:
        self._words, self._n_rows = words, n_rows
        self._lengths = np.array([len(word) for word in words]) + 1
        self._longest = int(self._lengths.max())

    def rows(self, codes: NDArray[Any]) -> Bytes:
        """Write a comma and a word for each code."""
        n = len(self._words) - 1
        known = codes < n if codes.dtype.kind == "u" else (codes >= 0) & (codes < n)
        places = np.where(known, codes, n).astype(np.intp)
        if self._longest * len(places) <= _MOST_PADDING * self._lengths[places].sum():
            return self._padded.take(places, axis=0).reshape(-1).data
        # Taking references and joining them runs in C, and its time grows with the number of pieces. So with few
        # labels, several rows are looked up at once, among the prepared combinations of labels.
        together, pieces = self._pieces
        even = len(places) // together * together
        rows = pieces[_as_one_number(places[:even].reshape(-1, together), n + 1)].tolist()
        return b"".join(rows + [b"," + self._words[place] for place in places[even:].tolist()])

    @cached_property
    def _padded(self) -> NDArray[np.uint8]:
        return np.array([list(b"," + word.ljust(self._longest - 1)) for word in self._words], np.uint8)

    @cached_property
    def _pieces(self) -> tuple[int, NDArray[np.object_]]:
        """How many labels are looked up together, and the text of each combination."""
        count, together = len(self._words), 1
        while together < _MOST_TOGETHER and count ** (together + 1) <= min(_MOST_PIECES, self._n_rows):
            together += 1
        texts = (b"," + b",".join(row) for row in itertools.product(self._words, repeat=together))
        return together, np.array([*texts, b""], dtype=object)[:-1]


def _as_one_number(digits: NDArray[np.intp], base: int) -> NDArray[np.intp]:
    """Convert rows of digits, highest first, to numbers."""
    number = digits[:, 0].copy()
    for digit in digits.T[1:]:
        number *= base
        number += digit
    return number


def _text_rows(text: Text) -> Bytes:
    """Write a comma and a string for each row of text."""
    body, lengths = text.data.tobytes(), np.diff(text.offsets)
    longest = int(lengths.max())
    is_plain = body.isascii() and len(body.translate(None, _NEEDS_ESCAPE)) == len(body)
    if not is_plain or (longest + 3) * len(text) > _MOST_FILLED * (len(body) + 3 * len(text)):
        return b"," + memoryview(_dump(text.strings()))[1:-1]
    table = np.full((len(text), longest + 3), _FILL[0], np.uint8)
    table[:, 0], table[:, 1], table[:, -1] = b',""'
    if len(body) == longest * len(text):
        table[:, 2:-1] = text.data.reshape(len(text), longest)
        return table.reshape(-1).data
    table[:, 2:-1][np.arange(longest) < lengths[:, None]] = text.data
    return table.tobytes().translate(None, _FILL)


def _json_label(label: str | bool | int | float | None) -> bytes:
    value = label.item() if isinstance(label, np.generic) else label
    if isinstance(value, float) and not math.isfinite(value):
        return b"null"
    return _dump(value)


def _dump(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
