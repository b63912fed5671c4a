"""Sums over the cells of each label of obs that a converter stored: a comparison of labels then reads no X."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.errors import DatasetInvalid
from cxg.format.columns import ColumnValues, Labels
from cxg.format.layout import (
    LABELS_CHECKSUM,
    LABELS_COUNTS,
    LABELS_KEY,
    LABELS_NAME,
    TOTAL_SQUARES,
    TOTAL_SUM,
    TRANSFORM_KEY,
    TRANSFORM_LOG1P,
    X_LABEL_SUMS,
)
from cxg.format.matrix import query as reading
from cxg.format.matrix.handles import Handle, as_ranges
from cxg.memory_bounds import LABEL_BLOCK_BYTES
from cxg.storage.faults import translated

FloatArray = NDArray[np.float64]
_NAMES = [TOTAL_SUM, TOTAL_SQUARES]


@dataclass(frozen=True, slots=True)
class SummedColumn:
    """A column whose labels have sums.

    Attributes
    ----------
    name : str
    first : int
        Row of its first label; the others follow.
    counts : (labels,) int64
        Number of cells of each label.
    checksum : int
        Checksum of the codes of all cells.
    """

    name: str
    first: int
    counts: NDArray[np.int64]
    checksum: int


class LabelSums:
    """The array `X_label_sums`; it is opened, and rows are read, when they are asked for.

    Attributes
    ----------
    columns : tuple of SummedColumn
    log1p : bool
        Whether they are sums of ln(1+x), else of x.
    """

    def __init__(self, handle: Handle, columns: tuple[SummedColumn, ...], log1p: bool, n_var: int) -> None:
        self.columns, self.log1p = columns, log1p
        self._handle, self._n_var = handle, n_var

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes, in bytes, without the open array."""
        return sum(column.counts.nbytes for column in self.columns)

    def add_up(self, rows: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Return the sums and sums of squares over the cells of some labels, `rows` (sorted, unique): (n_var,) each.

        Raises
        ------
        DatasetInvalid, StorageUnavailable
            They cannot be read.
        """
        total, squares = np.zeros(self._n_var), np.zeros(self._n_var)
        for sums in self.blocks(rows):
            with np.errstate(all="ignore"):
                total += sums[0].sum(axis=0)
                squares += sums[1].sum(axis=0)
        return total, squares

    def blocks(self, rows: NDArray[np.int64]) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Read rows some at a time: (k, n_var) sums and sums of squares; raises as `add_up`."""
        array = self._handle.open()
        step = max(1, LABEL_BLOCK_BYTES // (16 * max(1, self._n_var)))
        for start in range(0, len(rows), step):
            ranges = [as_ranges(rows[start : start + step]), [(0, self._n_var - 1)]]
            with translated(X_LABEL_SUMS):
                found = reading.read(array, _NAMES, ranges, reading.ROW_MAJOR)
            yield found[TOTAL_SUM].reshape(-1, self._n_var), found[TOTAL_SQUARES].reshape(-1, self._n_var)

    def close(self) -> None:
        """Close the array."""
        self._handle.close()


def read_summed_columns(array: Any, n_obs: int, n_var: int) -> tuple[tuple[SummedColumn, ...], bool]:
    """Read the head of the open array `X_label_sums`: its columns, and whether its sums are of ln(1+x).

    Raises
    ------
    DatasetInvalid
        It does not hold sums over the labels of `n_obs` cells for `n_var` genes.
    StorageUnavailable
        The store did not answer.
    """
    schema = array.schema
    stored = {schema.attr(i).name: np.dtype(schema.attr(i).dtype) for i in range(schema.nattr)}
    with translated(X_LABEL_SUMS):
        meta = reading.read_meta(array)
    columns = _columns(meta.get(LABELS_KEY), n_obs)
    rows = sum(len(column.counts) for column in columns)
    is_float64 = all(stored.get(name) == np.float64 for name in _NAMES)
    if schema.sparse or schema.shape != (rows, n_var) or not rows or not is_float64:
        raise DatasetInvalid(
            f"{X_LABEL_SUMS} is not the sums over labels of {n_obs:,} cells for {n_var:,} genes; "
            f"remove the folder {X_LABEL_SUMS}."
        )
    return columns, meta.get(TRANSFORM_KEY) == TRANSFORM_LOG1P


def codes_of(column: SummedColumn, values: ColumnValues) -> NDArray[Any] | None:
    """Return the codes of all cells, as stored; None when they are not those that the sums were made with."""
    if not isinstance(values, Labels):
        return None
    codes, n = values.codes, len(column.counts)
    if not codes.size or int(codes.min()) < 0 or int(codes.max()) >= n:
        return None
    is_same = zlib.crc32(codes.astype("<i4").tobytes()) == column.checksum
    return codes if is_same and np.array_equal(np.bincount(codes, minlength=n), column.counts) else None


def _columns(text: object, n_obs: int) -> tuple[SummedColumn, ...]:
    """What the metadata lists; nothing when it makes no sense."""
    try:
        listed = json.loads(text) if isinstance(text, str) else []
        columns, first = [], 0
        for item in listed:
            counts = np.array(item[LABELS_COUNTS], np.int64)
            if counts.ndim != 1 or not counts.size or counts.min() < 0 or counts.sum() != n_obs:
                return ()
            columns.append(SummedColumn(str(item[LABELS_NAME]), first, counts, int(item[LABELS_CHECKSUM])))
            first += len(counts)
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return ()
    return tuple(columns)
