"""Text columns held as one UTF-8 buffer and offsets, never as a Python object for each row.

A million labels cost their bytes plus eight each this way. TileDB and the encoder of answers take the two arrays as
they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

SLICE_ROWS = 65_536
"""Rows that are Python objects at a time."""


@dataclass(frozen=True, slots=True)
class Text:
    """Values of a text column, as TileDB stores them: no Python object for each row.

    Both arrays may also be read from a temporary file as one slices them (`cxg.convert.write.spill`).

    Attributes
    ----------
    data : (k,) uint8
        The UTF-8 of all rows, one after the other.
    offsets : (n + 1,) int64
        Where each row begins in it, and where the last one ends.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[str]) -> Text:
        """Make a column of strings."""
        encoded = [_encoded(row) for row in rows]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in encoded], out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), offsets)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        """Return the size of both arrays, in bytes."""
        return int(self.data.nbytes + self.offsets.nbytes)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the UTF-8 of each row."""
        for start in range(0, len(self), SLICE_ROWS):
            part = self.part(start, start + SLICE_ROWS)
            whole = part.data.tobytes()
            yield from (whole[a:b] for a, b in pairwise(part.offsets.tolist()))

    def part(self, start: int, stop: int) -> Text:
        """Return the rows from `start` to before `stop`, without a copy."""
        offsets = self.offsets[start : stop + 1]
        return Text(self.data[offsets[0] : offsets[-1]], offsets - offsets[0])

    def is_at(self, row: int, text: str) -> bool:
        """Tell whether a row holds exactly this text."""
        return self.data[self.offsets[row] : self.offsets[row + 1]].tobytes() == _encoded(text)

    def strings(self) -> list[str]:
        """Return every row as a `str`; invalid UTF-8 becomes U+FFFD."""
        body, ends = self.data.tobytes(), self.offsets
        try:
            whole = body.decode()
        except UnicodeDecodeError:
            return [body[a:b].decode("utf-8", "replace") for a, b in pairwise(ends.tolist())]
        if len(whole) < len(body):  # counted in characters, of which each has one byte that does not continue another
            begun = np.cumsum(np.append(0, (self.data & 0xC0) != 0x80))
            ends = begun[ends]
        return [whole[a:b] for a, b in pairwise(ends.tolist())]


def encode_labels(rows: Text, most: int) -> tuple[NDArray[np.int32], list[str]] | None:
    """Return codes and sorted labels of a text column, or None when it has more than `most` different rows."""
    seen: dict[bytes, int] = {}
    codes = np.empty(len(rows), dtype=np.int32)
    for start in range(0, len(rows), SLICE_ROWS):
        part = rows.part(start, start + SLICE_ROWS)
        codes[start : start + len(part)] = [seen.setdefault(row, len(seen)) for row in part]
        if len(seen) > most:
            return None
    labels = [row.decode("utf-8", "replace") for row in seen]
    order = sorted(range(len(labels)), key=labels.__getitem__)
    rank = np.empty(len(labels), dtype=np.int32)
    rank[order] = np.arange(len(labels), dtype=np.int32)
    return rank[codes] if labels else codes, [labels[i] for i in order]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
