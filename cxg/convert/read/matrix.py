"""X of an h5ad as a stream of blocks, whichever way it lies in the file.

A *line* is a row of X when the file holds CSR or a dense matrix, and a column when it
holds CSC. Blocks come in the order of lines, with a bounded number of entries, sorted
indices, no duplicates and no zeros, as float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cxg.convert.numbers import FLOAT32_WHOLE, FLOAT64_WHOLE
from cxg.convert.read.column import as_str, encoding_of
from cxg.errors import ConversionError
from cxg.format import layout

BLOCK_ENTRIES = 4_000_000
"""Entries in one block: about 250 MB with everything that is made from it."""
_SLAB_BLOCKS = 8


@dataclass(frozen=True)
class Block:
    """Consecutive lines of a matrix.

    Attributes
    ----------
    start : int
        Number of the first line.
    lines : (k, n_minor) scipy CSR matrix of float32
        Canonical: sorted, unique, no zeros; NaN and infinity are kept.
    """

    start: int
    lines: Any


@dataclass
class Cleaning:
    """What had to be cleaned while reading."""

    zeros: int = 0
    duplicates: int = 0
    overflows: int = 0
    rounded: int = 0


class MatrixSource(Protocol):
    """A matrix that can be read as blocks of lines."""

    major: str
    shape: tuple[int, int]
    stored: int
    kind: str
    cleaning: Cleaning

    def blocks(self, align: int = 1) -> Iterator[Block]:
        """Yield all lines; every block but the last has a multiple of `align` lines."""


class SparseSource:
    """A CSR or CSC group: `data`, `indices`, `indptr`."""

    def __init__(self, group: Any, kind: str, shape: tuple[int, int]) -> None:
        self.kind, self.shape, self.cleaning = kind, shape, Cleaning()
        self.major = layout.OBS if kind == "csr" else layout.VAR
        self._n_lines, self._n_minor = shape if kind == "csr" else shape[::-1]
        absent = [part for part in ("data", "indices", "indptr") if not isinstance(group.get(part), h5py.Dataset)]
        if absent:
            raise ConversionError(f"{group.name} is a sparse matrix without {absent[0]!r}: the file is damaged.")
        self._data, self._indices = group["data"], group["indices"]
        self._indptr = _checked_indptr(group, self._n_lines)
        self.stored = int(self._indptr[-1])

    def blocks(self, align: int = 1) -> Iterator[Block]:
        """Yield the lines in blocks of about `BLOCK_ENTRIES` entries."""
        for start, stop in bounds(self._indptr, BLOCK_ENTRIES, align):
            first, last = int(self._indptr[start]), int(self._indptr[stop])
            data, indices = self._data[first:last], self._indices[first:last]
            if indices.size and (indices.min() < 0 or indices.max() >= self._n_minor):
                raise ConversionError(
                    f"{self._indices.name} points outside the matrix {self.shape}: the file is damaged."
                )
            indptr = self._indptr[start : stop + 1] - first
            lines = sparse.csr_matrix(
                (_summable(data, self.cleaning), indices, indptr), shape=(stop - start, self._n_minor)
            )
            yield Block(start, canonical(lines, self.cleaning))


class DenseSource:
    """A two-dimensional dataset, read by rows, or by columns when its chunks lie that way."""

    def __init__(self, item: Any, shape: tuple[int, int]) -> None:
        self.kind, self.shape, self.cleaning = "dense", shape, Cleaning()
        self.stored = shape[0] * shape[1]
        self._item = item
        chunk = item.chunks or (1, 1)
        by_row, by_column = chunk[0] * shape[1], chunk[1] * shape[0]
        self._by_row = by_row <= _SLAB_BLOCKS * BLOCK_ENTRIES or by_row <= by_column
        self.major = layout.OBS if self._by_row else layout.VAR
        self._n_lines, self._n_minor = shape if self._by_row else shape[::-1]
        self._chunk_lines = chunk[0 if self._by_row else 1]

    def blocks(self, align: int = 1) -> Iterator[Block]:
        """Yield the lines in blocks of about `BLOCK_ENTRIES` cells."""
        step = max(align, BLOCK_ENTRIES // self._n_minor // align * align)
        for start, slab in self._slabs(step):
            for first in range(0, len(slab), step):
                yield Block(
                    start + first,
                    canonical(_sparsified(_summable(slab[first : first + step], self.cleaning)), self.cleaning),
                )

    def _slabs(self, step: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Read whole chunks of the file where they fit, so that none is decompressed twice."""
        unit = self._chunk_lines
        if unit > step:
            size = -(-unit // step) * step if unit * self._n_minor <= _SLAB_BLOCKS * BLOCK_ENTRIES else step
        else:
            size = step
        for start in range(0, self._n_lines, size):
            stop = min(start + size, self._n_lines)
            yield start, self._item[start:stop] if self._by_row else self._item[:, start:stop].T


def open_source(item: Any, where: str) -> MatrixSource:
    """Open X, a layer or raw.X.

    Raises
    ------
    ConversionError
        It is not a matrix, or in an encoding this converter does not know.
    """
    if isinstance(item, h5py.Dataset):
        if item.ndim != 2 or item.dtype.kind not in "fiub":
            raise ConversionError(
                f"{where} is a dataset of shape {item.shape} and type {item.dtype}; a matrix of numbers is needed."
            )
        return DenseSource(item, (int(item.shape[0]), int(item.shape[1])))
    kind = encoding_of(item).removesuffix("_matrix") or as_str(item.attrs.get("h5sparse_format", ""))
    if kind not in ("csr", "csc"):
        raise ConversionError(
            f"{where} has the encoding {kind or 'of a plain group'!r}; a dense, CSR or CSC matrix is needed."
        )
    shape = item.attrs.get("shape", item.attrs.get("h5sparse_shape"))
    if np.shape(shape) != (2,) or np.asarray(shape).dtype.kind not in "iu":
        raise ConversionError(
            f"{where} is a sparse matrix, but its shape is not two whole numbers: the file is damaged."
        )
    return SparseSource(item, kind, (int(shape[0]), int(shape[1])))


def bounds(indptr: NDArray[np.int64], budget: int, align: int = 1) -> Iterator[tuple[int, int]]:
    """Cut lines into ranges of at most `budget` entries, but at least `align` lines each."""
    n_lines, start = len(indptr) - 1, 0
    while start < n_lines:
        stop = int(np.searchsorted(indptr, indptr[start] + budget, side="right")) - 1
        stop = min(n_lines, start + max(align, (stop - start) // align * align))
        yield start, stop
        start = stop


def canonical(lines: Any, cleaning: Cleaning) -> Any:
    """Sort indices, add up duplicates, drop zeros, cast to float32; in place where it can."""
    before = lines.nnz
    lines.sum_duplicates()
    cleaning.duplicates += before - lines.nnz
    if lines.data.dtype != np.float32:
        with np.errstate(over="ignore"):
            narrow = lines.data.astype(np.float32)
        cleaning.overflows += int(np.count_nonzero(np.isinf(narrow)) - np.count_nonzero(np.isinf(lines.data)))
        cleaning.rounded += _rounded(lines.data, narrow)
        lines.data = narrow
    zeros = lines.nnz - int(np.count_nonzero(lines.data))
    if zeros:
        lines.eliminate_zeros()
        cleaning.zeros += zeros
    return lines


def _rounded(values: NDArray[Any], narrow: NDArray[np.float32]) -> int:
    """How many whole numbers lost digits; of others float32 keeps what expression needs."""
    if not values.size or not max(-np.fmin.reduce(values), np.fmax.reduce(values)) > FLOAT32_WHOLE:
        return 0
    changed = values[(narrow != values) & np.isfinite(values)]
    return int(np.count_nonzero((np.abs(changed) > FLOAT32_WHOLE) & (changed == np.rint(changed))))


def _checked_indptr(group: Any, n_lines: int) -> NDArray[np.int64]:
    indptr: NDArray[np.int64] = group["indptr"][:].astype(np.int64)
    sizes = {int(group["data"].shape[0]), int(group["indices"].shape[0])}
    if len(indptr) != n_lines + 1:
        raise ConversionError(
            f"{group['indptr'].name} has {len(indptr)} entries; the shape needs {n_lines + 1}: the file is damaged."
        )
    if indptr[0] != 0 or np.any(np.diff(indptr) < 0) or sizes != {int(indptr[-1])}:
        raise ConversionError(f"{group.name}: indptr, indices and data do not fit together: the file is damaged.")
    return indptr


def _summable(values: NDArray[Any], cleaning: Cleaning) -> NDArray[Any]:
    """A type in which duplicates may be added up: small integers would overflow."""
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        large = values[(values > FLOAT64_WHOLE) | (values < -FLOAT64_WHOLE)]
        # What float64 does not hold either, where that cannot be seen by its rounding to float32.
        cleaning.rounded += sum(int(float(v)) != v and np.float32(v) == np.float64(v) for v in large.tolist())
    if values.dtype.kind in "iub":
        return values.astype(np.float32 if values.dtype.itemsize <= 2 else np.float64)
    return values if values.dtype in (np.float32, np.float64) else values.astype(np.float32)


def _sparsified(dense: NDArray[Any]) -> Any:
    dense = np.ascontiguousarray(dense)
    # scipy's own constructor goes through three index arrays of 64 bits; this needs one mask.
    mask = dense != 0
    indptr = np.concatenate([[0], np.cumsum(mask.sum(axis=1))])
    indices = np.broadcast_to(np.arange(dense.shape[1], dtype=np.int32), dense.shape)[mask]
    return sparse.csr_matrix((dense[mask], indices, indptr), shape=dense.shape)
