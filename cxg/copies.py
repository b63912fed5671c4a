"""Copies of small files of datasets on S3, on local disk, shared by all workers of a machine.

TileDB opens an array in a dozen requests, most of them one after the other: it lists each
of the array's folders and reads three files. The listing of a dataset says which files
there are, so they can all be fetched at once, and TileDB opens the copies. Values of a
column are copied when they are first asked for.

An object of a CXG is never rewritten under its name (see `docs/cxg.md`), so copies are kept below the
identity of the dataset they came from, and are as good as the originals. They are made
under another name and then renamed; who uses them looks first whether they are still there.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from cxg.cachefolder import CacheFolder, changed_s, folder_bytes, remove
from cxg.listing import Entry

_PREFIX = "s3-"
_THREADS = 32
# Of the room that this machine gives to caches, decoded rows need more.
_SHARE = 0.25
_TOUCH_S = 60.0
# What was used so lately may be open in some process.
_IN_USE_S = 900.0


class Copies:
    """The copies of all datasets.

    Parameters
    ----------
    fetch : copies the object at a URI to a path
    cache : where caches are kept, and what all of them may take together
    """

    def __init__(self, fetch: Callable[[str, Path], None], cache: CacheFolder) -> None:
        self._fetch, self._cache, self._folder = fetch, cache, cache.path
        self._budget_bytes = int(cache.budget_bytes * _SHARE)
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="copies")
        self._running: dict[Path, Future[None]] = {}
        self._used_bytes: int | None = None

    def of(self, uri: str, identity: str) -> DatasetCopies:
        """The copies of the dataset at `uri`, of the identity that `Storage.identity` gives."""
        root = self._folder / f"{_PREFIX}{identity}"
        if not root.exists():
            self._make_room()
        return DatasetCopies(self, uri.rstrip("/"), root)

    def reserve(self, size: int) -> bool:
        """Note that `size` more bytes will be kept; False when there is no room."""
        with self._lock:
            if self._used_bytes is None:
                self._used_bytes = sum(folder_bytes(folder) for folder in self._folders())
            if self._used_bytes + size > self._budget_bytes:
                return False
            self._used_bytes += size
            return True

    def start(self, uri: str, target: Path, size: int) -> Future[None]:
        """Begin to fetch an object, or join those who wait for it already."""
        with self._lock:
            running = self._running.get(target)
            if running is None:
                running = self._running[target] = self._pool.submit(self._copy, uri, target, size)
                running.add_done_callback(lambda _: self._forget(target))
            return running

    def _forget(self, target: Path) -> None:
        # No lock: called in `start` too, when the fetch is done before its callback is added.
        self._running.pop(target, None)

    def _copy(self, uri: str, target: Path, size: int) -> None:
        if target.exists():
            return
        if not self._cache.is_ready():
            raise OSError(f"{self._folder} cannot be made, or belongs to somebody else")
        # Not inside the array, where TileDB would take it for one of its own files.
        partial = self._folder / f"{_PREFIX}{uuid.uuid4().hex}.part"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if size:
                self._fetch(uri, partial)
            else:
                partial.touch()
            if partial.stat().st_size != size:
                raise OSError(f"{uri} has another size than was listed")
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
            if not target.exists():
                # Its room is free again: count anew.
                with self._lock:
                    self._used_bytes = None

    def _folders(self) -> list[Path]:
        return [item for item in self._folder.glob(f"{_PREFIX}*") if item.is_dir() and not item.is_symlink()]

    def _make_room(self) -> None:
        """Remove the datasets unused for longest while more than three quarters of the room are taken.

        Also what a killed process was fetching.
        """
        if not self._cache.is_ready():
            return
        for partial in self._folder.glob(f"{_PREFIX}*.part"):
            if time.time() - changed_s(partial) > _IN_USE_S:
                remove(partial)
        with self._lock:
            sizes = {folder: folder_bytes(folder) for folder in self._folders()}
            used = sum(sizes.values())
            for folder in sorted(sizes, key=changed_s):
                if used <= 0.75 * self._budget_bytes or time.time() - changed_s(folder) < _IN_USE_S:
                    break
                remove(folder)
                used -= sizes[folder]
            self._used_bytes = used


class DatasetCopies:
    """The copies of one dataset; `root` holds them under their paths in the dataset."""

    def __init__(self, copies: Copies, uri: str, root: Path) -> None:
        self._copies, self._uri, self.root = copies, uri, root
        self._touched_s = float("-inf")

    def have(self, entries: Iterable[Entry]) -> bool:
        """Fetch what is missing of some files, all at once; False when there is no room for it.

        Raises
        ------
        tiledb.TileDBError, OSError
            One could not be fetched, or not be written.
        """
        if time.monotonic() - self._touched_s > _TOUCH_S:
            self._touched_s = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(self.root, follow_symlinks=False)
        missing = [entry for entry in entries if not (self.root / entry.path).exists()]
        if not missing:
            return True
        if not all(_leads_inside(self.root, entry.path) for entry in missing):
            return False
        if not self._copies.reserve(sum(entry.size for entry in missing)):
            return False
        started = [
            self._copies.start(f"{self._uri}/{entry.path}", self.root / entry.path, entry.size) for entry in missing
        ]
        for future in started:
            future.result()
        return True


def _leads_inside(root: Path, path: str) -> bool:
    """Whether a path below `root` stays there: an object may be called anything, and a folder may be a link."""
    parts = path.split("/")
    if not {"", ".", ".."}.isdisjoint(parts) or root.is_symlink():
        return False
    return not any(root.joinpath(*parts[:depth]).is_symlink() for depth in range(1, len(parts)))
