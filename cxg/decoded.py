"""Decoded copies of X of the datasets in use, on local disk, shared by all workers of a machine.

One by cell, for differential expression, and one by gene (`cxg.format.runs`). They are read
instead of TileDB once they are there. They are made in the background, one at a time, a few
seconds after someone opens a dataset; until then, and wherever there is no room, TileDB is read.

They are kept in the folder of `cxg.cachefolder`; the copy unused for longest goes first.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
import queue
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxg.cachefolder import folder_bytes
from cxg.catalog import Catalog
from cxg.errors import CxgError
from cxg.format.dataset import Dataset
from cxg.format.runs import ReadRange, RunStore, build

log = logging.getLogger(__name__)

_DELAY_S = 2.0
# What another dataset pushed out is made again, but not at every request.
_AGAIN_AFTER_S = 600.0
_MOST_OPEN = 32
_NICE = 10
# Threads of one process share one interpreter: visitors come first, as long as they are not there all the time.
_QUIET_S = 0.25
_PATIENCE_S = 0.5


class DecodedCache:
    """Finds the decoded copies of a dataset, and has them made.

    Parameters
    ----------
    catalog : leases the dataset while it is decoded
    folder : where the copies are; None switches the cache off
    budget_bytes : most that all copies take together
    """

    def __init__(self, catalog: Catalog, folder: Path | None, budget_bytes: int) -> None:
        self._catalog = catalog
        self._folder = folder if budget_bytes > 0 else None
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._open: OrderedDict[str, RunStore] = OrderedDict()
        self._wanted: queue.Queue[str] = queue.Queue(maxsize=64)
        self._seen: OrderedDict[str, float] = OrderedDict()
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
        with self._lock:
            store = self._open.get(name)
            if store is not None:
                self._open.move_to_end(name)
                return store
        try:
            store = RunStore(self._folder / name)
            os.utime(self._folder / name)
        except (OSError, ValueError):
            return None
        with self._lock:
            self._open[name] = store
            if len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
        return store

    def want(self, dataset: Dataset) -> None:
        """Have a dataset decoded soon, unless it is or cannot be."""
        if self._folder is None or dataset.x_problem is not None:
            return
        with self._lock:
            now = time.monotonic()
            if now - self._seen.get(dataset.fingerprint, -_AGAIN_AFTER_S) < _AGAIN_AFTER_S:
                return
            self._seen[dataset.fingerprint] = now
            if len(self._seen) > 1024:
                self._seen.popitem(last=False)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="decode", daemon=True)
                self._thread.start()
        with contextlib.suppress(queue.Full):
            self._wanted.put_nowait(dataset.name)

    def _work(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        while True:
            name = self._wanted.get()
            time.sleep(_DELAY_S)
            try:
                self._make(name)
            except (CxgError, OSError, ValueError) as error:
                log.info("%s is not decoded: %s", name, error)

    def _make(self, name: str) -> None:
        with self._catalog.lease(name) as dataset:
            if dataset.is_decodable:
                for axis in ("obs", "var"):
                    self._make_one(dataset, axis)

    def _make_one(self, dataset: Dataset, axis: str) -> None:
        if self._folder is None:
            return
        target = self._folder / _folder_name(dataset, axis)
        with _locked(self._folder / "lock") as locked:
            if not locked or target.exists():
                return
            _clear_leftovers(self._folder)
            partial = Path(tempfile.mkdtemp(prefix="partial-", dir=self._folder))
            lengths = (dataset.n_obs, dataset.n_var) if axis == "obs" else (dataset.n_var, dataset.n_obs)
            try:
                read = self._politely(functools.partial(dataset.expression().read_range, axis))
                if build(partial, read, *lengths, self._budget_bytes // 2):
                    self._make_room(folder_bytes(partial))
                    partial.rename(target)
            finally:
                shutil.rmtree(partial, ignore_errors=True)

    def _politely(self, read: ReadRange) -> ReadRange:
        """The same, but waiting while visitors ask, for a bounded time at each range."""

        def read_range(start: int, stop: int) -> Any:
            began = time.monotonic()
            while (now := time.monotonic()) - self._visited_s < _QUIET_S and now - began < _PATIENCE_S:
                time.sleep(0.05)
            return read(start, stop)

        return read_range

    def _make_room(self, needed_bytes: int) -> None:
        if self._folder is None:
            return
        # All that is in the folder counts, but copies of files on S3 are not ours to remove.
        used = sum(folder_bytes(item) for item in self._folder.iterdir() if item.is_dir() and not _is_partial(item))
        kept = sorted((item for axis in ("obs", "var") for item in self._folder.glob(f"*-{axis}")), key=_age)
        for item in kept:
            if used + needed_bytes <= self._budget_bytes:
                return
            used -= folder_bytes(item)
            shutil.rmtree(item, ignore_errors=True)


def _folder_name(dataset: Dataset, axis: str) -> str:
    return f"{dataset.fingerprint}-{axis}"


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
