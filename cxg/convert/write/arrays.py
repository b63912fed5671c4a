"""The TileDB arrays of a CXG: their schemas, and how they are written.

Tile sizes and filters come from measurements on a matrix of 74 million entries, given in
``docs/cxg.md``. Sparse arrays are written in *global order*: one fragment, no sorting and
no consolidation, whatever the size. TileDB-Py offers that only through the classes in
`tiledb.libtiledb`, so this module is the one place that uses them, and falls back to the
public interface where they are missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import tiledb
from numpy.typing import NDArray
from tiledb import libtiledb as low_level

from cxg.convert.write.spill import OnDisk
from cxg.format import layout
from cxg.format.text import Text

ROW_CAPACITY, COLUMN_CAPACITY = 16_384, 8_192
# TileDB keeps some 160 bytes for each tile of an open sparse array, 20 MB for this many; the server bounds that.
MOST_TILES = 1 << 17
FRAME_TILE = 65_536
DENSE_TILE = (8192, 16)
SLICE_BYTES = 256 << 20

Column = NDArray[Any] | Text | OnDisk


def _zstd(level: int, *before: tiledb.Filter) -> tiledb.FilterList:
    return tiledb.FilterList([*before, tiledb.ZstdFilter(level)])


def _dim(name: str, n: int, tile: int, filters: Any = None) -> tiledb.Dim:
    return tiledb.Dim(name, domain=(0, n - 1), tile=min(n, tile), dtype=np.uint32, filters=filters)


def has_global_order() -> bool:
    """Tell whether this TileDB-Py still has the low-level calls that global order needs."""
    wanted = {low_level.Query: ("set_data_buffer", "_submit", "finalize"), low_level.Array: ("_close",)}
    return hasattr(low_level.LayoutType, "GLOBAL_ORDER") and all(
        hasattr(owner, name) for owner, names in wanted.items() for name in names
    )


def writing_context() -> tiledb.Ctx:
    """Return the TileDB context for a conversion."""
    # The blocks ascend by the way they are made, so TileDB need not compare every entry with the one before:
    # that costs a quarter of the time of writing.
    return tiledb.Ctx({"sm.check_global_order": "false", "sm.mem.total_budget": str(1 << 30)})


def capacity(major: str, n_values: int) -> int:
    """Return the values in a tile of `Xr` or `Xc`: few, for single genes; more where tiles would be too many."""
    values = ROW_CAPACITY if major == layout.OBS else COLUMN_CAPACITY
    while n_values > values * MOST_TILES:
        values *= 2
    return values


class SparseWriter:
    """Writes `Xr` or `Xc`: blocks of (line, other index, value), ascending over all blocks.

    Parameters
    ----------
    uri : str
        Array to create.
    major, minor : str
        ``obs`` and ``var`` for Xr, the reverse for Xc.
    n_lines : int
        Length of the major axis.
    n_values : int
        Values that will be written, at most.
    """

    def __init__(self, uri: str, major: str, minor: str, n_lines: int, n_values: int, ctx: tiledb.Ctx) -> None:
        self._uri, self._major, self._minor, self._ctx = uri, major, minor, ctx
        self._global = has_global_order()
        self._query: Any = None
        self._array: Any = None
        shuffle = tiledb.ByteShuffleFilter()
        # Delta pays only where the other index ascends within a line, which an unordered write does not keep.
        index_filters = _zstd(5, tiledb.DeltaFilter(), shuffle) if self._global else _zstd(5, shuffle)
        schema = tiledb.ArraySchema(
            domain=tiledb.Domain(_dim(major, n_lines, 256, _zstd(5, shuffle))),
            attrs=[
                tiledb.Attr(layout.VALUE, dtype=np.float32, filters=_zstd(5)),
                tiledb.Attr(minor, dtype=np.uint32, filters=index_filters),
            ],
            sparse=True,
            allows_duplicates=True,
            capacity=capacity(major, n_values),
            ctx=ctx,
        )
        tiledb.Array.create(uri, schema, ctx=ctx)

    def __enter__(self) -> SparseWriter:
        """Return the writer itself."""
        return self

    def write(self, start: int, lines: Any) -> None:
        """Append a canonical scipy CSR matrix whose first line is number `start`."""
        if not lines.nnz:
            return
        ids = np.repeat(np.arange(start, start + lines.shape[0], dtype=np.uint32), np.diff(lines.indptr))
        others = lines.indices.astype(np.uint32)
        if not self._global:
            with tiledb.open(self._uri, "w", ctx=self._ctx) as array:
                array[ids] = {layout.VALUE: lines.data, self._minor: others}
            return
        if self._query is None:
            self._array = low_level.Array(self._ctx, self._uri, low_level.QueryType.WRITE)
            self._query = low_level.Query(self._ctx, self._array, low_level.QueryType.WRITE)
            self._query.layout = low_level.LayoutType.GLOBAL_ORDER
        buffers = {self._major: ids, self._minor: others, layout.VALUE: np.ascontiguousarray(lines.data)}
        for name, buffer in buffers.items():
            self._query.set_data_buffer(name, buffer, len(buffer))
        self._query._submit()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit what was written, or leave it uncommitted when the block failed."""
        if self._array is not None:
            if kind is None:
                self._query.finalize()
            self._array._close()
        elif kind is None and not self._global:
            consolidate(self._uri, self._ctx)


def consolidate(uri: str, ctx: tiledb.Ctx) -> None:
    """Merge an array's fragments into one, with small buffers."""
    if len(tiledb.array_fragments(uri, ctx=ctx)) > 1:
        config = tiledb.Config(
            {
                "sm.consolidation.step_min_frags": "2",
                "sm.consolidation.step_max_frags": "8",
                "sm.consolidation.total_buffer_size": str(SLICE_BYTES),
            }
        )
        tiledb.consolidate(uri, ctx=ctx, config=config)
        tiledb.vacuum(uri, ctx=ctx)


def write_frame(uri: str, columns: Mapping[str, Column], ctx: tiledb.Ctx) -> None:
    """Write `obs` or `var`: one attribute for each column.

    A table larger than 256 MB is written in slices of whole tiles, each a fragment, because
    TileDB holds a slice once more while it compresses it.
    """
    n = len(next(iter(columns.values())))
    attrs = [
        tiledb.Attr(name, dtype="U0" if isinstance(values, Text) else values.dtype, filters=_zstd(9))
        for name, values in columns.items()
    ]
    domain = tiledb.Domain(tiledb.Dim(domain=(0, n - 1), tile=min(n, FRAME_TILE), dtype=np.uint32))
    tiledb.Array.create(uri, tiledb.ArraySchema(domain=domain, attrs=attrs, sparse=False, ctx=ctx), ctx=ctx)
    size = sum(values.nbytes for values in columns.values())
    for start, stop in _slices(n, size):
        part = {
            name: values.part(start, stop) if isinstance(values, Text) else values[start:stop]
            for name, values in columns.items()
        }
        _write_rows(uri, start, part, ctx)


def _slices(n: int, size: int) -> list[tuple[int, int]]:
    tiles = max(1, int(SLICE_BYTES / max(1, size) * n) // FRAME_TILE)
    step = tiles * FRAME_TILE
    return [(start, min(start + step, n)) for start in range(0, n, step)]


def _write_rows(uri: str, start: int, columns: Mapping[str, Column], ctx: tiledb.Ctx) -> None:
    stop = start + len(next(iter(columns.values())))
    if not has_global_order():
        with tiledb.open(uri, "w", ctx=ctx) as array:
            array[start:stop] = {
                name: np.array(values.strings(), dtype=object) if isinstance(values, Text) else values
                for name, values in columns.items()
            }
        return
    array = low_level.Array(ctx, uri, low_level.QueryType.WRITE)
    try:
        query = low_level.Query(ctx, array, low_level.QueryType.WRITE)
        query.layout = low_level.LayoutType.ROW_MAJOR
        subarray = low_level.Subarray(ctx, array)
        subarray._add_dim_range(0, (np.uint32(start), np.uint32(stop - 1)))
        query.set_subarray(subarray)
        kept = []  # TileDB reads the buffers at the submit; they must live until then
        for name, values in columns.items():
            body = values.data if isinstance(values, Text) else values
            if isinstance(values, Text):
                offsets = np.ascontiguousarray(values.offsets[:-1]).view(np.uint64)
                kept.append(offsets)
                query.set_offsets_buffer(name, offsets, len(offsets))
            # An empty buffer has no address, and TileDB wants one even for a column of empty text.
            buffer = np.ascontiguousarray(body) if len(body) else np.zeros(1, body.dtype)
            kept.append(buffer)
            query.set_data_buffer(name, buffer, len(body))
        query._submit()
        query.finalize()
    finally:
        array._close()


class EmbeddingWriter:
    """Writes one embedding from blocks of rows; the two columns that are drawn lie in tiles of their own."""

    def __init__(self, uri: str, n_obs: int, n_columns: int, ctx: tiledb.Ctx) -> None:
        self._uri, self._ctx = uri, ctx
        dims = [
            tiledb.Dim(domain=(0, n - 1), tile=min(n, tile), dtype=np.uint32)
            for n, tile in ((n_obs, FRAME_TILE), (n_columns, 2))
        ]
        attr = tiledb.Attr(layout.VALUE, dtype=np.float32, filters=_zstd(5, tiledb.ByteShuffleFilter()))
        schema = tiledb.ArraySchema(
            domain=tiledb.Domain(*dims),
            attrs=[attr],
            sparse=False,
            cell_order="row-major",
            tile_order="col-major",
            ctx=ctx,
        )
        tiledb.Array.create(uri, schema, ctx=ctx)

    def write(self, start: int, rows: NDArray[np.float32]) -> None:
        """Write (k, n_columns) float32 rows, the first of which is number `start`."""
        with tiledb.open(self._uri, "w", ctx=self._ctx) as array:
            array[start : start + len(rows), :] = rows


class DenseWriter:
    """Writes a dense `X` from blocks of lines that are whole tiles."""

    def __init__(self, uri: str, shape: tuple[int, int], by_row: bool, ctx: tiledb.Ctx) -> None:
        self._uri, self._by_row, self._ctx = uri, by_row, ctx
        tiles = (_row_tile(shape[1]), DENSE_TILE[1]) if by_row else (DENSE_TILE[0], DENSE_TILE[1])
        self.align = tiles[0 if by_row else 1]
        schema = tiledb.ArraySchema(
            domain=tiledb.Domain(_dim(layout.OBS, shape[0], tiles[0]), _dim(layout.VAR, shape[1], tiles[1])),
            attrs=[tiledb.Attr(layout.VALUE, dtype=np.float32, filters=_zstd(5))],
            sparse=False,
            cell_order="col-major",
            tile_order="col-major",
            ctx=ctx,
        )
        tiledb.Array.create(uri, schema, ctx=ctx)

    def __enter__(self) -> DenseWriter:
        """Return the writer itself."""
        return self

    def write(self, start: int, lines: Any) -> None:
        """Write a scipy CSR matrix whose first line is number `start`."""
        step = max(self.align, SLICE_BYTES // (4 * lines.shape[1]) // self.align * self.align)
        for first in range(0, lines.shape[0], step):
            part = lines[first : first + step].toarray()
            at = slice(start + first, start + first + len(part))
            with tiledb.open(self._uri, "w", ctx=self._ctx) as array:
                if self._by_row:
                    array[at, :] = part
                else:
                    array[:, at] = np.ascontiguousarray(part.T)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Merge the slabs into one fragment."""
        if kind is None:
            consolidate(self._uri, self._ctx)


def _row_tile(n_var: int) -> int:
    """Rows in a tile of dense X, so that a slab of whole tiles stays within 128 MB."""
    rows = DENSE_TILE[0]
    while rows > 64 and rows * n_var * 4 > SLICE_BYTES // 2:
        rows //= 2
    return rows


def write_vectors(uri: str, vectors: Mapping[str, NDArray[Any]], ctx: tiledb.Ctx) -> None:
    """Write a small dense array of one dimension, such as `X_totals`."""
    n = len(next(iter(vectors.values())))
    attrs = [tiledb.Attr(name, dtype=values.dtype, filters=_zstd(5)) for name, values in vectors.items()]
    schema = tiledb.ArraySchema(
        domain=tiledb.Domain(_dim(layout.VAR, n, FRAME_TILE)), attrs=attrs, sparse=False, ctx=ctx
    )
    tiledb.Array.create(uri, schema, ctx=ctx)
    with tiledb.open(uri, "w", ctx=ctx) as array:
        array[:] = dict(vectors)


def write_lines(uri: str, lines: Mapping[str, NDArray[Any]], ctx: tiledb.Ctx) -> None:
    """Write a small dense array of two dimensions that is read by lines, such as `X_label_sums`; damage is noticed."""
    n, n_var = next(iter(lines.values())).shape
    filters = _zstd(5, tiledb.ByteShuffleFilter())
    filters.append(tiledb.ChecksumMD5Filter())
    attrs = [tiledb.Attr(name, dtype=values.dtype, filters=filters) for name, values in lines.items()]
    domain = tiledb.Domain(_dim(layout.LABEL_ROW, n, 1), _dim(layout.VAR, n_var, FRAME_TILE))
    tiledb.Array.create(uri, tiledb.ArraySchema(domain=domain, attrs=attrs, sparse=False, ctx=ctx), ctx=ctx)
    with tiledb.open(uri, "w", ctx=ctx) as array:
        array[:] = dict(lines)


def write_metadata(uri: str, values: Mapping[str, Any], ctx: tiledb.Ctx) -> None:
    """Set metadata of an existing array, all keys in one file."""
    with tiledb.open(uri, "w", ctx=ctx) as array:
        for key, value in values.items():
            array.meta[key] = value


def create_metadata_array(uri: str, values: Mapping[str, Any], ctx: tiledb.Ctx) -> None:
    """Make a one-cell array that exists only for its metadata."""
    tiledb.from_numpy(uri, np.zeros(1), ctx=ctx).close()
    write_metadata(uri, values, ctx)


def create_groups(root: Path, names: Sequence[str], ctx: tiledb.Ctx) -> None:
    """Make the CXG's group and the groups inside it."""
    tiledb.group_create(str(root), ctx=ctx)
    for name in names:
        tiledb.group_create(str(root / name), ctx=ctx)
