"""Reading a dense `X`, and what the sparse forms have in common with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.format.matrix import query as reading
from cxg.format.matrix.handles import Handle, as_ranges, value_name
from cxg.format.matrix.query import Range
from cxg.memory_bounds import DENSE_BLOCK_VALUES
from cxg.storage.faults import translated

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class DenseBlock:
    """All values of some rows: (rows, n_var) float32."""

    values: FloatArray


class Dense2D:
    """A two-dimensional dense `X`."""

    kind = "dense"

    def __init__(self, columns: Handle, rows: Handle, n_obs: int, n_var: int) -> None:
        self.columns, self.rows = columns, rows
        self._n_obs, self._n_var = n_obs, n_var

    def read_columns(self, genes: IndexArray) -> FloatArray:
        """Read whole columns; see `Matrix`."""
        if not len(genes):
            return np.zeros((self._n_obs, 0), np.float32, order="F")
        ranges = [[(0, self._n_obs - 1)], as_ranges(genes)]
        values = self._read(self.columns.open(), ranges, reading.COLUMN_MAJOR)
        return values.reshape(len(genes), self._n_obs).T

    def sum_columns(self, genes: IndexArray) -> NDArray[np.float64]:
        """Sum whole columns; see `Matrix`."""
        return sum_rows(self.read_columns(genes))

    def iter_rows(self, cells: IndexArray) -> Iterator[DenseBlock]:
        """Read rows block by block; see `Matrix`."""
        array, step = self.rows.open(), max(1, DENSE_BLOCK_VALUES // max(1, self._n_var))
        for start in range(0, len(cells), step):
            ranges = [as_ranges(cells[start : start + step]), [(0, self._n_var - 1)]]
            yield DenseBlock(self._read(array, ranges, reading.ROW_MAJOR).reshape(-1, self._n_var))

    def iter_values(self) -> Iterator[FloatArray]:
        """Read every stored value; see `Matrix`."""
        for block in self.iter_rows(np.arange(self._n_obs)):
            yield block.values.ravel()

    def whole_array(self) -> Any:
        """Open the array by rows; see `Matrix`."""
        return self.rows.open()

    def _read(self, array: Any, ranges: list[list[Range]], order: int) -> FloatArray:
        attr = value_name(array)
        with translated("the expression matrix"):
            return as_float32(reading.read(array, [attr], ranges, order)[attr])

    def close(self) -> None:
        """Close the arrays."""
        self.columns.close()
        self.rows.close()


def sum_rows(values: FloatArray) -> NDArray[np.float64]:
    """Sum of each row."""
    total: NDArray[np.float64] = values.sum(axis=1, dtype=np.float64)
    return total


def as_float32(values: Any) -> FloatArray:
    """Return the same as float32, not copied if it is that."""
    return np.asarray(values).astype(np.float32, copy=False)
