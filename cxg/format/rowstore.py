"""A decoded copy of X by rows, in plain files that are mapped into memory.

TileDB decompresses every tile that a set of cells touches; a thousand random cells touch
most of a large dataset. Here each cell's values lie side by side, undecoded work is done
once, and reading a set of cells is copying its runs.

Folder: `indptr.npy` (n_obs + 1) int64, `var.npy` (nnz) uint16 or uint32, `value.npy` (nnz)
float32: the arrays of a compressed sparse row matrix.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from cxg.format.matrix import IndexArray, Matrix, SparseBlock

# Values in one block: small enough to stay in cache while they are added up.
_BLOCK_VALUES = 1 << 20
# Rows are decoded in groups of about this many values.
_BUILD_VALUES = 4 << 20
_FILES = ("indptr", "var", "value")


class RowStore:
    """The decoded rows of one dataset; safe to share between threads.

    Parameters
    ----------
    folder : as `build` left it

    Raises
    ------
    OSError, ValueError
        The folder is not complete.
    """

    def __init__(self, folder: Path) -> None:
        self._indptr: NDArray[np.int64] = np.load(folder / "indptr.npy")
        self._var: Any = np.load(folder / "var.npy", mmap_mode="r")
        self._value: Any = np.load(folder / "value.npy", mmap_mode="r")
        if not len(self._var) == len(self._value) == self._indptr[-1]:
            raise ValueError("The decoded rows are incomplete.")

    def blocks(self, cells: IndexArray) -> Iterator[SparseBlock]:
        """Values of `cells` (sorted, unique), about a million in each block."""
        lengths = self._indptr[cells + 1] - self._indptr[cells]
        ends = np.cumsum(lengths)
        cuts = np.searchsorted(ends, np.arange(_BLOCK_VALUES, ends[-1] if len(ends) else 0, _BLOCK_VALUES))
        for part in np.split(cells, np.unique(cuts) + 1):
            if len(part):
                starts, stops = self._runs(part)
                yield SparseBlock(_gather(self._var, starts, stops), _gather(self._value, starts, stops))

    def forget(self) -> None:
        """Unmap the pages that were read; the operating system keeps or drops them as it sees fit."""
        for array in (self._var, self._value):
            mapping = getattr(array, "_mmap", None)
            if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
                mapping.madvise(mmap.MADV_DONTNEED)

    def _runs(self, cells: IndexArray) -> tuple[list[int], list[int]]:
        """Positions in the files of runs of consecutive cells."""
        breaks = np.flatnonzero(np.diff(cells) != 1) + 1
        first = cells[np.concatenate(([0], breaks))]
        last = cells[np.concatenate((breaks - 1, [len(cells) - 1]))]
        return self._indptr[first].tolist(), self._indptr[last + 1].tolist()


def build(folder: Path, matrix: Matrix, n_obs: int, n_var: int, most_bytes: int) -> bool:
    """Decode all rows of a matrix into an empty folder.

    Returns
    -------
    bool
        False when it stopped because the files would be larger than `most_bytes`; the folder
        is then of no use.

    Raises
    ------
    OSError
        The disk is full or not writable.
    DatasetInvalid, StorageUnavailable
        The matrix cannot be read.
    """
    small = n_var <= 1 << 16
    dtypes = {"var": np.dtype("<u2" if small else "<u4"), "value": np.dtype("<f4")}
    item_bytes = sum(dtype.itemsize for dtype in dtypes.values())
    indptr = np.zeros(n_obs + 1, np.int64)
    with (folder / "var.npy").open("wb+") as var_file, (folder / "value.npy").open("wb+") as value_file:
        files: dict[str, BinaryIO] = {"var": var_file, "value": value_file}
        # The length is not known yet; a header of the same size is written over this one at the end.
        for name, file in files.items():
            _write_header(file, dtypes[name], 0)
        start, step, written = 0, 256, 0
        while start < n_obs:
            stop = min(n_obs, start + step)
            counts, var, value = matrix.read_row_range(start, stop)
            files["var"].write(var.astype(dtypes["var"]).data)
            files["value"].write(value.astype(dtypes["value"], copy=False).data)
            indptr[start + 1 : stop + 1] = written + np.cumsum(counts)
            written += len(var)
            if written * item_bytes > most_bytes:
                return False
            step = max(64, int(_BUILD_VALUES * stop / max(1, written)))
            start = stop
        for name, file in files.items():
            file.seek(0)
            _write_header(file, dtypes[name], written)
    np.save(folder / "indptr.npy", indptr)
    return True


def _write_header(file: BinaryIO, dtype: np.dtype[Any], length: int) -> None:
    """Numpy's file header, padded by it to a multiple of 64 bytes; the same size for any length below 1e13."""
    header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    start = file.tell()
    npy.write_array_header_1_0(file, header)
    if file.tell() - start != _HEADER_BYTES:
        raise ValueError("numpy wrote a file header of another size than expected.")


_HEADER_BYTES = 128


def _gather(array: Any, starts: list[int], stops: list[int]) -> Any:
    if len(starts) == 1:
        return array[starts[0] : stops[0]]
    return np.concatenate([array[a:b] for a, b in zip(starts, stops, strict=True)])
