"""Copies of small files of datasets on S3, on local disk, shared by all workers of a machine.

TileDB opens an array in a dozen requests, most of them one after the other: it lists each
of the array's folders and reads three files. The listing of a dataset says which files
there are, so they can all be fetched at once, and TileDB opens the copies. Values of a
column are copied when they are first asked for.

An object of a CXG is never rewritten under its name (see `docs/cxg.md`), so copies are kept below the
identity of the dataset they came from, and have the same bytes as the originals. They are made
under another name and then renamed.

`s3-<identity>/files` holds them under their paths in the dataset; each line of `s3-<identity>/sums`
is the path, the size and the checksum of one. Who uses them looks first whether they are still
there, and reads what changed since, or was never read by this process, to compare its checksum; what
differs is fetched again. So nothing is synced here: that would take longer than to fetch it again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import stat
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from isal.isal_zlib import crc32

from cxg.storage.cache_folder import S3_PREFIX, S3_SHARE, CacheFolder, changed_s, folder_bytes, remove
from cxg.storage.checksums import CopyDamaged, Stamp, open_regular, stamp_of
from cxg.storage.listing import FileEntry

log = logging.getLogger(__name__)

_FILES, _SUMS = "files", "sums"
_REPLACING_SUMS = threading.Lock()
_THREADS = 32
_TOUCH_S = 60.0
# What was used so lately may be open in some process.
_IN_USE_S = 900.0
# Time for which files are read in place after a failure of the local disk.
_REST_S = 60.0
# Time after which a process looks again how much room there is, when it has none: others take and free some, too.
_LOOK_S = 1.0
_TELL_S = 60.0
_DAMAGED = "Copies of files of %s are damaged and fetched again, among them %s: %s."
_PIECE_BYTES = 1 << 20


class Copies:
    """The copies of all datasets.

    Parameters
    ----------
    fetch : callable
        Copies the object at a URI to a path.
    cache : CacheFolder
        Where caches are kept, and what all of them may take together.
    clock : callable
        Returns the time in seconds.
    processes : int
        How many processes fetch into the folder; each takes its share of the room that is left when it looks.

    Attributes
    ----------
    clock : callable
    """

    def __init__(
        self,
        fetch: Callable[[str, Path], None],
        cache: CacheFolder,
        clock: Callable[[], float] = time.monotonic,
        processes: int = 1,
    ) -> None:
        self.clock, self._processes = clock, processes
        self._fetch, self._cache, self._folder = fetch, cache, cache.path
        self._budget_bytes = int(cache.budget_bytes * S3_SHARE)
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="copies")
        self._running: dict[Path, Future[None]] = {}
        # What was there when this process looked, what it has taken since, and what of it is on its way.
        self._used_bytes: int | None = None
        self._looked_s = float("-inf")
        self._taken_bytes = self._under_way_bytes = 0

    def for_dataset(self, uri: str, identity: str) -> DatasetCopies:
        """Return the copies of the dataset at `uri`, of the identity that `Storage.identity` gives."""
        base = self._folder / f"{S3_PREFIX}{identity}"
        if not base.exists():
            self._make_room()
        return DatasetCopies(self, uri.rstrip("/"), base)

    def reserve(self, size: int) -> bool:
        """Note that `size` more bytes will be fetched; False when there is no room. `release` follows."""
        with self._lock:
            if self._used_bytes is None or (size > self._room() and self.clock() - self._looked_s >= _LOOK_S):
                self._note_used(sum(folder_bytes(folder) for folder in self._folders()))
            if size > self._room():
                return False
            self._taken_bytes += size
            self._under_way_bytes += size
            return True

    def release(self, size: int) -> None:
        """Note that what was reserved is there, or has failed."""
        with self._lock:
            self._under_way_bytes -= size

    def _room(self) -> int:
        return (self._budget_bytes - (self._used_bytes or 0)) // self._processes - self._taken_bytes

    def _note_used(self, used_bytes: int) -> None:
        self._used_bytes, self._looked_s, self._taken_bytes = used_bytes, self.clock(), self._under_way_bytes

    def discard(self, path: Path) -> None:
        """Remove one copy."""
        if self._cache.is_ready():
            remove(path)

    def start(self, uri: str, base: Path, entry: FileEntry) -> Future[None]:
        """Begin to fetch an object, or join those who wait for it already."""
        target = base / _FILES / entry.path
        with self._lock:
            running = self._running.get(target)
            if running is None:
                running = self._running[target] = self._pool.submit(self._copy, uri, base, target, entry)
                running.add_done_callback(lambda _: self._forget(target))
            return running

    def _forget(self, target: Path) -> None:
        # No lock: called in `start` too, when the fetch is done before its callback is added.
        self._running.pop(target, None)

    def _copy(self, uri: str, base: Path, target: Path, entry: FileEntry) -> None:
        if target.exists():
            return
        if not self._cache.is_ready():
            raise OSError(f"{self._folder} cannot be made, or belongs to somebody else")
        # Not inside the array, where TileDB would take it for one of its own files.
        partial = self._folder / f"{S3_PREFIX}{uuid.uuid4().hex}.part"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if entry.size:
                self._fetch(uri, partial)
            else:
                partial.touch()
            if partial.stat().st_size != entry.size:
                raise OSError(f"{uri} has another size than was listed")
            _note_sum(base / _SUMS, entry, _sum(partial))
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
            if not target.exists():
                # Its room is free again: count anew.
                with self._lock:
                    self._used_bytes = None

    def _folders(self) -> list[Path]:
        return [item for item in self._folder.glob(f"{S3_PREFIX}*") if item.is_dir() and not item.is_symlink()]

    def _make_room(self) -> None:
        """Remove the datasets unused for longest while more than three quarters of the room are taken.

        Also what a killed process was fetching.
        """
        if not self._cache.is_ready():
            return
        for partial in self._folder.glob(f"{S3_PREFIX}*.part"):
            if time.time() - changed_s(partial) > _IN_USE_S:
                remove(partial)
        with self._lock:
            sizes = {folder: folder_bytes(folder) for folder in self._folders()}
            used = sum(sizes.values())
            for folder in sorted(sizes, key=changed_s):
                if used <= 0.75 * self._budget_bytes or time.time() - changed_s(folder) < _IN_USE_S:
                    break
                # In one step, so that nobody finds half of it.
                gone = self._folder / f"{S3_PREFIX}{uuid.uuid4().hex}.part"
                with contextlib.suppress(OSError):
                    folder.rename(gone)
                remove(gone)
                used -= sizes[folder]
            self._note_used(used)


class DatasetCopies:
    """The copies of one dataset; `root` holds them under their paths in the dataset."""

    def __init__(self, copies: Copies, uri: str, base: Path) -> None:
        self._copies, self._uri, self._base, self.root = copies, uri, base, base / _FILES
        self._clock = copies.clock
        self._touched_s = self._failed_s = self._told_s = float("-inf")
        self._lock = threading.Lock()
        self._sums: tuple[Stamp, dict[str, tuple[int, int]]] = (), {}
        self._sound: dict[str, Stamp] = {}
        self._damaged: dict[str, Stamp] = {}

    def fetch(self, entries: Iterable[FileEntry]) -> bool:
        """Fetch what is missing of some files, all at once; False when there is no room for it.

        Raises
        ------
        tiledb.TileDBError, OSError
            One could not be fetched, or not be written.
        """
        if self._clock() - self._touched_s > _TOUCH_S:
            self._touched_s = self._clock()
            with contextlib.suppress(OSError):
                os.utime(self._base, follow_symlinks=False)
        entries = [entry for entry in entries if not self._is_known(entry)]
        if not all(_leads_inside(self._base, f"{_FILES}/{entry.path}") for entry in entries):
            return False
        missing = self._without_sound(entries)
        if not missing:
            return True
        size = sum(entry.size for entry in missing)
        if self._clock() - self._failed_s < _REST_S or not self._copies.reserve(size):
            return False
        try:
            started = [self._copies.start(f"{self._uri}/{entry.path}", self._base, entry) for entry in missing]
            for future in started:
                future.result()
        finally:
            self._copies.release(size)
        return not self._without_sound(missing)

    def rest(self) -> None:
        """Fetch nothing for a while, since the local disk failed."""
        self._failed_s = self._clock()

    def doubt(self, entries: Iterable[FileEntry]) -> None:
        """Have some copies compared with their checksums once more, since TileDB could not read them."""
        for entry in entries:
            self._sound.pop(entry.path, None)

    def _is_known(self, entry: FileEntry) -> bool:
        """Whether a copy was compared before, and nobody has written to it since."""
        known = self._sound.get(entry.path)
        try:
            return known is not None and stamp_of((self.root / entry.path).lstat()) == known
        except OSError:
            return False

    def _without_sound(self, entries: Iterable[FileEntry]) -> list[FileEntry]:
        """Those that are not there, or damaged, which are removed."""
        missing = []
        for entry in entries:
            path = self.root / entry.path
            try:
                stamp = stamp_of(path.lstat())
            except OSError:
                missing.append(entry)
                continue
            if self._damaged.get(entry.path) == stamp:  # and cannot be removed
                missing.append(entry)
                continue
            try:
                if (entry.size, _sum(path)) != self._noted_sums().get(entry.path):
                    raise CopyDamaged("it is not what was fetched")
                self._sound[entry.path] = stamp
            except CopyDamaged as damage:
                self._damaged[entry.path] = stamp
                missing.append(entry)
                self._tell(entry, damage)
                self._copies.discard(path)
        return missing

    def _tell(self, entry: FileEntry, damage: CopyDamaged) -> None:
        """Log it, but of many files that are damaged at once only the first."""
        with self._lock:
            before, self._told_s = self._told_s, self._clock()
        if self._told_s - before > _TELL_S:
            log.warning(_DAMAGED, self._uri, entry.path, damage)

    def _noted_sums(self) -> dict[str, tuple[int, int]]:
        """Size and checksum of each copy, as this or another process noted them."""
        path = self._base / _SUMS
        try:
            stamp = stamp_of(path.lstat())
            if self._sums[0] != stamp:
                with os.fdopen(open_regular(path), "rb") as file:
                    self._sums = stamp, _parse_sums(file.read())
        except FileNotFoundError:
            return {}
        return self._sums[1]


def _sum(path: Path) -> int:
    """Checksum of a file; CopyDamaged when it cannot be read."""
    total = 0
    with os.fdopen(open_regular(path), "rb") as file:
        try:
            while piece := file.read(_PIECE_BYTES):
                total = crc32(piece, total)
        except OSError as error:
            raise CopyDamaged(f"it cannot be read ({error.strerror})") from error
    return total


def _note_sum(path: Path, entry: FileEntry, total: int) -> None:
    """Append a line; other processes do so too, and the last one counts."""
    line = json.dumps([entry.path, entry.size, total]) + "\n"
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError:
        with _REPLACING_SUMS:
            # A folder, a link or something else that nobody reads; another thread may have replaced it just now.
            if not _can_be_written(path):
                remove(path)
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        # The line before it may have lost its end.
        os.write(file, b"\n" + line.encode())
    finally:
        os.close(file)


def _can_be_written(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode) and os.access(path, os.W_OK)
    except OSError:
        return False


def _parse_sums(data: bytes) -> dict[str, tuple[int, int]]:
    """The lines that can be read; what the others were about is fetched again."""
    found = {}
    for line in data.splitlines():
        with contextlib.suppress(ValueError, TypeError):
            path, size, total = json.loads(line)
            found[str(path)] = size, total
    return found


def _leads_inside(root: Path, path: str) -> bool:
    """Whether a path below `root` stays there: an object may be called anything, and a folder may be a link."""
    parts = path.split("/")
    if not {"", ".", ".."}.isdisjoint(parts) or root.is_symlink():
        return False
    return not any(root.joinpath(*parts[:depth]).is_symlink() for depth in range(1, len(parts)))
