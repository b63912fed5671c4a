"""Turns a stream of rows into a stream of columns (or back) within bounded memory.

Blocks of lines are transposed in memory and appended to one temporary file as a *run*.
Reading a range of the other axis takes the matching slice of every run; the slices are
in line order, so joining them is a merge that needs no sort.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cxg.convert.read.matrix import BLOCK_ENTRIES, Block, bounds


class ExternalTranspose:
    """A temporary file of transposed blocks.

    Parameters
    ----------
    path : Path
        File to make; its owner deletes it. It grows to eight bytes for each entry and, for each
        run of at least half of `BLOCK_ENTRIES`, eight bytes for each line of the other axis.
    n_minor : int
        Length of the axis that becomes the lines.
    """

    def __init__(self, path: Path, n_minor: int) -> None:
        self._file = path.open("w+b")
        self._counts = np.zeros(n_minor, dtype=np.int64)
        self._runs: list[tuple[int, int, int]] = []  # offset in the file, lines, entries
        self._waiting: list[Any] = []  # blocks too small for a run of their own
        self._n_minor = n_minor

    def add(self, block: Block) -> None:
        """Append a block; blocks must come in the order of their lines."""
        self._waiting.append(block.lines)
        if sum(lines.nnz for lines in self._waiting) >= BLOCK_ENTRIES // 2:
            self._spill()

    def _spill(self) -> None:
        lines = self._waiting[0] if len(self._waiting) == 1 else sparse.vstack(self._waiting, format="csr")
        self._waiting = []
        turned = lines.tocsc()
        offset = self._file.tell()
        self._runs.append((offset, turned.shape[0], turned.nnz))
        self._counts += np.diff(turned.indptr)
        for part, dtype in ((turned.indptr, np.int64), (turned.indices, np.int32), (turned.data, np.float32)):
            # Not tofile(): on a full disk its error does not say that the disk is full.
            self._file.write(np.ascontiguousarray(part, dtype=dtype).data)

    def blocks(self) -> Iterator[Block]:
        """Yield the transposed matrix as blocks of its lines."""
        if self._waiting:
            self._spill()
        self._file.flush()
        indptr = np.concatenate([[0], np.cumsum(self._counts)])
        for start, stop in bounds(indptr, BLOCK_ENTRIES):
            pieces = [self._piece(run, start, stop) for run in self._runs]
            yield Block(start, sparse.hstack(pieces, format="csr") if len(pieces) > 1 else pieces[0])

    def _piece(self, run: tuple[int, int, int], start: int, stop: int) -> Any:
        offset, n_lines, entries = run
        indptr = self._read(offset + 8 * start, stop - start + 1, np.int64)
        first, size = int(indptr[0]), int(indptr[-1] - indptr[0])
        body = offset + 8 * (self._n_minor + 1)
        indices = self._read(body + 4 * first, size, np.int32)
        values = self._read(body + 4 * (entries + first), size, np.float32)
        return sparse.csr_matrix((values, indices, indptr - first), shape=(stop - start, n_lines))

    def _read(self, offset: int, count: int, dtype: type) -> NDArray[Any]:
        self._file.seek(offset)
        return np.fromfile(self._file, dtype=dtype, count=count)

    def close(self) -> None:
        """Close the temporary file."""
        self._file.close()
