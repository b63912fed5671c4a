"""A decoded copy of X, by cell or by gene, in plain files.

TileDB decompresses every tile that a line of X touches; a thousand random cells touch most
of a large dataset. Here the values of each line (a cell, or a gene) lie side by side,
decoding was done once, and reading lines is copying their runs.

Folder: `indptr.npy` (lines + 1) int64; `other.u2` or `other.u4` (nnz) little-endian position
of each value on the other axis; `value.f4` (nnz) little-endian float32. Together they are the
arrays of a compressed sparse matrix. Beside them is the manifest of `cxg.storage.checksums`: lines are
compared with their checksums when a process reads them for the first time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.decoded.items import ItemsFile
from cxg.memory_bounds import OPEN_DECODED_BYTES
from cxg.storage.checksums import CheckedFile, CopyWriter, load_array, read_manifest

IndexArray = NDArray[np.int64]
ReadRange = Callable[[int, int], tuple[IndexArray, NDArray[Any], NDArray[np.float32]]]
"""From the first line and the one after the last: how many values each has, their other positions, the values."""

# Values in one piece: small enough to stay in the processor's cache while they are added up.
PIECE_VALUES = 1 << 20
# Lines are decoded in groups of about the first number of values; a group has no more lines than could hold the second.
_BUILD_VALUES, MOST_BUILD_VALUES = 1 << 19, 1 << 23
_OTHER: dict[str, np.dtype[Any]] = {"other.u2": np.dtype("<u2"), "other.u4": np.dtype("<u4")}
_VALUE, _VALUE_DTYPE = "value.f4", np.dtype("<f4")
_INDPTR = "indptr.npy"


class DecodedMatrix:
    """The decoded lines of one dataset; safe to share between threads.

    Parameters
    ----------
    folder : Path
        Folder that `build` filled.
    copy : str
        Name of the copy.

    Attributes
    ----------
    stamp : Stamp
        Tells this copy from one that is made later.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    CopyDamaged
        It is not complete, or not what was written; so does all that reads, and then nothing read is of use.
    """

    def __init__(self, folder: Path, copy: str) -> None:
        manifest = read_manifest(folder, copy)
        self.stamp = manifest.stamp
        indptr = CheckedFile(folder, manifest, _INDPTR)
        indptr.check_all()
        self._indptr: IndexArray = load_array(indptr)
        name = next(name for name in _OTHER if name in manifest.files)
        self._other = ItemsFile(folder, manifest, name, _OTHER[name])
        self._value = ItemsFile(folder, manifest, _VALUE, _VALUE_DTYPE)
        self._checked = np.zeros(len(self._indptr) - 1, np.bool_)
        self._held_bytes = self._indptr.nbytes + self._checked.nbytes + manifest.nbytes

    def held_bytes(self) -> int:
        """Return the memory that it takes while it is open, in bytes, with a share for its two files."""
        return self._held_bytes + OPEN_DECODED_BYTES

    def is_unchanged(self) -> bool:
        """Tell whether nobody has written to its files, or removed them, since they were opened."""
        return self._other.is_unchanged() and self._value.is_unchanged()

    def line(self, number: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Return the positions on the other axis, ascending, and values of one line: (k,) each."""
        if not self._checked[number]:
            self._check(np.array([number]))
        starts, stops = [int(self._indptr[number])], [int(self._indptr[number + 1])]
        return self._other.read(starts, stops), self._value.read(starts, stops)

    def pieces(self, lines: IndexArray) -> Iterator[tuple[NDArray[Any], NDArray[np.float32]]]:
        """Yield positions on the other axis and values of `lines` (sorted, unique), about a million in each piece."""
        return map(self.piece, self.parts(lines))

    def parts(self, lines: IndexArray) -> list[IndexArray]:
        """Split `lines` (sorted, unique) so that each part has about a million values."""
        ends = np.cumsum(self._indptr[lines + 1] - self._indptr[lines])
        cuts = np.searchsorted(ends, np.arange(PIECE_VALUES, ends[-1] if len(ends) else 0, PIECE_VALUES))
        return [part for part in np.split(lines, np.unique(cuts) + 1) if len(part)]

    def piece(self, lines: IndexArray) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Return the positions on the other axis and values of some lines (sorted, unique, at least one)."""
        if not self._checked[lines].all():
            self._check(lines[~self._checked[lines]])
        starts, stops = self._runs(lines)
        return self._other.read(starts, stops), self._value.read(starts, stops)

    def _check(self, lines: IndexArray) -> None:
        """Compare lines with their checksums."""
        starts, stops = self._indptr[lines], self._indptr[lines + 1]
        filled = stops > starts
        if filled.any():
            self._other.check_items(starts[filled], stops[filled])
            self._value.check_items(starts[filled], stops[filled])
        self._checked[lines] = True

    def _runs(self, lines: IndexArray) -> tuple[list[int], list[int]]:
        """Positions in the files of runs of consecutive lines."""
        breaks = np.flatnonzero(np.diff(lines) != 1) + 1
        first = lines[np.concatenate(([0], breaks))]
        last = lines[np.concatenate((breaks - 1, [len(lines) - 1]))]
        return self._indptr[first].tolist(), self._indptr[last + 1].tolist()


def read_columns(store: DecodedMatrix, genes: IndexArray, n_obs: int) -> NDArray[np.float32]:
    """Return the expression of `genes` in every cell, from a copy by gene: (n_obs, k) float32, column-major."""
    out = np.zeros((n_obs, len(genes)), np.float32, order="F")
    for column, gene in enumerate(genes.tolist()):
        cells, values = store.line(gene)
        out[cells, column] = values
    return out


def sum_columns(store: DecodedMatrix, genes: IndexArray, n_obs: int) -> NDArray[np.float64]:
    """Sum of `genes` (sorted, unique) in every cell, from a copy by gene: (n_obs,) float64."""
    total = np.zeros(n_obs)
    for cells, values in store.pieces(genes):
        total += np.bincount(cells, values, n_obs)
    return total


def build(copy: CopyWriter, read_range: ReadRange, n_lines: int, n_other: int, most_bytes: int) -> bool:
    """Decode all lines of a matrix.

    Returns
    -------
    bool
        False when it stopped because the files would be larger than `most_bytes`; the copy
        is then of no use.

    Raises
    ------
    OSError
        The disk is full or not writable.
    DatasetInvalid, StorageUnavailable
        The matrix cannot be read.
    """
    name = "other.u2" if n_other <= 1 << 16 else "other.u4"
    indptr = np.zeros(n_lines + 1, np.int64)
    with copy.open(name) as other_file, copy.open(_VALUE) as value_file:
        most = max(1, MOST_BUILD_VALUES // max(1, n_other))
        start, step, written = 0, min(256, most), 0
        while start < n_lines:
            stop = min(n_lines, start + step)
            counts, other, value = read_range(start, stop)
            other_file.write(other.astype(_OTHER[name]).data)
            value_file.write(value.astype(_VALUE_DTYPE, copy=False).data)
            indptr[start + 1 : stop + 1] = written + np.cumsum(counts)
            written += len(other)
            if written * (_OTHER[name].itemsize + _VALUE_DTYPE.itemsize) > most_bytes:
                return False
            step = min(most, max(1, int(_BUILD_VALUES * stop / max(1, written))))
            start = stop
    copy.save(_INDPTR, indptr)
    return True
