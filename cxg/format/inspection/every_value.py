"""Reads every value of an array in blocks of bounded size, to find what is damaged in the middle of its files.

Nothing that is read is kept but counts and sums by gene, in which two copies of one matrix must agree.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.errors import DatasetInvalid, StorageUnavailable
from cxg.format.dataset import Dataset
from cxg.format.inspection.findings import Inspection
from cxg.format.layout import OBS, VAR, X_COLUMNS, X_ROWS, X_TOTALS, X
from cxg.format.matrix import query as reading
from cxg.format.matrix.handles import value_name
from cxg.format.matrix.query import Range
from cxg.storage.faults import translated
from cxg.storage.storage import Storage

_X_NAMES = (X_ROWS, X_COLUMNS, X)
# Values of one block of a dense array.
_BLOCK_VALUES = 1 << 20


@dataclass
class GeneSums:
    """What one array says of each gene: how many values are stored, and their sum, (n_var,) int64 and float64."""

    count: NDArray[np.int64]
    total: NDArray[np.float64]


def check_values(
    storage: Storage, dataset: Dataset, names: Sequence[str], out: Inspection, *, quick: bool
) -> dict[str, GeneSums]:
    """Read all values of some arrays of a dataset; with `quick`, none of X.

    Returns
    -------
    {name: GeneSums} of the sparse arrays that could be read as a whole.
    """
    sums: dict[str, GeneSums] = {}
    for name in names:
        try:
            array = storage.open_array(f"{dataset.uri}/{name}", storage.row_ctx, name)
        except DatasetInvalid as error:
            out.error(name, str(error))
            continue
        try:
            part = written_part(array, name)
            if part is not None:
                out.error(name, f"Data is missing: {part}.")
            elif name not in _X_NAMES or not (quick or array.schema.sparse):
                for attribute, problem in unreadable(array, name):
                    out.error(f"{name}/{attribute}" if name in (OBS, VAR) else name, problem)
            elif not quick:
                sums[name] = sums_by_gene(array, name, dataset.n_obs, dataset.n_var)
        except (DatasetInvalid, StorageUnavailable, ValueError) as error:
            out.error(name, str(error))
        except KeyError as error:
            out.error(name, f"It has no coordinate {error}, so it is not a matrix of cells and genes.")
        finally:
            array.close()
    return sums


def check_sums(dataset: Dataset, sums: dict[str, GeneSums], out: Inspection) -> None:
    """Compare what the copies of one matrix say: `Xr` with `Xc`, and either with the sums that were stored.

    Raises
    ------
    DatasetInvalid, StorageUnavailable
        The stored sums cannot be read.
    """
    if X_ROWS in sums and X_COLUMNS in sums:
        count = differences(sums[X_ROWS], sums[X_COLUMNS])
        if count:
            out.error(X_COLUMNS, f"Its values of {count:,} genes are not those of {X_ROWS}: one of the two is damaged.")
    found = sums.get(X_COLUMNS) or sums.get(X)
    totals = dataset.totals
    if found is not None and totals is not None and not totals.log1p:
        count = int(np.count_nonzero(~np.isclose(found.total, totals.total, rtol=1e-5, atol=1e-3, equal_nan=True)))
        if count:
            out.error(X_TOTALS, f"Its sums of {count:,} genes are not those of X; remove the folder {X_TOTALS}.")


def written_part(array: Any, what: str) -> str | None:
    """Say which part of a dense array was never written or is lost; None when all of it is there.

    Raises
    ------
    DatasetInvalid, StorageUnavailable
        It cannot be told.
    """
    if array.schema.sparse:
        return None
    with translated(what):
        written = array.nonempty_domain()
    domain = array.schema.domain
    for i in range(domain.ndim):
        first, last = (int(bound) for bound in domain.dim(i).domain)
        found = (1, 0) if written is None else (int(written[i][0]), int(written[i][1]))
        if found != (first, last):
            return f"only rows {found[0]:,} to {found[1]:,} of {first:,} to {last:,} were written"
    return None


def unreadable(array: Any, what: str) -> Iterator[tuple[str, str]]:
    """Read all there is in a dense array; give each attribute that cannot be read, by name, and why.

    Raises
    ------
    StorageUnavailable
        The store did not answer.
    """
    schema = array.schema
    for position in range(schema.nattr):
        name = str(schema.attr(position)._internal_name)
        label = f"column {name!r} of {what}" if what in (OBS, VAR) else what
        try:
            for ranges in _dense_ranges(array):
                with translated(label):
                    if schema.attr(position).isvar:
                        reading.read_text(array, name, *ranges[0][0])
                    else:
                        reading.read(array, [name], ranges, reading.ROW_MAJOR)
        except (DatasetInvalid, StorageUnavailable) as error:  # damage may look like a lack of memory
            yield name, str(error)


def sums_by_gene(array: Any, what: str, n_obs: int, n_var: int) -> GeneSums:
    """Read all of a sparse matrix, `Xr`, `Xc` or `X`, and count and add up its values by gene.

    Raises
    ------
    ValueError
        A value stands beyond the cells or genes that there are.
    DatasetInvalid, StorageUnavailable
        Something cannot be read.
    """
    sums = GeneSums(np.zeros(n_var, np.int64), np.zeros(n_var))
    attr = value_name(array)
    for block in _sparse_blocks(array, what):
        for name, n in ((OBS, n_obs), (VAR, n_var)):
            if block[name].size and not 0 <= int(block[name].min()) <= int(block[name].max()) < n:
                raise ValueError(f"It holds a value for a row of {name} beyond the {n:,} that there are.")
        sums.count += np.bincount(block[VAR], minlength=n_var)
        sums.total += np.bincount(block[VAR], block[attr], n_var)
    return sums


def differences(a: GeneSums, b: GeneSums) -> int:
    """Count the genes in which two copies of one matrix differ."""
    same = (a.count == b.count) & np.isclose(a.total, b.total, rtol=1e-5, atol=1e-3, equal_nan=True)
    return int(np.count_nonzero(~same))


def _sparse_blocks(array: Any, what: str) -> Iterator[dict[str, NDArray[Any]]]:
    schema = array.schema
    attrs = [str(schema.attr(i)._internal_name) for i in range(schema.nattr)]
    dims = [schema.domain.dim(i).name for i in range(schema.ndim)]
    with translated(what):
        parts = reading.read_blocks(array, attrs, [[] for _ in dims], dims)
    while True:
        with translated(what):
            part = next(parts, None)
        if part is None:
            return
        yield part


def _dense_ranges(array: Any) -> Iterator[list[list[Range]]]:
    """Boxes that cover a dense array of one or two dimensions, along its tiles."""
    domain = array.schema.domain
    bounds = [tuple(int(bound) for bound in domain.dim(i).domain) for i in range(domain.ndim)]
    tiles = [max(1, int(domain.dim(i).tile or 1)) for i in range(domain.ndim)]
    room = _BLOCK_VALUES
    steps = []
    for (first, last), tile in zip(bounds, tiles, strict=True):
        steps.append(min(last - first + 1, max(1, room // tile) * tile))
        room = max(1, room // steps[-1])

    def along(axis: int) -> Iterator[list[list[Range]]]:
        if axis == domain.ndim:
            yield []
            return
        (first, last), step = bounds[axis], steps[axis]
        for start in range(first, last + 1, step):
            for rest in along(axis + 1):
                yield [[(start, min(last, start + step - 1))], *rest]

    return along(0)
