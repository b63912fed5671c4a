"""Columns that wait in a temporary file until they are written, when a table is too large for memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.format.text import Text


class OnDisk:
    """A one-dimensional array in a file; each access reads its slice from the file.

    Not a memory map: its pages would count as the process's memory.
    """

    def __init__(self, values: NDArray[Any], path: Path) -> None:
        self.dtype, self.nbytes, self._n, self._path = values.dtype, values.nbytes, len(values), path
        with path.open("wb") as file:
            file.write(np.ascontiguousarray(values).data)

    def __len__(self) -> int:
        """Return the number of values."""
        return self._n

    def __getitem__(self, at: Any) -> Any:
        """Read one value or a slice without a step."""
        if not isinstance(at, slice):
            return self[at : at + 1][0]
        start, stop, _ = at.indices(self._n)
        count = max(0, stop - start)
        return np.fromfile(self._path, dtype=self.dtype, count=count, offset=start * self.dtype.itemsize)


def to_disk(values: Any, folder: Path, number: int) -> Any:
    """Move a column to files in `folder`; `number` tells columns apart."""
    if isinstance(values, Text):
        data: Any = OnDisk(values.data, folder / f"column{number}.text")
        offsets: Any = OnDisk(values.offsets, folder / f"column{number}.offsets")
        return Text(data, offsets)
    return OnDisk(values, folder / f"column{number}")
