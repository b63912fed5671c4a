"""Reading X, in each of the forms a CXG keeps it in.

* `Xr` + `Xc`: one-dimensional sparse arrays, by cell and by gene;
* `X`, two-dimensional, sparse, sometimes beside `X_col_shift` (added to every cell);
* `X`, two-dimensional, dense.

The arrays that are there determine the form, never the version that a file claims.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cxg.errors import DatasetInvalid
from cxg.format.matrix import query as reading
from cxg.format.matrix.dense import Dense2D, DenseBlock, FloatArray, IndexArray, as_float32
from cxg.format.matrix.handles import Handle, value_name
from cxg.format.matrix.sparse import RowsAndColumns, Sparse2D, SparseBlock
from cxg.format.structure import NEVER_WRITTEN, ArrayFiles
from cxg.storage.faults import translated
from cxg.storage.storage import Storage


class Matrix(Protocol):
    """X of one dataset, whichever form it has; safe to share between threads."""

    kind: str

    def read_columns(self, genes: IndexArray) -> FloatArray:
        """Return the expression of `genes` (sorted, unique) in every cell: (n_obs, k) float32, column-major."""

    def sum_columns(self, genes: IndexArray) -> NDArray[np.float64]:
        """Sum of `genes` (sorted, unique) in every cell: (n_obs,) float64."""

    def iter_rows(self, cells: IndexArray) -> Iterator[SparseBlock | DenseBlock]:
        """Yield the values of `cells` (sorted, unique), in blocks of bounded size."""

    def iter_values(self) -> Iterator[FloatArray]:
        """Yield every stored value once, in blocks, in no particular order."""

    def whole_array(self) -> Any:
        """Return an open array that holds the values of X and no others; None where there is none."""

    def close(self) -> None:
        """Close the arrays."""


def open_matrix(storage: Storage, uri: str, files: dict[str, ArrayFiles], n_obs: int, n_var: int) -> Matrix:
    """Open X in the form its arrays have; the arrays themselves open at first use.

    Parameters
    ----------
    files : mapping of str to ArrayFiles
        State of the arrays `Xr`, `Xc`, `X`, `X_col_shift` that exist.

    Raises
    ------
    DatasetInvalid
        There is no X, or its files are incomplete.
    """

    def handle(name: str, *, rows: bool) -> Handle:
        return Handle(storage, f"{uri}/{name}", files[name], rows=rows)

    if "Xc" in files and "Xr" in files:
        require_whole(files, "Xr", "Xc")
        pair = handle("Xc", rows=False), handle("Xr", rows=True)
        return RowsAndColumns(*pair, n_obs, n_var, None)
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
        require_whole(files, "X_col_shift")
        array = storage.open_array(f"{uri}/X_col_shift", storage.column_ctx, "X_col_shift")
        with translated("X_col_shift"):
            attr = value_name(array)
            shift = as_float32(reading.read(array, [attr], [[(0, n_var - 1)]], reading.ROW_MAJOR)[attr])
        array.close()
    return Sparse2D(columns, rows, n_obs, n_var, shift)


def require_whole(files: dict[str, ArrayFiles], *names: str) -> None:
    """Check that the named arrays have all their files.

    Raises
    ------
    DatasetInvalid
        One has not; the message says which and why.
    """
    for name in names:
        problem = files[name].problem
        if problem == NEVER_WRITTEN:
            raise DatasetInvalid(f"This dataset has no expression data: {name} is there, but it was never written.")
        if problem is not None:
            raise DatasetInvalid(f"This dataset's expression data is missing: {name} cannot be read because {problem}.")
