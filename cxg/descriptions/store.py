"""The descriptions of a dataroot, read again when they change.

On a file system one listing of the dataroot tells which files changed, and only those are read. A listing of S3
tells neither times nor checksums: there each description is read again when it is asked for, after `LookTimes.check_s`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from cachetools import LRUCache

from cxg.datasets.dataroot import SingleRoot
from cxg.datasets.opening import Root
from cxg.descriptions.beside import description_file, read_beside, read_gene_sets
from cxg.descriptions.model import UNDESCRIBED, Described
from cxg.errors import StorageUnavailable
from cxg.memory_bounds import DESCRIPTIONS_BYTES
from cxg.redact import redacted
from cxg.storage.beside import Folder, Stamp
from cxg.storage.listing import is_s3
from cxg.storage.storage import Storage
from cxg.timeouts.calls import timed_calls
from cxg.timeouts.keyed_locks import KeyedLocks

log = logging.getLogger(__name__)

# A description as Python objects, beside its text.
_OBJECT_BYTES = 2000
_LOGGED = 5
# The first who asks waits for this time for what may have changed; others go on with what is known.
_WAIT_S, _THREADS = 0.5, 2


@dataclass(frozen=True, slots=True)
class LookTimes:
    """How often the store looks, in seconds, and the clock for that.

    Attributes
    ----------
    look_s : the files beside the datasets are listed no more often
    check_s : on S3, a description is read again no more often
    """

    look_s: float = 10.0
    check_s: float = 10.0
    clock: Callable[[], float] = time.monotonic


USUAL_PACE = LookTimes()


@dataclass(frozen=True, slots=True)
class _Kept:
    described: Described
    stamps: tuple[Stamp | None, Stamp | None]
    read_s: float


class Descriptions:
    """The descriptions of one root, bounded in memory; safe to share between threads.

    Parameters
    ----------
    storage : Storage
    root : Root
    pace : LookTimes
    """

    def __init__(self, storage: Storage, root: Root, pace: LookTimes = USUAL_PACE) -> None:
        self._root, self._pace, self._clock = root, pace, pace.clock
        self._is_single = isinstance(root, SingleRoot)
        folder, _, own = root.uri.rstrip("/").rpartition("/")
        self._own = own if self._is_single else ""
        self.folder = Folder(storage, (folder or "/") if self._is_single else root.uri)
        self._lock = threading.Lock()
        self._reading = KeyedLocks()
        self._looking = threading.Lock()
        self._looked_s = float("-inf")
        self._files: dict[str, Stamp | None] = {}
        self._is_listed = False
        self._background = ThreadPoolExecutor(_THREADS, thread_name_prefix="descriptions")
        self._under_way: dict[str, Future[object]] = {}
        self._kept: LRUCache[str, _Kept] = LRUCache(DESCRIPTIONS_BYTES, getsizeof=_size_of)
        self._told: dict[str, tuple[str, ...]] = {}

    def file_of(self, name: str) -> str:
        """Name the file that would describe a dataset of the root."""
        return description_file(name or self._own)

    def files(self) -> Mapping[str, Stamp | None]:
        """Return the files beside the datasets, no older than `LookTimes.look_s`; the same object while none changes.

        While the store does not answer, what was found last stays.
        """
        if self._clock() - self._looked_s < self._pace.look_s:
            return self._files
        if self._looked_s == float("-inf"):
            with self._looking:
                if self._looked_s == float("-inf"):
                    self._look()
        else:
            self._soon("", self._look)
        return self._files

    def _look(self) -> None:
        began_s = self._clock()
        with contextlib.suppress(StorageUnavailable, OSError):
            found = self._list()
            self._is_listed = True
            if found != self._files:
                self._files = found
        self._looked_s = began_s

    def _soon(self, what: str, work: Callable[[], object]) -> None:
        """Do work in the background, unless it is under way, and wait for a moment; the store may not answer."""
        with self._lock:
            if what in self._under_way:
                return
            self._under_way[what] = future = self._background.submit(work)
        future.add_done_callback(lambda _: self._under_way.pop(what, None))
        with contextlib.suppress(TimeoutError):
            future.exception(_WAIT_S)

    def of(self, name: str) -> Described:
        """Return what is said of a dataset; `UNDESCRIBED` where there is no file. Nothing is raised."""
        files, file = self.files(), self.file_of(name)
        if file not in files:
            with self._lock:
                self._kept.pop(name, None)
            return UNDESCRIBED
        current = self._current(name, files, file)
        if current is not None:
            return current
        if self._last(name) is not None:
            self._soon(name, partial(self._read_again, name, files, file))
        else:
            self._read_again(name, files, file)
        return self._last(name) or UNDESCRIBED

    def known(self, name: str) -> Described | None:
        """Return what `of` does, or None where the store did not answer, so that it is not known."""
        described = self.of(name)
        has_file = self.has_file(name)
        if not self._is_listed or (has_file and self._last(name) is None):
            return None
        # A link that leads out of the folder is listed, but not read.
        return replace(described, is_whole=False) if has_file and described is UNDESCRIBED else described

    def has_file(self, name: str) -> bool:
        """Tell whether a dataset has a description, as far as is known without looking."""
        return self.file_of(name) in self._files

    def _last(self, name: str) -> Described | None:
        with self._lock:
            kept = self._kept.get(name)
        return None if kept is None else kept.described

    def _read_again(self, name: str, files: Mapping[str, Stamp | None], file: str) -> None:
        """Read a description unless another thread just did; what was read before stays while the store is away."""
        holder = self._reading.of(name)
        with contextlib.suppress(StorageUnavailable, OSError), timed_calls.hold(holder.lock, self.folder.uri):
            if self._current(name, files, file) is None:
                self._read(name, files, file)

    def gene_sets(self, name: str) -> list[dict[str, Any]] | None:
        """Read the gene sets that the description of a dataset names; None when there are none that can be used.

        Raises
        ------
        StorageUnavailable
            The store did not answer.
        """
        file = self.of(name).description.gene_sets
        if file is None:
            return None
        problems: list[str] = []
        sets = read_gene_sets(self.folder, file, problems)
        self._tell(file, tuple(problems))
        return sets

    def _tell(self, file: str, problems: tuple[str, ...]) -> None:
        """Log the faults of a file, once for each change of them."""
        with self._lock:
            is_new = bool(problems) and self._told.get(file) != problems
            self._told.pop(file, None)
            if problems:
                self._told[file] = problems
        if is_new:
            for problem in problems[:_LOGGED]:
                log.warning("%s", redacted(problem))
            if len(problems) > _LOGGED:
                log.warning("%s: %d more faults; cxg doctor names them", file, len(problems) - _LOGGED)

    def _list(self) -> dict[str, Stamp | None]:
        if self._is_single and is_s3(self.folder.uri):
            # What is beside it may belong to others, and be no business of ours to list.
            file = description_file(self._own)
            return {} if self.folder.find(file) is None else {file: None}
        return self.folder.list_files()

    def _current(self, name: str, files: Mapping[str, Stamp | None], file: str) -> Described | None:
        with self._lock:
            kept = self._kept.get(name)
        if kept is None or kept.stamps != self._stamps(files, file, kept.described):
            return None
        is_due = files[file] is None and self._clock() - kept.read_s >= self._pace.check_s
        return None if is_due else kept.described

    def _stamps(
        self, files: Mapping[str, Stamp | None], file: str, described: Described
    ) -> tuple[Stamp | None, Stamp | None]:
        return files.get(file), files.get(described.description.gene_sets or "")

    def _read(self, name: str, files: Mapping[str, Stamp | None], file: str) -> Described:
        read_s = self._clock()
        described = read_beside(self.folder, file)
        with self._lock:
            stamps = self._stamps(files, file, described)
            self._kept[name] = _Kept(described, stamps, read_s)
        self._tell(file, described.problems)
        return described


def _size_of(kept: _Kept) -> int:
    size = _OBJECT_BYTES + 2 * len(repr(kept.described))
    return min(size, DESCRIPTIONS_BYTES)
