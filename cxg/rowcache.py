"""Decoded rows of the datasets in use, on local disk, shared by all workers of a machine.

Differential expression reads them (`cxg.format.rowstore`) instead of TileDB once they are
there. They are made in the background, one dataset at a time, a few seconds after someone
opens a dataset; until then, and wherever there is no room, rows come from TileDB.

The folder is named in `CXG_CACHE_DIR`, else one in the system's temporary folder that
belongs to this user alone. It holds at most `CXG_CACHE_MB`, else a quarter of the free
space; the dataset unused for longest goes first. 0 switches the copy off.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import queue
import shutil
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path

from cxg.catalog import Catalog
from cxg.errors import CxgError
from cxg.format.dataset import Dataset
from cxg.format.rowstore import RowStore, build
from cxg.memory import MB

log = logging.getLogger(__name__)

_DELAY_S = 2.0
_FREE_SHARE = 0.25
_MOST_OPEN = 32
_NICE = 10


class RowCache:
    """Finds the decoded rows of a dataset, and has them made.

    Parameters
    ----------
    catalog : leases the dataset while its rows are decoded
    folder : where the copies are; None switches the cache off
    budget_bytes : most that all copies take together
    """

    def __init__(self, catalog: Catalog, folder: Path | None, budget_bytes: int) -> None:
        self._catalog = catalog
        self._folder = folder if budget_bytes > 0 else None
        self._budget_bytes = budget_bytes
        self._lock = threading.Lock()
        self._open: OrderedDict[str, RowStore] = OrderedDict()
        self._wanted: queue.Queue[str] = queue.Queue(maxsize=64)
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._thread: threading.Thread | None = None

    def find(self, dataset: Dataset) -> RowStore | None:
        """Decoded rows of an open dataset, or None where there are none yet."""
        if self._folder is None:
            return None
        with self._lock:
            store = self._open.get(dataset.fingerprint)
            if store is not None:
                self._open.move_to_end(dataset.fingerprint)
                return store
        folder = self._folder / dataset.fingerprint
        try:
            store = RowStore(folder)
            os.utime(folder)
        except (OSError, ValueError):
            return None
        with self._lock:
            self._open[dataset.fingerprint] = store
            if len(self._open) > _MOST_OPEN:
                self._open.popitem(last=False)
        return store

    def want(self, dataset: Dataset) -> None:
        """Have the rows of a dataset decoded soon, unless they are or cannot be."""
        if self._folder is None or dataset.x_problem is not None:
            return
        with self._lock:
            if dataset.fingerprint in self._seen:
                return
            self._seen[dataset.fingerprint] = None
            if len(self._seen) > 1024:
                self._seen.popitem(last=False)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="row-cache", daemon=True)
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
                log.info("rows of %s are not decoded: %s", name, error)

    def _make(self, name: str) -> None:
        if self._folder is None:
            return
        with self._catalog.lease(name) as dataset:
            target = self._folder / dataset.fingerprint
            if target.exists() or not dataset.has_decodable_rows:
                return
            with _locked(self._folder / "lock") as locked:
                if not locked or target.exists():
                    return
                _clear_leftovers(self._folder)
                partial = Path(tempfile.mkdtemp(prefix="partial-", dir=self._folder))
                try:
                    if build(partial, dataset.expression(), dataset.n_obs, dataset.n_var, self._budget_bytes // 2):
                        self._make_room(_folder_bytes(partial))
                        partial.rename(target)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)

    def _make_room(self, needed_bytes: int) -> None:
        folders = [] if self._folder is None else [item for item in self._folder.iterdir() if item.is_dir()]
        kept = sorted((item for item in folders if not _is_partial(item)), key=_age)
        used = sum(_folder_bytes(item) for item in kept)
        for item in kept:
            if used + needed_bytes <= self._budget_bytes:
                return
            used -= _folder_bytes(item)
            shutil.rmtree(item, ignore_errors=True)


def cache_folder(env: Mapping[str, str]) -> tuple[Path | None, int]:
    """Folder and budget in bytes from the environment; (None, 0) when there is no place for it.

    A folder that others can write to is not used: what is in it decides what users are shown.
    """
    asked = env.get("CXG_CACHE_MB", "")
    if asked == "0":
        return None, 0
    chosen = env.get("CXG_CACHE_DIR")
    try:
        # On a read-only file system there may be no temporary folder at all.
        folder = Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"cellxgene-eb-{os.getuid()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        private = status.st_uid == os.getuid() and not status.st_mode & 0o022 and folder.is_dir()
        if not private or folder.is_symlink() or not os.access(folder, os.W_OK):
            return None, 0
        free = shutil.disk_usage(folder).free + _folder_bytes(folder)
    except OSError:
        return None, 0
    return folder, int(asked) * MB if asked.isdigit() else int(free * _FREE_SHARE)


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


def _folder_bytes(folder: Path) -> int:
    total = 0
    for item in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += item.stat().st_size
    return total
