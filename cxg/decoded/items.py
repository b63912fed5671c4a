"""A file of a decoded copy that holds equal items, of which some are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.storage.checksums import CheckedFile, Manifest

IndexArray = NDArray[np.int64]


class ItemsFile(CheckedFile):
    """A file of equal items.

    It is read rather than mapped: mapping takes in pages around each place, which costs more than copying a line, and
    counts as this process's memory.
    """

    def __init__(self, folder: Path, manifest: Manifest, name: str, dtype: np.dtype[Any]) -> None:
        super().__init__(folder, manifest, name)
        self._dtype = dtype

    def check_items(self, starts: IndexArray, stops: IndexArray) -> None:
        """Check the items from each start to its stop, some of each; raises as `check`."""
        self.check(starts * self._dtype.itemsize, stops * self._dtype.itemsize)

    def read(self, starts: list[int], stops: list[int]) -> NDArray[Any]:
        """Read the items from each start to its stop, one run after the other; raises as `read_into`."""
        size = self._dtype.itemsize
        out = np.empty(sum(stops) - sum(starts), self._dtype)
        room, at = out.view(np.uint8).data, 0
        rooms = []
        for start, stop in zip(starts, stops, strict=True):
            end = at + (stop - start) * size
            rooms.append(room[at:end])
            at = end
        self.read_into(rooms, [start * size for start in starts])
        return out
