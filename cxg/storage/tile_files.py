"""Reads single tiles of a sparse array of one dimension from its files.

A query costs TileDB some 0.5 ms for each tile that it looks at, several times what unpacking the tile takes, and cells
that are scattered over X lie in one tile each. Only arrays of a plain form are read so: one fragment, fields of fixed
size, and filters that are known here; any other is left to TileDB, and so is a file that is not as it should be.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tiledb
from numpy.typing import NDArray

from cxg.storage.cut_files import ABOUT_FRAGMENT, FRAGMENTS
from cxg.storage.tile_parts import Numbers, UnknownForm, chunks, generic_tiles, leaves, starts, unpacked

# Formats in which a fragment lies where it is looked for; a later one may be another.
_FORMATS = range(12, 23)
# Values between more spans than these are put together too.
_FEW_SPANS = 6
_UNSHUFFLED = (tiledb.DeltaFilter, tiledb.ByteShuffleFilter)


@dataclass(frozen=True, slots=True)
class Field:
    """Values of one attribute, or the coordinates: its file, its type, its filters, and where each tile begins."""

    path: str
    dtype: np.dtype[Any]
    filters: tuple[type, ...]
    starts: Numbers


class TileFiles:
    """The tiles of one array, ordered by coordinate.

    Attributes
    ----------
    first, last : (n_tiles,) int64
        Least and greatest coordinate in each tile; neither decreases.
    capacity, n_values : int
        Values in each tile but the last, and in all tiles.
    """

    def __init__(self, fields: dict[str, Field], first: Numbers, last: Numbers, capacity: int, n_values: int) -> None:
        self._fields = fields
        self.first, self.last, self.capacity, self.n_values = first, last, capacity, n_values

    def find(self, coordinates: Numbers) -> Numbers:
        """Return the tiles, ascending, that may hold some coordinates (sorted, at least one)."""
        begin = np.searchsorted(self.last, coordinates, "left")
        end = np.searchsorted(self.first, coordinates, "right")
        edges = np.zeros(max(0, int(end[-1] - begin[0])) + 1, np.int64)
        np.add.at(edges, begin - begin[0], 1)
        np.add.at(edges, end - begin[0], -1)
        found: Numbers = np.flatnonzero(np.cumsum(edges)) + begin[0]
        return found

    def read(
        self, tiles: Numbers, line: str, wanted: NDArray[np.bool_], names: Sequence[str]
    ) -> dict[str, NDArray[Any]]:
        """Read fields of the values that lie on wanted lines.

        Parameters
        ----------
        tiles : (k,) int64
        line : str
            Field of the coordinate.
        wanted : (n,) bool
            Whether each coordinate is wanted.
        names : sequence of str
            Fields to return.

        Returns
        -------
        {name: (k,) array}
            In the order in which the values are stored.

        Raises
        ------
        UnknownForm
            A file is not as it should be.
        OSError
            A file cannot be read.
        """
        parts: dict[str, list[NDArray[Any]]] = {name: [] for name in names}
        with ExitStack() as stack:
            files = {name: stack.enter_context(Path(self._fields[name].path).open("rb", 0)) for name in (line, *names)}
            numbers = {name: file.fileno() for name, file in files.items()}
            for tile in tiles.tolist():
                count = min(self.capacity, self.n_values - tile * self.capacity)
                spans = _wanted_spans(_stored_chunks(self._fields[line], numbers[line], tile, count), wanted)
                if spans:
                    for name, found in parts.items():
                        found.extend(_take(_stored_chunks(self._fields[name], numbers[name], tile, count), spans))
        return {
            name: np.concatenate(found) if found else np.empty(0, self._fields[name].dtype)
            for name, found in parts.items()
        }


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Part of a tile of one field that is packed by itself: its place among the values of the tile."""

    field: Field
    start: int
    stop: int
    meta: bytes
    data: bytes

    def lanes(self) -> NDArray[np.uint8]:
        """Unpack the chunk: (bytes of a value, values), the first bytes of all values first; differences as such."""
        dtype, is_delta = self.field.dtype, tiledb.DeltaFilter in self.field.filters
        body = np.frombuffer(unpacked(self.meta, self.data) if self.field.filters else self.data, np.uint8)
        # Before the differences are their number and 0.
        n_before = 8 // dtype.itemsize if is_delta else 0
        if len(body) != (self.stop - self.start + n_before) * dtype.itemsize:
            raise UnknownForm
        is_shuffled = tiledb.ByteShuffleFilter in self.field.filters
        lanes = body.reshape(dtype.itemsize, -1) if is_shuffled else body.reshape(-1, dtype.itemsize).T
        return lanes[:, n_before:]


Spans = list[tuple[int, int]]
"""Values of a tile or chunk: the first of each span and the one behind it, ascending."""


def _stored_chunks(field: Field, file: int, tile: int, count: int) -> list[_Chunk]:
    """Read one tile, which must hold so many values."""
    start, end = field.starts[tile : tile + 2].tolist()
    data = os.pread(file, end - start, start)
    if len(data) != end - start:
        raise UnknownForm
    found, done = [], 0
    for size, meta, body in chunks(data):
        values, rest = divmod(size, field.dtype.itemsize)
        if rest or not values:
            raise UnknownForm
        found.append(_Chunk(field, done, done + values, meta, body))
        done += values
    if done != count:
        raise UnknownForm
    return found


def _wanted_spans(parts: list[_Chunk], wanted: NDArray[np.bool_]) -> Spans:
    """Find the values of a tile whose coordinate is wanted."""
    found: Spans = []
    for chunk in parts:
        lanes, dtype = chunk.lanes(), chunk.field.dtype
        if tiledb.DeltaFilter in chunk.field.filters:
            lanes = np.cumsum(_values(lanes, dtype), dtype=dtype).view(np.uint8).reshape(-1, dtype.itemsize).T
        # Many values follow each other on one line: to look where it changes takes less than to look at each.
        changes = np.zeros(chunk.stop - chunk.start - 1, np.bool_)
        for lane in lanes:
            changes |= lane[1:] != lane[:-1]
        starts = np.append(0, np.flatnonzero(changes) + 1)
        lines = _values(lanes[:, starts], dtype).astype(np.int64)
        if int(lines.max()) >= len(wanted) or int(lines.min()) < 0:
            raise UnknownForm
        is_wanted = np.zeros(len(lines) + 2, np.bool_)
        is_wanted[1:-1] = wanted[lines]
        edges = np.flatnonzero(is_wanted[1:] != is_wanted[:-1])
        places = np.append(starts, len(changes) + 1)[edges] + chunk.start
        found += zip(places[::2].tolist(), places[1::2].tolist(), strict=True)
    return found


def _take(parts: list[_Chunk], spans: Spans) -> list[NDArray[Any]]:
    """Return the values of a tile that lie in spans; chunks without any are not unpacked."""
    found = []
    for chunk in parts:
        inside = [(max(a, chunk.start), min(b, chunk.stop)) for a, b in spans if a < chunk.stop and b > chunk.start]
        if inside:
            inside = [(a - chunk.start, b - chunk.start) for a, b in inside]
            lanes, dtype = chunk.lanes(), chunk.field.dtype
            if tiledb.DeltaFilter in chunk.field.filters:
                found += _added_up(lanes, dtype, inside)
            else:
                found += [_values(lanes[:, a:b], dtype) for a, b in inside]
    return found


def _values(lanes: NDArray[np.uint8], dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(lanes.T).view(dtype).ravel()


def _added_up(lanes: NDArray[np.uint8], dtype: np.dtype[Any], spans: Spans) -> list[NDArray[Any]]:
    """Values in spans, of which the differences are stored; numbers overflow as they did when they were subtracted."""
    if len(spans) > _FEW_SPANS:
        values = np.cumsum(_values(lanes, dtype), dtype=dtype)
        return [values[a:b] for a, b in spans]
    found, done = [], 0
    last = np.zeros(1, np.uint64)
    for a, b in spans:
        # Of values in between only the sum is needed, which takes less than to put their bytes together.
        for k, lane in enumerate(lanes[:, done:a]):
            last += np.add.reduce(lane, dtype=np.uint64) << np.uint64(8 * k)
        values = np.cumsum(_values(lanes[:, a:b], dtype), dtype=dtype)
        values += last.astype(dtype)
        last[0] = values[-1:].astype(np.uint64)[0]
        found.append(values)
        done = b
    return found


def open_tile_files(array: tiledb.SparseArray, folder: str, fragment: str) -> TileFiles | None:
    """Return the tiles of an open array of one dimension and one fragment; None where TileDB must read it.

    Parameters
    ----------
    array : tiledb.SparseArray
    folder, fragment : str
        Folder of the array, and the name of its only fragment.
    """
    below = Path(folder) / FRAGMENTS / fragment
    version = fragment.rpartition("_")[2]
    schema = array.schema
    dim = schema.domain.dim(0)
    is_known = version.isdigit() and int(version) in _FORMATS and schema.ndim == 1 and schema.sparse
    if not is_known or any(Path(folder, "__commits").glob("*.del")):  # TileDB knows which values were deleted
        return None
    described = {str(schema.attr(i)._internal_name): (f"a{i}", schema.attr(i)) for i in range(schema.nattr)}
    described[dim.name] = ("d0", dim)
    if not all(_is_plain(what) for _, what in described.values()):
        return None
    # An unused field stands between the attributes and the dimension.
    order = [f"a{i}" for i in range(schema.nattr)] + ["", "d0"]
    try:
        tree, *lists = generic_tiles(below / ABOUT_FRAGMENT, 1 + len(order))
        first, last = leaves(tree, dim.dtype)
        fields = {}
        for name, (stem, what) in described.items():
            path = below / f"{stem}.tdb"
            at = starts(lists[order.index(stem)], path.stat().st_size, len(first))
            fields[name] = Field(str(path), np.dtype(what.dtype), tuple(type(f) for f in what.filters), at)
        n_values = sum(tiledb.FragmentInfoList(array.uri, ctx=array.ctx).cell_num)
    except (UnknownForm, OSError):
        return None
    n_tiles = -(-n_values // schema.capacity)
    is_ordered = bool((np.diff(first) >= 0).all() and (np.diff(last) >= 0).all())
    return TileFiles(fields, first, last, schema.capacity, n_values) if is_ordered and n_tiles == len(first) else None


def _is_plain(what: Any) -> bool:
    """Tell whether the filters of an attribute or a dimension are known, and its values of fixed size."""
    filters = [type(each) for each in what.filters]
    before = filters[:-1]
    in_order = [each for each in _UNSHUFFLED if each in before]
    is_number = np.dtype(what.dtype).kind in "iuf" and np.dtype(what.dtype).itemsize in (4, 8)
    is_delta_plain = tiledb.DeltaFilter not in before or np.dtype(what.dtype).kind in "iu"
    nullable = getattr(what, "isnullable", False)
    return bool(
        filters[-1:] in ([], [tiledb.ZstdFilter])
        and before == in_order
        and is_number
        and is_delta_plain
        and not nullable
        and not what.isvar
    )
