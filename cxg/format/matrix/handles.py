"""The arrays that X is kept in: opened when first asked for, and what they call their values."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.errors import DatasetInvalid
from cxg.format.layout import OBS, VAR
from cxg.format.matrix.query import Range
from cxg.format.structure import ArrayFiles
from cxg.memory_bounds import OPEN_ARRAY_BYTES, TILE_INFO_TIMES
from cxg.storage.faults import translated
from cxg.storage.listing import is_s3
from cxg.storage.storage import Storage
from cxg.storage.tile_files import open_tile_files
from cxg.timeouts.calls import timed_calls

# An array of more fragments than this was written in pieces, not over and over.
_MOST_GENERATIONS = 16


class Handle:
    """An array opened at first use, by whichever thread comes first.

    It stays open as long as there is room for what is known of its tiles (`Storage.open_objects`).

    More than one fragment may mean two generations of the same cells in one folder, and the
    sparse forms allow duplicates: then each fragment is opened apart, oldest first, so that
    what was written last can win.

    Only the fragments that were listed with the dataset are read: an array of a dataset that was
    replaced meanwhile is never read beside the obs and var of the old one; opening it raises DatasetInvalid.
    """

    def __init__(self, storage: Storage, uri: str, files: ArrayFiles, *, rows: bool) -> None:
        self._storage, self._uri, self._rows = storage, uri, rows
        self._lock = threading.Lock()
        fragments = files.fragments
        self._held_bytes = OPEN_ARRAY_BYTES + TILE_INFO_TIMES * files.about_tiles_bytes
        self.may_repeat = 1 < len(fragments) <= _MOST_GENERATIONS
        self._fragment = fragments[0] if rows and len(fragments) == 1 and not is_s3(uri) else None
        # A fragment is called __<first>_<last timestamp>_<unique>_<format>.
        self._times = sorted((int(first), int(last)) for first, last in (name.split("_")[2:4] for name in fragments))
        self._span = min(self._times)[0], max(last for _, last in self._times)

    def open(self) -> Any:
        """Open the array as a whole."""
        return self._open(self._span)

    def open_each(self) -> list[Any]:
        """Open the array, or where cells may repeat each of its fragments, oldest first."""
        return [self._open(time) for time in self._times] if self.may_repeat else [self.open()]

    def close(self) -> None:
        """Let go of what was opened; it is closed when its last reader is done."""
        self._storage.open_objects.drop(self)

    def _open(self, span: tuple[int, int]) -> Any:
        # A fragment opened apart takes its share of what the whole array would.
        held_bytes = self._held_bytes if span == self._span else self._held_bytes // len(self._times)
        with timed_calls.hold(self._lock, self._uri):
            return self._storage.open_objects.find_or_make(self, span, partial(self._open_now, span), held_bytes)

    def _open_now(self, span: tuple[int, int]) -> Any:
        """Open what was written in a span of time, in milliseconds since 1970.

        Its attribute `tile_files` has the tiles that can be read from their files, or None.
        """
        ctx = self._storage.row_ctx if self._rows else self._storage.column_ctx
        array = self._storage.open_array(self._uri, ctx, "the expression matrix", span)
        with translated("the expression matrix"):
            is_empty = timed_calls.call(self._uri, array.nonempty_domain) is None
            array.tile_files = None
            if self._fragment is not None and not is_empty:
                array.tile_files = timed_calls.call(
                    self._uri, partial(open_tile_files, array, self._uri, self._fragment)
                )
        if is_empty:
            raise DatasetInvalid("The expression matrix is not the one that was here when this dataset was opened.")
        return array


def value_name(array: Any) -> str:
    """Name of the attribute that holds values: the empty name since 2020, ``__attr`` before, which TileDB-Py hides."""
    schema = array.schema
    names = (str(schema.attr(i)._internal_name) for i in range(schema.nattr))
    return next(name for name in names if name not in (OBS, VAR))


def wanted(array: Any, coordinates: list[str]) -> tuple[str, list[str], list[str]]:
    """Return the attribute of values, and the attributes and dimensions to query; coordinates may be either."""
    schema = array.schema
    dims = [schema.domain.dim(i).name for i in range(schema.ndim)]
    attr = value_name(array)
    return attr, [attr, *(name for name in coordinates if name not in dims)], [n for n in coordinates if n in dims]


def as_ranges(indices: NDArray[np.int64]) -> list[Range]:
    """Pack sorted unique indices, at least one, for TileDB: the first and the last of each run."""
    breaks = np.flatnonzero(np.diff(indices) != 1)
    starts = indices[np.concatenate(([0], breaks + 1))]
    stops = indices[np.concatenate((breaks, [len(indices) - 1]))]
    return list(zip(starts.tolist(), stops.tolist(), strict=True))
