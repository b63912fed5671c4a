"""Row positions of a name in a column: an index of a few numbers for each row, without a Python object for any."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import numpy as np

from cxg.format.text import Text


class Positions:
    """Positions of every text of a column; texts may repeat.

    Parameters
    ----------
    rows : (n,) str
        The texts.
    """

    def __init__(self, rows: Sequence[str]) -> None:
        self._text = Text.of(rows)
        hashes = np.fromiter(map(hash, rows), np.int64, len(rows))
        order = np.argsort(hashes, kind="stable")
        # As memory views: single numbers of numpy arrays are slow to get.
        self._order, self._hashes = order.astype(np.int32).data, hashes[order].data

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes, in bytes."""
        parts = (self._text.data, self._text.offsets, self._order, self._hashes)
        return sum(part.nbytes for part in parts)

    def find(self, text: str) -> list[int]:
        """Find the positions of a text, ascending; empty when no row has it."""
        wanted = hash(text)
        first, end = bisect_left(self._hashes, wanted), bisect_right(self._hashes, wanted)
        # Other texts may have the same hash.
        return [row for row in self._order[first:end] if self._text.is_at(row, text)]

    def __contains__(self, text: object) -> bool:
        """Tell whether any row has this text."""
        return isinstance(text, str) and bool(self.find(text))
