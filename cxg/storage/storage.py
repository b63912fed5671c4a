"""Where datasets live: a folder or an S3 prefix, behind one interface.

`Storage` makes no TileDB context before the first use, which must be after a worker process
has forked.

S3 is read through TileDB alone, so one credential chain serves listings and arrays, and
a server never loads the AWS SDK for Python.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import tiledb

from cxg.config import Config
from cxg.config.runtime import NO_VARIABLES, Runtime
from cxg.errors import DatasetInvalid, StorageUnavailable
from cxg.memory_bounds import (
    COLUMN_BUFFER_BYTES,
    COLUMN_TILES_BYTES,
    MB,
    OPEN_MB,
    ROW_BUFFER_BYTES,
    ROW_TILES_BYTES,
)
from cxg.storage.bounded_cache import BoundedCache
from cxg.storage.cache_folder import CacheFolder
from cxg.storage.contexts import Context, Contexts
from cxg.storage.cut_files import DataFiles, Folder, LocalFolder, check_files
from cxg.storage.faults import NO_MEMORY, translated
from cxg.storage.listing import MAX_ENTRIES, Listing, from_pairs, is_s3, list_folder
from cxg.storage.objects import Objects
from cxg.storage.s3_copies import Copies, DatasetCopies
from cxg.storage.settings import tiledb_settings
from cxg.timeouts.calls import timed_calls

_OPENING_BYTES = 256 << 20
# Small read batches suit one gene; see section 4.1 of the format notes in docs/cxg.md.
_COLUMN_BATCH_BYTES = 256 * 1024
# Half of the tiles that a query may hold may be what TileDB knows of an array's tiles, some 65 bytes each; its default
# of a tenth is too little for a million cells.
_ABOUT_TILES = {
    f"sm.mem.reader.{reader}.ratio_array_data": "0.5"
    for reader in ("sparse_unordered_with_dups", "sparse_global_order")
}


def has_room() -> bool:
    """Tell whether what opening any array takes can be allocated now."""
    try:
        return len(np.empty(_OPENING_BYTES, np.uint8)) == _OPENING_BYTES
    except MemoryError:
        return False


class Storage:
    """Access to one process's files and S3 objects. Make it after the fork; share it between threads.

    Parameters
    ----------
    runtime : Runtime
        How the environment says to reach S3.
    cache : CacheFolder or None
        Where to keep copies of small files from S3; None keeps none.
    open_mb : int
        Most memory for what is known of open datasets, in MB.
    dataset_mb : int or None
        Most that a dataset may need (`cxg.memory.MemoryPlan.dataset_mb`); None takes any.

    Attributes
    ----------
    contexts : Contexts
        TileDB contexts, which are replaced now and then.
    dataset_bytes : int or None
    open_objects : BoundedCache
        Open matrices, names and sums of the datasets in use.
    """

    def __init__(
        self,
        config: Config,
        runtime: Runtime = NO_VARIABLES,
        cache: CacheFolder | None = None,
        open_mb: int = OPEN_MB,
        dataset_mb: int | None = None,
    ) -> None:
        self.dataset_bytes = None if dataset_mb is None else dataset_mb * MB
        self.open_objects = BoundedCache(open_mb * MB)
        settings = tiledb_settings(config, runtime.aws)
        self._endpoint = settings.get("vfs.s3.endpoint_override", "")
        self.contexts = _make_contexts(settings)
        self._cache, self._processes = cache, runtime.workers or 1
        self._lock = threading.RLock()
        self._objects_found: Objects | None = None

    @property
    def column_ctx(self) -> Context:
        """Return the context for a few genes or an annotation: small read batches, many in parallel."""
        return self.contexts.find("column")

    @property
    def row_ctx(self) -> Context:
        """Return the context for long scans over rows: TileDB's large read batches."""
        return self.contexts.find("row")

    @property
    def objects(self) -> Objects:
        """Return the objects that the context for a few genes reaches; others when contexts were replaced."""
        ctx = self.column_ctx
        with self._lock:
            if self._objects_found is None or self._objects_found.ctx is not ctx:
                self._objects_found = Objects(ctx)
            return self._objects_found

    @cached_property
    def _made_copies(self) -> Copies | None:
        return None if self._cache is None else Copies(self._copy, self._cache, processes=self._processes)

    def _copy(self, uri: str, target: Path) -> None:
        self.objects.copy(uri, target)

    def copies(self, uri: str, listing: Listing) -> DatasetCopies | None:
        """Return the local copies of a dataset on S3; None for others, and where there is no room for copies."""
        if not is_s3(uri):
            return None
        with self._lock:
            copies = self._made_copies
        return None if copies is None else copies.for_dataset(uri, self.identity(uri, listing))

    def identity(self, uri: str, listing: Listing) -> str:
        """Return 32 hex digits for what is kept of the dataset at `uri`, as long as it has the files of `listing`.

        Another dataset never has the same, not even one of equal names, sizes and modification times.
        """
        store = self._endpoint if is_s3(uri) else ""
        return listing.identity(f"{store} {uri.rstrip('/')}")

    def listing(self, uri: str) -> Listing:
        """Return all files below `uri`; empty when there is nothing.

        Raises
        ------
        StorageUnavailable
            The store did not answer.
        """
        return timed_calls.call(uri, partial(self._listing, uri), opens=True)

    def _listing(self, uri: str) -> Listing:
        if not is_s3(uri):
            try:
                return list_folder(uri)
            except (FileNotFoundError, NotADirectoryError):
                return Listing(())
            except OSError as error:
                raise StorageUnavailable(
                    f"The storage did not answer while listing a dataset ({error.strerror})."
                ) from error
        prefix = uri.rstrip("/") + "/"
        with self._store_errors():
            pairs = self.objects.below(prefix, MAX_ENTRIES)
        return from_pairs(pairs)

    def children(self, uri: str) -> tuple[str, ...]:
        """Return the names of what lies directly below `uri`, sorted; folders only on a file system.

        Raises
        ------
        StorageUnavailable
            The store did not answer, or the folder is not there.
        """
        return timed_calls.call(uri, partial(self._children, uri), opens=True)

    def _children(self, uri: str) -> tuple[str, ...]:
        if not is_s3(uri):
            try:
                with os.scandir(uri) as items:
                    return tuple(sorted(item.name for item in items if _is_folder(item)))
            except OSError as error:
                raise StorageUnavailable(f"The dataroot cannot be listed ({error.strerror}).") from error
        prefix = uri.rstrip("/") + "/"
        with self._store_errors():
            found = self.objects.children(prefix)
        names = (item.removeprefix(prefix).strip("/") for item in found)
        return tuple(sorted({name for name in names if name and "/" not in name}))

    def open_array(self, uri: str, ctx: Context, what: str, timestamp: Any = None) -> Any:
        """Open a TileDB array for reading; the handle may be shared between threads.

        Its attribute `data_files` (`cut_files.DataFiles`, or None) tells whether the files of values are whole. On S3
        they are looked at once, when the array is opened.

        Raises
        ------
        DatasetInvalid, StorageUnavailable
            As `translated` says.
        """

        def open_now() -> Any:
            try:
                with translated(what):
                    folder = self.objects.folder(uri, MAX_ENTRIES) if is_s3(uri) else LocalFolder(uri)
                    least = check_files(folder)
                    array = tiledb.open(uri, ctx=ctx, timestamp=timestamp)
                    array.data_files = _data_files(array, folder, least) if least else None
                    return array
            except StorageUnavailable as error:
                # Of a file that was cut short TileDB takes anything for a length, and tries to allocate as much.
                cause = error.__cause__
                if not isinstance(cause, MemoryError) and NO_MEMORY.search(str(cause)) and has_room():
                    subject = what[0].upper() + what[1:]
                    raise DatasetInvalid(
                        f"{subject} cannot be read: damaged. Copy the dataset again from its source."
                    ) from error
                raise

        ctx.note_use()
        return timed_calls.call(uri, open_now, opens=True, discard=lambda array: array.close())

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except tiledb.TileDBError as error:
            note = StorageUnavailable("The S3 dataroot cannot be listed: check its bucket, region and credentials.")
            raise note from error


def _make_contexts(settings: Mapping[str, str]) -> Contexts:
    batch = str(_COLUMN_BATCH_BYTES)
    column = {
        "vfs.min_batch_size": batch,
        "vfs.min_batch_gap": batch,
        "sm.mem.total_budget": str(COLUMN_TILES_BYTES),
        "py.init_buffer_bytes": str(COLUMN_BUFFER_BYTES),
        # TileDB would give all free memory back after each query, and the next one would wait for it to be mapped
        # again: 2 of 4 ms for an embedding of 100,000 cells. `cxg.startup.gunicorn` bounds what is kept instead.
        "sm.mem.malloc_trim": "false",
    }
    row = {"py.init_buffer_bytes": str(ROW_BUFFER_BYTES), "sm.mem.total_budget": str(ROW_TILES_BYTES)}
    return Contexts({"column": {**column, **_ABOUT_TILES, **settings}, "row": {**row, **_ABOUT_TILES, **settings}})


def _data_files(array: Any, folder: Folder, least: Mapping[str, int]) -> DataFiles:
    fields = _fields(array.schema)
    if isinstance(folder, LocalFolder):
        return DataFiles(fields, least)
    # Only those that are too short are remembered, so that a read looks at nothing else.
    sizes = {path: folder.files.get(path[len(folder.uri) + 1 :], -1) for path in least}
    short = {path: size for path, size in least.items() if sizes[path] < size}
    return DataFiles(fields, short, sizes.__getitem__)


def _fields(schema: tiledb.ArraySchema) -> dict[str, str]:
    """How the files of each attribute are called, by its name."""
    return {str(schema.attr(i)._internal_name): f"a{i}" for i in range(schema.nattr)}


def _is_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_dir()
    except OSError:  # a link in circles, say; one odd entry must not hide the others
        return False
