"""Reading a sparse X: the pair `Xr` and `Xc`, or one two-dimensional `X`."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.errors import DatasetInvalid
from cxg.format.layout import VALUE
from cxg.format.matrix import query as reading
from cxg.format.matrix.dense import DenseBlock, FloatArray, IndexArray, as_float32, sum_rows
from cxg.format.matrix.handles import Handle, as_ranges, wanted
from cxg.format.matrix.query import Range
from cxg.memory_bounds import DENSE_BLOCK_VALUES
from cxg.storage.faults import translated
from cxg.storage.tile_files import TileFiles
from cxg.storage.tile_parts import UnknownForm

# Rows of an array that has to be deduplicated, in one block.
_BLOCK_ROWS = 4096
# Values that are read from the files of tiles at a time, where cells have as many as others.
TILES_VALUES = 1 << 18
# Values summed by cell at a time, or as many as there are cells.
SUM_VALUES = 1 << 18


@dataclass(frozen=True, slots=True)
class SparseBlock:
    """Stored values of some rows: `var` (k,) gene numbers and `value` (k,) float32, in any order."""

    var: NDArray[Any]
    value: FloatArray


class Sparse:
    """What the sparse forms share: `columns` and `rows`, an array for each, and how cells become blocks."""

    kind: str

    def __init__(self, columns: Handle, rows: Handle, n_obs: int, n_var: int, shift: FloatArray | None) -> None:
        self.columns, self.rows = columns, rows
        self._n_obs, self._n_var = n_obs, n_var
        self._shift = shift
        # What one scan by TileDB takes is in the memory plan, what one for each thread would take is not.
        self._scan = threading.Lock()

    @property
    def is_shifted(self) -> bool:
        """Tell whether a number is added to every value of a gene, so that none is zero."""
        return self._shift is not None

    def _ranges(self, ranges: list[Range], axis: str) -> list[list[Range]]:
        """Ranges of cells ("obs") or genes ("var") as those of each dimension of their array."""
        raise NotImplementedError

    def read_columns(self, genes: IndexArray) -> FloatArray:
        """Read whole columns; see `Matrix`."""
        out = np.zeros((self._n_obs, len(genes)), np.float32, order="F")
        if len(genes):
            for array in self.columns.open_each():
                # Of a single gene the answer need not say which it is.
                found = self._read(array, "var", as_ranges(genes), ["obs"] if len(genes) == 1 else ["obs", "var"])
                column = np.searchsorted(genes, found["var"]) if len(genes) > 1 else 0
                out[found["obs"], column] = found[VALUE]
            if self._shift is not None:
                out += self._shift[genes]
        return out

    def sum_columns(self, genes: IndexArray) -> NDArray[np.float64]:
        """Sum whole columns without making them dense; see `Matrix`."""
        if not len(genes) or self.columns.may_repeat:
            return sum_rows(self.read_columns(genes))
        found = self._read(self.columns.open(), "var", as_ranges(genes), ["obs"])
        total = np.zeros(self._n_obs)
        # As numbers that `bincount` takes they are several times as large.
        step = max(self._n_obs, SUM_VALUES)
        for start in range(0, len(found["obs"]), step):
            part = slice(start, start + step)
            total += np.bincount(found["obs"][part], found[VALUE][part], self._n_obs)
        return total if self._shift is None else total + self._shift[genes].sum(dtype=np.float64)

    def _read(self, array: Any, axis: str, ranges: list[Range], coordinates: list[str]) -> dict[str, NDArray[Any]]:
        """Values of cells ("obs") or genes ("var"), and those coordinates of them that are asked for."""
        attr, attrs, dims = wanted(array, coordinates)
        with translated("the expression matrix"):
            found = reading.read(array, attrs, self._ranges(ranges, axis), reading.UNORDERED, dims)
        return self._checked(found, attr)

    def _blocks(self, array: Any, ranges: list[Range], coordinates: list[str]) -> Iterator[dict[str, NDArray[Any]]]:
        """The same of cells, in blocks of bounded size."""
        attr, attrs, dims = wanted(array, coordinates)
        with translated("the expression matrix"):
            parts = reading.read_blocks(array, attrs, self._ranges(ranges, "obs"), dims)
        while True:
            with translated("the expression matrix"):
                part = next(parts, None)
            if part is None:
                return
            yield self._checked(part, attr)

    def _checked(self, found: dict[str, NDArray[Any]], attr: str) -> dict[str, NDArray[Any]]:
        """What was read, the values under one name; no coordinate is beyond obs or var."""
        for name, n in (("obs", self._n_obs), ("var", self._n_var)):
            if name in found and found[name].size and not 0 <= found[name].min() <= found[name].max() < n:
                raise DatasetInvalid(f"X holds a value for a row of {name} beyond the {n} that it has.")
        found[VALUE] = as_float32(found.pop(attr))
        return found

    def iter_rows(self, cells: IndexArray) -> Iterator[SparseBlock | DenseBlock]:
        """Read rows block by block; see `Matrix`."""
        if self.rows.may_repeat:
            for start in range(0, len(cells), _BLOCK_ROWS):
                _, var, value = self._read_lines("obs", as_ranges(cells[start : start + _BLOCK_ROWS]))
                yield SparseBlock(var, value)
        elif len(cells):
            array = self.rows.open()
            cells = yield from self._iter_tiles(array, cells)
            with self._scan:
                for found in self._blocks(array, as_ranges(cells), ["var"]) if len(cells) else ():
                    yield SparseBlock(found["var"], found[VALUE])

    @property
    def rows_are_light(self) -> bool:
        """Tell whether rows are read from the files of tiles; see `Matrix`."""
        return not self.rows.may_repeat and not self.is_shifted and self.rows.open().tile_files is not None

    def _iter_tiles(self, array: Any, cells: IndexArray) -> Generator[SparseBlock, None, IndexArray]:
        """Read cells from the files of tiles; returns those that are left to TileDB, which says what is damaged."""
        tiles: TileFiles | None = array.tile_files
        if tiles is None:
            return cells
        attr, *_ = wanted(array, [])
        step = max(1, TILES_VALUES * self._n_obs // max(1, tiles.n_values))
        is_wanted = np.zeros(self._n_obs, np.bool_)
        for start in range(0, len(cells), step):
            part = cells[start : start + step]
            is_wanted[part] = True
            try:
                with translated("the expression matrix"):
                    found = reading.read_tiles(array, tiles, part, is_wanted, ["var", attr])
            except UnknownForm:
                array.tile_files = None
                return cells[start:]
            is_wanted[part] = False
            found = self._checked(found, attr)
            yield SparseBlock(found["var"], found[VALUE])
        return cells[:0]

    def read_range(self, axis: str, start: int, stop: int) -> tuple[IndexArray, NDArray[Any], FloatArray]:
        """Return the stored values of consecutive cells ("obs") or genes ("var"), those of each in ascending order.

        Returns
        -------
        counts : (stop - start,) int64, how many values each has
        other : (k,) position of each value on the other axis
        value : (k,) float32
        """
        line, other, value = self._read_lines(axis, [(start, stop - 1)])
        return np.bincount(line - start, minlength=stop - start).astype(np.int64), other, value

    def _read_lines(self, axis: str, ranges: list[Range]) -> tuple[NDArray[Any], NDArray[Any], FloatArray]:
        """Cells and genes, or genes and cells, and values of all that is stored for some of the former.

        Sorted by the former, then by the latter; each place once.
        """
        handle = self.rows if axis == "obs" else self.columns
        name, n_other = ("var", self._n_var) if axis == "obs" else ("obs", self._n_obs)
        parts = []
        for array in handle.open_each():
            found = self._read(array, axis, ranges, ["obs", "var"])
            parts.append((found[axis], found[name], found[VALUE]))
        line, other, value = (np.concatenate(column) for column in zip(*parts, strict=True))
        place = line.astype(np.int64) * n_other + other
        if handle.may_repeat:
            # Turned round, so that of equal places the one written last comes first and is kept.
            _, kept = np.unique(place[::-1], return_index=True)
            order = len(place) - 1 - kept
        elif np.any(place[1:] < place[:-1]):
            order = np.argsort(place, kind="stable")
        else:
            return line, other, value
        return line[order], other[order], value[order]

    def whole_array(self) -> Any:
        """Open the array by rows, unless cells repeat in it or a number is added to them; see `Matrix`."""
        return None if self.rows.may_repeat or self.is_shifted else self.rows.open()

    def iter_values(self) -> Iterator[FloatArray]:
        """Read every stored value; see `Matrix`."""
        if self.rows.may_repeat:
            for block in self.iter_rows(np.arange(self._n_obs)):
                if isinstance(block, SparseBlock):
                    yield block.value
            return
        for found in self._blocks(self.rows.open(), [(0, self._n_obs - 1)], []):
            yield found[VALUE]

    def close(self) -> None:
        """Close the arrays."""
        self.columns.close()
        self.rows.close()


class RowsAndColumns(Sparse):
    """`Xr` and `Xc`: one-dimensional, the other coordinate is an attribute."""

    kind = "Xr/Xc"

    def _ranges(self, ranges: list[Range], axis: str) -> list[list[Range]]:
        return [ranges]


class Sparse2D(Sparse):
    """A two-dimensional sparse `X`, with its column shift where there is one."""

    kind = "sparse"

    def _ranges(self, ranges: list[Range], axis: str) -> list[list[Range]]:
        return [ranges, []] if axis == "obs" else [[], ranges]

    def iter_rows(self, cells: IndexArray) -> Iterator[SparseBlock | DenseBlock]:
        """Read rows block by block; see `Matrix`."""
        if self._shift is None:
            yield from super().iter_rows(cells)
            return
        # The shift makes every value non-zero, so blocks are dense.
        step = max(1, DENSE_BLOCK_VALUES // self._n_var)
        for start in range(0, len(cells), step):
            part = cells[start : start + step]
            obs, var, value = self._read_lines("obs", as_ranges(part))
            values = np.repeat(self._shift[None, :], len(part), axis=0)
            values[np.searchsorted(part, obs), var] += value
            yield DenseBlock(values)

    def iter_values(self) -> Iterator[FloatArray]:
        """Read every stored value; see `Matrix`."""
        if self._shift is None:
            yield from super().iter_values()
            return
        for block in self.iter_rows(np.arange(self._n_obs)):
            if isinstance(block, DenseBlock):
                yield block.values.ravel()
