"""Decoded copies of the datasets in use, on local disk, shared by all workers of a machine.

One of X by cell, for differential expression, one by gene (`cxg.format.runs`), and one of the
columns of obs and the embeddings (`cxg.format.columnfiles`). They are read instead of TileDB
once they are there. They are made in the background, one at a time, a few
seconds after someone opens a dataset; until then, and wherever there is no room, TileDB is read.

They are kept in the folder of `cxg.cachefolder`; the copy unused for longest goes first.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import shutil
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import LRUCache, TTLCache
from numpy.typing import NDArray

from cxg.cachefolder import folder_bytes
from cxg.catalog import Catalog
from cxg.errors import CxgError
from cxg.format.columnfiles import load_column, load_embedding, write_columns
from cxg.format.columns import ColumnValues
from cxg.format.dataset import Dataset
from cxg.format.runs import ReadRange, RunStore, build
from cxg.handover import be_nice

log = logging.getLogger(__name__)

_DELAY_S = 2.0
# What another dataset pushed out is made again, but not at every request.
_AGAIN_AFTER_S = 600.0
# How often the use of a copy is noted.
_TOUCH_S = 60.0
_MOST_REMEMBERED = 1024
_NICE = 10
_TICK_S = 0.05
_COPIES = ("columns", "obs", "var")
# Threads of one process share one interpreter: visitors come first, as long as they are not there all the time.
_QUIET_S = 0.25
_PATIENCE_S = 0.5


class _ProcessEnds(Exception):
    """The main thread is gone, and the process waits for this one."""


class DecodedCache:
    """Finds the decoded copies of a dataset, and has them made.

    Parameters
    ----------
    catalog : leases the dataset while it is decoded
    folder : where the copies are; None switches the cache off
    budget_bytes : most that all copies take together
    reading : entered for each part that is read, so that it does not take memory beside other long reads
    """

    def __init__(
        self,
        catalog: Catalog,
        folder: Path | None,
        budget_bytes: int,
        reading: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
    ) -> None:
        self._catalog = catalog
        self._folder = folder if budget_bytes > 0 else None
        self._budget_bytes = budget_bytes
        self._reading = reading
        self._lock = threading.Lock()
        self._kept = catalog.storage.kept
        self._wanted: deque[str] = deque(maxlen=64)
        self._asked: TTLCache[str, bool] = TTLCache(_MOST_REMEMBERED, _AGAIN_AFTER_S)
        self._touched_s: LRUCache[str, float] = LRUCache(_MOST_REMEMBERED)
        self._thread: threading.Thread | None = None
        self._visited_s = float("-inf")

    def visited(self) -> None:
        """Note that a visitor of this process waits for an answer: decoding pauses for a moment."""
        self._visited_s = time.monotonic()

    def find(self, dataset: Dataset, axis: str) -> RunStore | None:
        """Decoded cells ("obs") or genes ("var") of an open dataset, or None where there are none yet."""
        if self._folder is None:
            return None
        name = _folder_name(dataset, axis)
        self._touch(self._folder / name)
        try:
            return self._kept.find_or_make(self, name, partial(RunStore, self._folder / name), RunStore.held_bytes)
        except (OSError, ValueError):
            return None

    def obs_column(self, dataset: Dataset, name: str) -> ColumnValues:
        """Values of one column of `obs`, from the copy where there is one; raises as `Annotations.read`."""
        folder = self._columns(dataset)
        stored = None if folder is None else load_column(folder, dataset, name)
        values: ColumnValues = dataset.obs.read(name) if stored is None else dataset.obs.decode(name, stored)
        return values

    def embedding(self, dataset: Dataset, name: str) -> NDArray[np.float32]:
        """One embedding, from the copy where there is one; as `Dataset.read_embedding`."""
        folder = self._columns(dataset)
        stored = None if folder is None else load_embedding(folder, dataset, name)
        return dataset.read_embedding(name) if stored is None else stored

    def want(self, dataset: Dataset) -> None:
        """Have a dataset decoded soon, unless it is or cannot be."""
        if self._folder is None:
            return
        with self._lock:
            if dataset.fingerprint in self._asked:
                return
            self._asked[dataset.fingerprint] = True
            self._wanted.append(dataset.name)
            if self._thread is None:
                # No daemon: those are torn out of TileDB when the process ends, which aborts it.
                self._thread = threading.Thread(target=self._work, name="decode")
                self._thread.start()

    def _work(self) -> None:
        """Decode what is wanted until nothing is; stop early when the process ends."""
        be_nice(_NICE)
        try:
            while (name := self._next()) is not None:
                _pause(_DELAY_S)
                try:
                    self._make(name)
                except (CxgError, OSError, ValueError) as error:
                    log.warning("%s is not decoded: %s", name, error)
        except _ProcessEnds:
            pass
        finally:
            with self._lock:
                # After the last wish another thread may have begun.
                if self._thread is threading.current_thread():
                    self._thread = None

    def _next(self) -> str | None:
        with self._lock:
            if self._wanted:
                return self._wanted.popleft()
            self._thread = None
            return None

    def _make(self, name: str) -> None:
        with self._catalog.lease(name) as dataset:
            self._make_one(dataset, "columns")
            if dataset.sparse_expression() is not None:
                for axis in ("obs", "var"):
                    self._make_one(dataset, axis)

    def _make_one(self, dataset: Dataset, what: str) -> None:
        if self._folder is None or (target := self._folder / _folder_name(dataset, what)).exists():
            return
        with _locked(self._folder / "lock") as locked:
            if not locked:
                # Another process may be busy with another dataset: ask again.
                with self._lock:
                    self._asked.pop(dataset.fingerprint, None)
            if not locked or target.exists():
                return
            _clear_leftovers(self._folder)
            unfinished = Path(tempfile.mkdtemp(prefix="partial-", dir=self._folder))
            try:
                if self._write(dataset, what, unfinished):
                    self._make_room(folder_bytes(unfinished))
                    unfinished.rename(target)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)

    def _write(self, dataset: Dataset, what: str, folder: Path) -> bool:
        """Fill an empty folder; False when it would take too much of the budget."""
        if what == "columns":
            return write_columns(folder, dataset, self._budget_bytes // 4)
        matrix = dataset.sparse_expression()
        if matrix is None:
            return False
        lengths = (dataset.n_obs, dataset.n_var) if what == "obs" else (dataset.n_var, dataset.n_obs)
        read = self._politely(partial(matrix.read_range, what))
        return build(folder, read, *lengths, self._budget_bytes * 3 // 8)

    def _columns(self, dataset: Dataset) -> Path | None:
        if self._folder is None:
            return None
        folder = self._folder / _folder_name(dataset, "columns")
        self._touch(folder)
        return folder

    def _touch(self, folder: Path) -> None:
        """Note that a copy is used, and let go of those that were removed, whose open files take disk; at times."""
        now = time.monotonic()
        with self._lock:
            if now - self._touched_s.get(folder.name, float("-inf")) < _TOUCH_S:
                return
            self._touched_s[folder.name] = now
        with contextlib.suppress(OSError):
            os.utime(folder)
        for name in self._kept.owned(self):
            if not (folder.parent / str(name)).exists():
                self._kept.drop(self, name)

    def _politely(self, read: ReadRange) -> ReadRange:
        """The same, but waiting while visitors ask, for a bounded time at each range."""

        def read_range(start: int, stop: int) -> Any:
            began = time.monotonic()
            _pause(0)
            while (now := time.monotonic()) - self._visited_s < _QUIET_S and now - began < _PATIENCE_S:
                _pause(_TICK_S)
            with self._reading():
                return read(start, stop)

        return read_range

    def _make_room(self, needed_bytes: int) -> None:
        if self._folder is None:
            return
        # All that is in the folder counts, but copies of files on S3 are not ours to remove.
        used = sum(folder_bytes(item) for item in self._folder.iterdir() if item.is_dir() and not _is_partial(item))
        kept = sorted((item for what in _COPIES for item in self._folder.glob(f"*-{what}")), key=_age)
        for item in kept:
            if used + needed_bytes <= self._budget_bytes:
                return
            used -= folder_bytes(item)
            shutil.rmtree(item, ignore_errors=True)


def _pause(seconds: float) -> None:
    """Sleep; raises _ProcessEnds as soon as the process wants to end."""
    until = time.monotonic() + seconds
    while True:
        if not threading.main_thread().is_alive():
            raise _ProcessEnds
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, _TICK_S))


def _folder_name(dataset: Dataset, what: str) -> str:
    return f"{dataset.fingerprint}-{what}"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a lock between processes; False at once when another has it. It ends with its process."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True


def _clear_leftovers(folder: Path) -> None:
    """Remove what a killed process left half done; the caller holds the lock."""
    for item in folder.iterdir():
        if _is_partial(item):
            shutil.rmtree(item, ignore_errors=True)


def _is_partial(item: Path) -> bool:
    return item.name.startswith("partial-")


def _age(item: Path) -> float:
    try:
        return item.stat().st_mtime
    except OSError:
        return 0.0
