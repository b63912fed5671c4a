"""One read of a TileDB array, with nothing around it.

`array[...]` and `multi_index` describe the schema again and look for packages at every read, which
takes as long as reading a gene. Here the query class beneath them (`tiledb.main.PyQuery`) is used
directly; it too lets go of Python's lock while it reads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tiledb
from numpy.typing import NDArray
from tiledb.main import PyQuery

from cxg.storage.contexts import note_use
from cxg.storage.tile_files import TileFiles
from cxg.storage.tile_parts import UnknownForm
from cxg.timeouts.calls import timed_calls

ROW_MAJOR, COLUMN_MAJOR, UNORDERED = 0, 1, 3
"""How the results are to be ordered; the last is for sparse arrays."""
Range = tuple[int, int]
"""First and last coordinate."""


def read(
    array: Any, names: Sequence[str], ranges: Sequence[Sequence[Range]], order: int, dims: Sequence[str] = ()
) -> dict[str, NDArray[Any]]:
    """Read attributes of fixed size.

    Parameters
    ----------
    array : tiledb.Array, open for reading
    names : sequence of str
        Attributes.
    ranges : sequence of sequence of Range
        Ranges to read in each dimension; none reads all of a sparse array.
    order : int
        ROW_MAJOR or COLUMN_MAJOR for dense arrays, UNORDERED for sparse ones.
    dims : sequence of str
        Dimensions of a sparse array whose coordinates are to be returned too.

    Returns
    -------
    {name: (k,) array}
        Arrays of attributes and dimensions, each its own memory.

    Raises
    ------
    tiledb.TileDBError
        It cannot be read.
    """

    def read_now() -> dict[str, NDArray[Any]]:
        query = _query(array, names, ranges, order, dims)
        query.submit()
        return _results(query)

    return timed_calls.call(array.uri, read_now)


def read_blocks(
    array: Any, names: Sequence[str], ranges: Sequence[Sequence[Range]], dims: Sequence[str] = ()
) -> Iterator[dict[str, NDArray[Any]]]:
    """Read attributes of a sparse array in blocks no larger than the buffers of its context; as `read`, unordered."""
    query: Any = None

    def read_next() -> dict[str, NDArray[Any]]:
        nonlocal query
        if query is None:
            query = _query(array, names, ranges, UNORDERED, dims)
            query._return_incomplete = True
        else:
            check_files(array, names)
        query.submit()
        return _results(query)

    while True:
        yield timed_calls.call(array.uri, read_next)
        if not query.is_incomplete:
            return


def read_tiles(
    array: Any, tiles: TileFiles, lines: NDArray[np.int64], is_wanted: NDArray[np.bool_], names: Sequence[str]
) -> dict[str, NDArray[Any]]:
    """Read attributes of some lines of a sparse array from the files of its tiles, as they are stored.

    Parameters
    ----------
    lines : (k,) int64
        Coordinates, sorted, at least one.
    is_wanted : (n,) bool
        The same as a mask.

    Raises
    ------
    UnknownForm
        TileDB must read them.
    CutFile
        A file is not whole.
    """

    def read_now() -> dict[str, NDArray[Any]]:
        check_files(array, names)
        try:
            return tiles.read(tiles.find(lines), array.schema.domain.dim(0).name, is_wanted, names)
        except OSError as error:
            raise UnknownForm from error

    return timed_calls.call(array.uri, read_now)


def read_text(array: Any, name: str, first: int, last: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read rows of a text attribute of a one-dimensional dense array.

    Returns
    -------
    data : (k,) uint8
        The UTF-8 of all rows, one after the other.
    offsets : (last - first + 2,) int64
        Where each row begins in it, and where the last one ends.

    Raises
    ------
    tiledb.TileDBError
        It cannot be read.
    """

    def read_now() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        query = _query(array, [name], [[(first, last)]], ROW_MAJOR, ())
        query.submit()
        data, offsets, *_ = query.results()[name]
        return data.view(np.uint8), np.append(offsets[: last - first + 1].astype(np.int64), len(data))

    return timed_calls.call(array.uri, read_now)


def read_extremes(array: Any, name: str) -> tuple[float, float]:
    """Find the least and the greatest value of an attribute, mostly from what TileDB knows of each tile.

    Raises
    ------
    tiledb.TileDBError, CutFile
        It cannot be read.
    """

    def read_now() -> tuple[float, float]:
        check_files(array, [name])
        note_use(array.ctx)
        found = array.query(attrs=[name]).agg({name: ["min", "max"]})[:]
        return float(found["min"]), float(found["max"])

    return timed_calls.call(array.uri, read_now)


def check_files(array: Any, names: Sequence[str]) -> None:
    """Check that the files of some attributes are as long as they were written, where that is known.

    Reading one that was cut short or removed meanwhile may crash the process.

    Raises
    ------
    CutFile
        One is not.
    """
    files = getattr(array, "data_files", None)
    if files is not None:
        files.check(names)


def read_meta(array: Any) -> dict[str, Any]:
    """Read all metadata of an array.

    Raises
    ------
    tiledb.TileDBError
        It cannot be read.
    """
    return timed_calls.call(array.uri, lambda: dict(array.meta))


def close(array: Any) -> None:
    """Close an array that nobody reads any more; while calls hang, one may be a read of it, which closing would crash.

    Then it closes when the last who knows it lets go of it.
    """
    if not timed_calls.stuck:
        array.close()


def text_bytes(array: Any, name: str, first: int, last: int) -> int:
    """Return the length of what `read_text` would read, as the array knows it of its tiles.

    Raises
    ------
    tiledb.TileDBError
        The array cannot be asked.
    """
    sizes = _query(array, [name], [[(first, last)]], ROW_MAJOR, ()).estimated_result_sizes()
    _, data_bytes = sizes[name]
    return int(data_bytes)


def _query(array: Any, names: Sequence[str], ranges: Sequence[Sequence[Range]], order: int, dims: Sequence[str]) -> Any:
    check_files(array, names)
    subarray = tiledb.Subarray(array, array.ctx)
    subarray.add_ranges([list(part) for part in ranges])
    note_use(array.ctx)
    query = PyQuery(array.ctx, array, tuple(names), tuple(dims), order, False)
    query.set_subarray(subarray)
    return query


def _results(query: Any) -> dict[str, NDArray[Any]]:
    return {name: buffers[0].view(query.buffer_dtype(name)) for name, buffers in query.results().items()}
