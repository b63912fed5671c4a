"""Reading X, in each of the forms a CXG keeps it in.

* `Xr` + `Xc`: one-dimensional sparse arrays, by cell and by gene;
* `X`, two-dimensional, sparse, sometimes beside `X_col_shift` (added to every cell);
* `X`, two-dimensional, dense.

The form is told by the arrays that are there, never by the version a file claims.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cxg.errors import DatasetInvalid
from cxg.format.structure import ArrayFiles
from cxg.storage import Storage, translated

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int64]

# One block of rows: at most this many dense values (64 MB of float32), or rows of a sparse array that
# has to be deduplicated.
_BLOCK_VALUES = 16 << 20
_BLOCK_ROWS = 4096
# An array of more fragments than this was written in pieces, not over and over.
_MOST_GENERATIONS = 16


@dataclass(frozen=True, slots=True)
class SparseBlock:
    """Stored values of some rows: `var` (k,) gene numbers and `value` (k,) float32, in any order."""

    var: NDArray[Any]
    value: FloatArray


@dataclass(frozen=True, slots=True)
class DenseBlock:
    """All values of some rows: (rows, n_var) float32."""

    values: FloatArray


class Matrix(Protocol):
    """X of one dataset, whichever form it has; safe to share between threads."""

    kind: str
    is_sparse: bool

    def read_columns(self, genes: IndexArray) -> FloatArray:
        """Expression of `genes` (sorted, unique) in every cell: (n_obs, k) float32, column-major."""

    def sum_columns(self, genes: IndexArray) -> NDArray[np.float64]:
        """Sum of `genes` (sorted, unique) in every cell: (n_obs,) float64."""

    def iter_rows(self, cells: IndexArray) -> Iterator[SparseBlock | DenseBlock]:
        """Values of `cells` (sorted, unique), in blocks of bounded size."""

    def read_range(self, axis: str, start: int, stop: int) -> tuple[IndexArray, NDArray[Any], FloatArray]:
        """Stored values of consecutive cells ("obs") or genes ("var"), those of each in ascending order.

        Returns
        -------
        counts : (stop - start,) int64, how many values each has
        other : (k,) position of each value on the other axis
        value : (k,) float32
        """

    def iter_values(self) -> Iterator[FloatArray]:
        """Every stored value once, in blocks, in no particular order."""

    def close(self) -> None:
        """Close the arrays."""


class _Handle:
    """An array opened at first use, once, whichever thread comes first.

    More than one fragment may mean two generations of the same cells in one folder, and the
    sparse forms allow duplicates: then each fragment is opened apart, oldest first, so that
    what was written last can win.
    """

    def __init__(self, storage: Storage, uri: str, *, rows: bool, fragments: tuple[str, ...]) -> None:
        self._storage, self._uri, self._rows = storage, uri, rows
        self._lock = threading.Lock()
        self._arrays: dict[Any, Any] = {}
        self.may_repeat = 1 < len(fragments) <= _MOST_GENERATIONS
        # A fragment is called __<first>_<last timestamp>_<unique>_<format>.
        self._times = sorted(tuple(int(part) for part in name.split("_")[2:4]) for name in fragments)

    def open(self) -> Any:
        """The array as a whole."""
        return self._open(None)

    def open_each(self) -> list[Any]:
        """The array, or where cells may repeat each of its fragments, oldest first."""
        return [self._open(time) for time in self._times] if self.may_repeat else [self.open()]

    def close(self) -> None:
        """Close what was opened."""
        with self._lock:
            for array in self._arrays.values():
                array.close()
            self._arrays.clear()

    def _open(self, time: tuple[int, ...] | None) -> Any:
        with self._lock:
            if time not in self._arrays:
                ctx = self._storage.row_ctx if self._rows else self._storage.column_ctx
                self._arrays[time] = self._storage.open_array(self._uri, ctx, "the expression matrix", time)
            return self._arrays[time]


class _Sparse:
    """What the sparse forms share: an array for columns, one for rows, and how cells become blocks."""

    kind: str

    def __init__(self, columns: _Handle, rows: _Handle, n_obs: int, n_var: int, shift: FloatArray | None) -> None:
        self._columns, self._rows = columns, rows
        self._n_obs, self._n_var = n_obs, n_var
        self._shift = shift
        # A column shift makes every value non-zero.
        self.is_sparse = shift is None

    def _select(self, indices: list[Any], axis: str) -> Any:
        raise NotImplementedError

    def read_columns(self, genes: IndexArray) -> FloatArray:
        """Read whole columns; see `Matrix`."""
        out = np.zeros((self._n_obs, len(genes)), np.float32, order="F")
        if len(genes):
            for array in self._columns.open_each():
                # Of a single gene the answer need not say which it is.
                found = self._read_parts(array, genes, ["obs"] if len(genes) == 1 else ["obs", "var"])
                column = np.searchsorted(genes, found["var"]) if len(genes) > 1 else 0
                out[found["obs"], column] = found[value_name(array)]
            if self._shift is not None:
                out += self._shift[genes]
        return out

    def sum_columns(self, genes: IndexArray) -> NDArray[np.float64]:
        """Sum whole columns without making them dense; see `Matrix`."""
        if not len(genes) or self._columns.may_repeat:
            return _sum_rows(self.read_columns(genes))
        array = self._columns.open()
        found = self._read_parts(array, genes, ["obs"])
        total = np.bincount(found["obs"], found[value_name(array)], self._n_obs).astype(np.float64, copy=False)
        return total if self._shift is None else total + self._shift[genes].sum(dtype=np.float64)

    def _read_parts(self, array: Any, genes: IndexArray, coordinates: list[str]) -> Any:
        """Values of whole columns, and those coordinates of them that are asked for."""
        with translated("the expression matrix"):
            query = array.query(**_wanted(array, coordinates), order="U")
            return query.multi_index[self._select(genes.tolist(), "var")]

    def iter_rows(self, cells: IndexArray) -> Iterator[SparseBlock | DenseBlock]:
        """Read rows block by block; see `Matrix`."""
        if self._rows.may_repeat:
            for start in range(0, len(cells), _BLOCK_ROWS):
                _, var, value = self._read_lines("obs", as_ranges(cells[start : start + _BLOCK_ROWS]))
                yield SparseBlock(var, value)
            return
        array = self._rows.open()
        for found in _submit(array, ["var"], self._select(as_ranges(cells), "obs")):
            yield SparseBlock(found["var"], _float32(found[value_name(array)]))

    def read_range(self, axis: str, start: int, stop: int) -> tuple[IndexArray, NDArray[Any], FloatArray]:
        """Read consecutive cells or genes; see `Matrix`."""
        line, other, value = self._read_lines(axis, [slice(start, stop - 1)])
        return np.bincount(line - start, minlength=stop - start).astype(np.int64), other, value

    def _read_lines(self, axis: str, ranges: list[Any]) -> tuple[NDArray[Any], NDArray[Any], FloatArray]:
        """Cells and genes, or genes and cells, and values of all that is stored for some of the former.

        Sorted by the former, then by the latter; each place once.
        """
        handle = self._rows if axis == "obs" else self._columns
        name, n_other = ("var", self._n_var) if axis == "obs" else ("obs", self._n_obs)
        parts = []
        for array in handle.open_each():
            with translated("the expression matrix"):
                found = array.query(order="U").multi_index[self._select(ranges, axis)]
            parts.append((found[axis], found[name], _float32(found[value_name(array)])))
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

    def iter_values(self) -> Iterator[FloatArray]:
        """Read every stored value; see `Matrix`."""
        array = self._rows.open()
        for found in _submit(array, [], slice(None)):
            yield _float32(found[value_name(array)])

    def close(self) -> None:
        """Close the arrays."""
        self._columns.close()
        self._rows.close()


class RowsAndColumns(_Sparse):
    """`Xr` and `Xc`: one-dimensional, the other coordinate is an attribute."""

    kind = "Xr/Xc"

    def _select(self, indices: list[Any], axis: str) -> Any:
        return indices


class Sparse2D(_Sparse):
    """A two-dimensional sparse `X`, with its column shift where there is one."""

    kind = "sparse"

    def _select(self, indices: list[Any], axis: str) -> Any:
        return (indices, slice(None)) if axis == "obs" else (slice(None), indices)

    def iter_rows(self, cells: IndexArray) -> Iterator[SparseBlock | DenseBlock]:
        """Read rows block by block; see `Matrix`."""
        if self._shift is None:
            yield from super().iter_rows(cells)
            return
        # The shift makes every value non-zero, so blocks are dense.
        step = max(1, _BLOCK_VALUES // self._n_var)
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


class Dense2D:
    """A two-dimensional dense `X`."""

    kind = "dense"
    is_sparse = False

    def __init__(self, columns: _Handle, rows: _Handle, n_obs: int, n_var: int) -> None:
        self._columns, self._rows = columns, rows
        self._n_obs, self._n_var = n_obs, n_var

    def read_columns(self, genes: IndexArray) -> FloatArray:
        """Read whole columns; see `Matrix`."""
        if not len(genes):
            return np.zeros((self._n_obs, 0), np.float32, order="F")
        array = self._columns.open()
        with translated("the expression matrix"):
            found = array.query().multi_index[:, genes.tolist()][value_name(array)]
        return np.asfortranarray(found, dtype=np.float32)

    def sum_columns(self, genes: IndexArray) -> NDArray[np.float64]:
        """Sum whole columns; see `Matrix`."""
        return _sum_rows(self.read_columns(genes))

    def iter_rows(self, cells: IndexArray) -> Iterator[SparseBlock | DenseBlock]:
        """Read rows block by block; see `Matrix`."""
        array, step = self._rows.open(), max(1, _BLOCK_VALUES // max(1, self._n_var))
        for start in range(0, len(cells), step):
            with translated("the expression matrix"):
                found = array.query().multi_index[as_ranges(cells[start : start + step]), :][value_name(array)]
            yield DenseBlock(_float32(found))

    def read_range(self, axis: str, start: int, stop: int) -> tuple[IndexArray, NDArray[Any], FloatArray]:
        """Read consecutive cells or genes; see `Matrix`."""
        rows = axis == "obs"
        array = (self._rows if rows else self._columns).open()
        lines = slice(start, stop - 1)
        with translated("the expression matrix"):
            found = array.query().multi_index[(lines, slice(None)) if rows else (slice(None), lines)]
        values = _float32(found[value_name(array)] if rows else found[value_name(array)].T)
        line, other = np.nonzero(values)
        return np.bincount(line, minlength=stop - start).astype(np.int64), other, values[line, other]

    def iter_values(self) -> Iterator[FloatArray]:
        """Read every stored value; see `Matrix`."""
        for block in self.iter_rows(np.arange(self._n_obs)):
            if isinstance(block, DenseBlock):
                yield block.values.ravel()

    def close(self) -> None:
        """Close the arrays."""
        self._columns.close()
        self._rows.close()


def open_matrix(storage: Storage, uri: str, files: dict[str, ArrayFiles], n_obs: int, n_var: int) -> Matrix:
    """Open X in the form its arrays have; the arrays themselves open at first use.

    Parameters
    ----------
    files : state of the arrays `Xr`, `Xc`, `X`, `X_col_shift` that exist

    Raises
    ------
    DatasetInvalid
        There is no X, or its files are incomplete.
    """

    def handle(name: str, *, rows: bool) -> _Handle:
        return _Handle(storage, f"{uri}/{name}", rows=rows, fragments=files[name].fragments)

    if "Xc" in files and "Xr" in files:
        require_whole(files, "Xr", "Xc")
        return RowsAndColumns(handle("Xc", rows=False), handle("Xr", rows=True), n_obs, n_var, None)
    if "X" not in files:
        raise DatasetInvalid("This dataset holds no expression matrix (neither X nor Xr and Xc).")
    require_whole(files, "X")
    columns, rows = handle("X", rows=False), handle("X", rows=True)
    schema = columns.open().schema
    if schema.ndim != 2 or schema.shape != (n_obs, n_var):
        raise DatasetInvalid(f"X has the shape {schema.shape}, but obs and var say ({n_obs}, {n_var}).")
    if not schema.sparse:
        return Dense2D(columns, rows, n_obs, n_var)
    shift = None
    if "X_col_shift" in files:
        array = storage.open_array(f"{uri}/X_col_shift", storage.column_ctx, "X_col_shift")
        with translated("X_col_shift"):
            shift = _float32(read_dense(array, slice(None)))
        array.close()
    return Sparse2D(columns, rows, n_obs, n_var, shift)


def as_ranges(indices: IndexArray) -> list[Any]:
    """Pack sorted unique indices for TileDB: runs become inclusive slices, single ones stay numbers."""
    if not len(indices):
        return []
    breaks = np.flatnonzero(np.diff(indices) != 1)
    starts = indices[np.concatenate(([0], breaks + 1))]
    stops = indices[np.concatenate((breaks, [len(indices) - 1]))]
    return [a if a == b else slice(a, b) for a, b in zip(starts.tolist(), stops.tolist(), strict=True)]


def require_whole(files: dict[str, ArrayFiles], *names: str) -> None:
    """Check that the named arrays have all their files.

    Raises
    ------
    DatasetInvalid
        One has not; the message says which and why.
    """
    for name in names:
        problem = files[name].problem
        if problem is not None:
            raise DatasetInvalid(f"This dataset's expression data is missing: {name} cannot be read because {problem}.")


def _submit(array: Any, coordinates: list[str], selection: Any) -> Iterator[dict[str, Any]]:
    """Run one unordered query and yield its results in blocks no larger than the row context's buffers."""
    with translated("the expression matrix"):
        query = array.query(**_wanted(array, coordinates), order="U", return_incomplete=True)
        parts = iter(query.multi_index[selection])
    while True:
        with translated("the expression matrix"):
            part = next(parts, None)
        if part is None:
            return
        yield part


def _wanted(array: Any, coordinates: list[str]) -> dict[str, Any]:
    """What a query of a sparse array is to give: values and some coordinates, each an attribute or a dimension."""
    dims = [array.schema.domain.dim(i).name for i in range(array.schema.ndim)]
    attrs = [value_name(array), *(name for name in coordinates if name not in dims)]
    return {"attrs": attrs, "dims": [name for name in coordinates if name in dims] or False}


def value_name(array: Any) -> str:
    """Name of the attribute that holds values: the empty name since 2020, ``__attr`` before."""
    names = [array.schema.attr(i).name for i in range(array.schema.nattr)]
    return next(str(name) for name in names if name not in ("obs", "var"))


def read_dense(array: Any, selection: Any) -> NDArray[Any]:
    """Read part of a dense array with one attribute, whatever that is called."""
    values = array[selection]
    return np.asarray(values[value_name(array)] if isinstance(values, dict) else values)


def _sum_rows(values: FloatArray) -> NDArray[np.float64]:
    total: NDArray[np.float64] = values.sum(axis=1, dtype=np.float64)
    return total


def _float32(values: Any) -> FloatArray:
    return np.asarray(values).astype(np.float32, copy=False)
