"""A small array of a dataset on S3, read from local copies of its files.

Only arrays of the plain kind are copied: one schema, few fragments, and a format in which
the files of an attribute are named after its number (9 and later). Everything else, and
every array for which there is no room, is read in place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tiledb

from cxg.errors import CxgError
from cxg.format.structure import ArrayLayout
from cxg.storage.cut_files import CutFile
from cxg.storage.faults import is_storage_fault
from cxg.storage.s3_copies import DatasetCopies
from cxg.storage.storage import Storage
from cxg.timeouts.calls import timed_calls

# A column or array larger than this is read in place: TileDB may need a part of it only.
MOST_BYTES = 64 << 20
_MOST_OPENING_BYTES = 16 << 20

T = TypeVar("T")


class LocalArray:
    """An open TileDB array of S3, read from local copies: schema, metadata, and whole attributes.

    Attributes
    ----------
    schema : tiledb.ArraySchema
    """

    def __init__(self, storage: Storage, uri: str, what: str, copies: DatasetCopies, parts: ArrayLayout) -> None:
        self._storage, self._uri, self._what = storage, uri, what
        self._copies, self._parts = copies, parts
        self._lock = threading.Lock()
        self._far: Any = None
        self._near = storage.open_array(str(copies.root / parts.name), storage.column_ctx, what)
        sizes = {str(copies.root / entry.path): entry.size for entry in parts.files}
        least = {} if self._near.data_files is None else self._near.data_files.least
        self._cut_in_place = {path for path, size in least.items() if sizes.get(path, 0) < size}
        self.schema = self._near.schema
        self._numbers = {self.schema.attr(i).name: i for i in range(self.schema.nattr)}

    @property
    def uri(self) -> str:
        """Return the URI of the array, not of its copies."""
        return self._uri

    @property
    def names(self) -> list[str]:
        """Return the names of all attributes."""
        return list(self._numbers)

    @property
    def meta(self) -> Any:
        """Read the metadata."""
        return self.read([], lambda array: dict(array.meta))

    def close(self) -> None:
        """Close the array."""
        self._near.close()
        with self._lock:
            if self._far is not None:
                self._far.close()

    def prepare(self, attrs: Sequence[str]) -> bool:
        """Copy what is needed to read some attributes; False when they are read in place."""
        entries = [*self._parts.opening, *self._parts.data([self._numbers[name] for name in attrs])]
        # The rows of an embedding of many dimensions are much more than the two that are drawn.
        few = self.schema.ndim == 1 or self.schema.shape[1] == 2
        size = sum(entry.size for entry in entries)
        return size <= (MOST_BYTES if few else MOST_BYTES // 16) and _have(self._copies, entries)

    def read(self, attrs: Sequence[str], read: Callable[[Any], T]) -> T:
        """Read some attributes of the copies, or of the array in place where there are none or TileDB cannot read them.

        Raises
        ------
        tiledb.TileDBError, OSError
            `read` failed on the array in place.
        """
        if self.prepare(attrs):
            try:
                return read(self._near)
            except (tiledb.TileDBError, OSError) as error:
                if isinstance(error, CutFile) and error.path in self._cut_in_place:
                    raise
                self._copies.doubt(self._parts.files)
        return read(self._in_place())

    def _in_place(self) -> Any:
        with timed_calls.hold(self._lock, self._uri):
            if self._far is None:
                self._far = self._storage.open_array(self._uri, self._storage.column_ctx, self._what)
            return self._far


def open_nearby(storage: Storage, uri: str, what: str, copies: DatasetCopies, parts: ArrayLayout | None) -> Any:
    """Open the array at `uri` from copies where that is possible, else in place.

    Raises
    ------
    DatasetInvalid, StorageUnavailable
        As `Storage.open_array`.
    tiledb.TileDBError
        The store did not answer.
    """
    is_small = parts is not None and sum(entry.size for entry in parts.opening) <= _MOST_OPENING_BYTES
    if parts is not None and is_small and _have(copies, parts.opening):
        try:
            return LocalArray(storage, uri, what, copies, parts)
        except CxgError:
            copies.doubt(parts.opening)
    return storage.open_array(uri, storage.column_ctx, what)


def read_from(array: Any, attrs: Sequence[str], read: Callable[[Any], T]) -> T:
    """Call `read` with the TileDB array that some attributes are read from; raises what it raises."""
    return array.read(attrs, read) if isinstance(array, LocalArray) else read(array)


def _have(copies: DatasetCopies, entries: Sequence[Any]) -> bool:
    try:
        return copies.fetch(entries)
    except (tiledb.TileDBError, OSError) as error:
        if is_storage_fault(error):
            raise
        # For example the disk is full or the object is gone: reading in place gives the right answer or error.
        copies.rest()
        return False
