"""Decoded copies of the datasets in use, on local disk, shared by all workers of a machine.

One of X by cell, for differential expression, one by gene (`cxg.decoded.matrix`), one of the
columns of obs and the embeddings (`cxg.decoded.columns`), and where the CXG has no sums over the
cells of each label, one of these (`cxg.decoded.label_sums`). They are read instead of TileDB
once they are there. They are made in the background, one at a time, a few
seconds after someone opens a dataset; until then, and wherever there is no room, TileDB is read.

They are kept in the folder of `cxg.storage.cache_folder`; the copy unused for longest goes first. One that
proves to be damaged is not used any more, and made again; answers come from the CXG meanwhile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cachetools import LRUCache, TTLCache
from numpy.typing import NDArray

from cxg.datasets.catalog import Catalog
from cxg.decoded.columns import ColumnStore
from cxg.decoded.expression import Expression
from cxg.decoded.label_sums import CopiedLabelSums
from cxg.decoded.labels import CheckedLabels, find_stored_labels, open_copied_labels
from cxg.decoded.matrix import DecodedMatrix
from cxg.decoded.pace import USUAL_PACE, Pace, ProcessEnds, Visits
from cxg.decoded.writing import write_copy
from cxg.errors import CxgError
from cxg.format.columns import ColumnValues
from cxg.format.dataset import Dataset
from cxg.storage.cache_folder import CacheFolder, folder_bytes
from cxg.storage.checksums import CopyDamaged, CopyWriter, Stamp, manifest_stamp, sync_folder

log = logging.getLogger(__name__)

_MOST_REMEMBERED = 1024
_LABELS = "labels"


class DecodedCache:
    """Finds the decoded copies of a dataset, and has them made.

    Parameters
    ----------
    catalog : Catalog
        Leases the dataset while it is decoded.
    cache : CacheFolder or None
        Where the copies are, and what they may take together; None keeps none.
    reading : callable
        Entered for each part that is read, so that it does not take memory beside other long reads.
    pace : Pace
        When copies are made, and how often their use is noted.
    """

    def __init__(
        self,
        catalog: Catalog,
        cache: CacheFolder | None,
        reading: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        pace: Pace = USUAL_PACE,
    ) -> None:
        self._catalog = catalog
        self._cache = cache
        self._reading = reading
        self._pace, self._visits = pace, Visits(pace)
        self._lock = threading.Lock()
        self._kept = catalog.storage.open_objects
        self._wanted: deque[str] = deque(maxlen=64)
        self._asked: TTLCache[str, bool] = TTLCache(_MOST_REMEMBERED, pace.again_after_s, pace.clock)
        # Copies found damaged; those that were made since have other stamps.
        self._damaged: LRUCache[str, Stamp] = LRUCache(_MOST_REMEMBERED)
        self._touched_s: LRUCache[str, float] = LRUCache(_MOST_REMEMBERED)
        self._told: LRUCache[tuple[object, ...], bool] = LRUCache(_MOST_REMEMBERED)
        # What works off the wishes now.
        self._worker: object | None = None

    def note_activity(self) -> None:
        """Note that a visitor of this process waits for an answer: decoding pauses for a moment."""
        self._visits.note()

    def expression(self, dataset: Dataset) -> Expression:
        """Return the expression of an open dataset, from its copies where that is possible."""
        return Expression(dataset, self)

    def find(self, dataset: Dataset, axis: str) -> DecodedMatrix | None:
        """Return the decoded cells ("obs") or genes ("var") of an open dataset, or None where there are none yet.

        Reading them may raise CopyDamaged; the caller then reads the CXG and calls `replace`.
        """
        return self._open(DecodedMatrix, dataset, axis)  # type: ignore[no-any-return]

    def obs_column(self, dataset: Dataset, name: str) -> ColumnValues:
        """Return the values of one column of `obs`, from the copy where there is one; raises as `Annotations.read`."""
        stored = self._load(dataset, lambda copy: copy.column(dataset, name))
        values: ColumnValues = dataset.obs.read(name) if stored is None else dataset.obs.decode(name, stored)
        return values

    def embedding(self, dataset: Dataset, name: str) -> NDArray[np.float32]:
        """Return one embedding, from the copy where there is one; as `Dataset.read_embedding`."""
        stored = self._load(dataset, lambda copy: copy.embedding(dataset, name))
        return dataset.read_embedding(name) if stored is None else stored

    def labels(self, dataset: Dataset) -> CheckedLabels | None:
        """Return the sums over the cells of each label of an open dataset, once their labels were compared with obs."""
        stored = self._stored_labels(dataset)
        if stored is not None:
            return stored
        copy: CopiedLabelSums | None = self._open(CopiedLabelSums, dataset, _LABELS)
        if copy is None:
            return None
        on_damage = partial(self.replace, dataset, _LABELS, copy.stamp)
        make = partial(open_copied_labels, copy, on_damage)
        try:
            return self._kept.find_or_make(dataset, (_LABELS, copy.stamp), make, _held_bytes)
        except CopyDamaged as damage:
            on_damage(damage)
            return None

    def _stored_labels(self, dataset: Dataset) -> CheckedLabels | None:
        """Those that the CXG itself has."""
        find = partial(find_stored_labels, dataset, partial(self.obs_column, dataset))
        return self._kept.find_or_make(dataset, _LABELS, find, _held_bytes)

    def drop_labels(self, dataset: Dataset) -> None:
        """Use the sums of labels of an open dataset no more; they cannot be read."""
        self._kept.drop(dataset, _LABELS)
        self._kept.find_or_make(dataset, _LABELS, lambda: None, 0)

    def replace(self, dataset: Dataset, what: str, stamp: Stamp, damage: CopyDamaged) -> None:
        """Use a damaged copy of an open dataset no more, and have it made again.

        The second time, only when it would be asked for anyway: the disk itself may be at fault.

        Parameters
        ----------
        what : str
            "columns", "labels", "obs" or "var".
        stamp : Stamp
            Stamp of the copy that was read.
        """
        name = _folder_name(dataset, what)
        with self._lock:
            before = self._damaged.get(name)
            self._damaged[name] = stamp
            if before is None:
                self._asked.pop(dataset.identity, None)
        self._kept.drop(self, name)
        if before != stamp:
            log.warning("A decoded copy of %s (%s) is damaged and made again: %s.", dataset.name, what, damage)
        self.request(dataset)

    def request(self, dataset: Dataset) -> None:
        """Have a dataset decoded soon, unless it is or cannot be."""
        if self._cache is None:
            return
        with self._lock:
            if dataset.identity in self._asked:
                return
            self._asked[dataset.identity] = True
            self._wanted.append(dataset.name)
            if self._worker is None:
                self._worker = worker = object()
                self._pace.start(partial(self._work, worker))

    def make(self, name: str) -> None:
        """Decode a dataset now, as far as it is not.

        Raises
        ------
        CxgError, OSError, ValueError
            It cannot be leased or read; there is no place for a copy; it does not suit the decoding.
        """
        with self._catalog.lease(name) as dataset:
            self._make_one(dataset, "columns")
            if dataset.x_problem is None and self._stored_labels(dataset) is None:
                self._make_one(dataset, _LABELS)
            if dataset.sparse_expression() is not None:
                for axis in ("obs", "var"):
                    self._make_one(dataset, axis)

    def _work(self, worker: object) -> None:
        """Decode what is wanted until nothing is; stop early when the process ends."""
        try:
            while (name := self._next()) is not None:
                self._pace.pause(self._pace.delay_s)
                try:
                    self.make(name)
                except (CxgError, OSError, ValueError) as error:
                    self._tell(name, error)
        except ProcessEnds:
            pass
        finally:
            with self._lock:
                # After the last wish another one may have begun.
                if self._worker is worker:
                    self._worker = None

    def _tell(self, name: str, error: Exception) -> None:
        """Log why a dataset is not decoded, once for each kind of reason: it is tried again every few minutes."""
        reason = name, type(error), getattr(error, "errno", None)
        if reason not in self._told:
            self._told[reason] = True
            log.warning("%s is not decoded: %s", name, error)

    def _next(self) -> str | None:
        with self._lock:
            if self._wanted:
                return self._wanted.popleft()
            self._worker = None
            return None

    def _make_one(self, dataset: Dataset, what: str) -> None:
        if self._cache is None or self._is_made(target := self._cache.path / _folder_name(dataset, what)):
            return
        if not self._cache.is_ready():
            raise OSError(f"{self._cache.path} cannot be made, or belongs to somebody else")
        with self._cache.locked() as locked:
            if not locked:
                # Another process may be busy with another dataset: ask again.
                with self._lock:
                    self._asked.pop(dataset.identity, None)
            if not locked or self._is_made(target):
                return
            self._cache.discard(target)
            with self._cache.unfinished() as unfinished:
                copy = CopyWriter(unfinished)
                polite = partial(self._visits.politely, reading=self._reading)
                if write_copy(copy, dataset, what, polite, self._cache.budget_bytes):
                    copy.finish(target.name)
                    self._cache.make_room(folder_bytes(unfinished))
                    unfinished.rename(target)
                    sync_folder(self._cache.path)

    def _is_made(self, folder: Path) -> bool:
        """Whether there is a copy that is not known to be damaged."""
        is_there = folder.is_dir() and not folder.is_symlink()
        return is_there and self._damaged.get(folder.name) != manifest_stamp(folder)

    def _load(self, dataset: Dataset, load: Callable[[ColumnStore], NDArray[Any] | None]) -> NDArray[Any] | None:
        """What a copy of columns gives; None where there is none, or no sound one."""
        copy = self._open(ColumnStore, dataset, "columns")
        try:
            return None if copy is None else load(copy)
        except CopyDamaged as damage:
            self.replace(dataset, "columns", copy.stamp, damage)
        except OSError:  # too many open files
            pass
        return None

    def _open(self, kind: Any, dataset: Dataset, what: str) -> Any:
        """A copy of an open dataset, None where there is none that can be used."""
        if self._cache is None:
            return None
        name = _folder_name(dataset, what)
        folder = self._cache.path / name
        if name in self._damaged and manifest_stamp(folder) == self._damaged.get(name):
            return None
        self._touch(folder)
        try:
            copy = self._kept.find_or_make(self, name, partial(kind, folder, name), kind.held_bytes)
            if not copy.is_unchanged():
                self._kept.drop(self, name)
                copy = self._kept.find_or_make(self, name, partial(kind, folder, name), kind.held_bytes)
        except CopyDamaged as damage:
            self.replace(dataset, what, manifest_stamp(folder), damage)
        except OSError:  # it is not there, or there are too many open files
            pass
        else:
            return copy
        return None

    def _touch(self, folder: Path) -> None:
        """Note that a copy is used, and let go of those that were removed, whose open files take disk; at times."""
        now = self._pace.clock()
        with self._lock:
            if now - self._touched_s.get(folder.name, float("-inf")) < self._pace.touch_s:
                return
            self._touched_s[folder.name] = now
        with contextlib.suppress(OSError):
            os.utime(folder, follow_symlinks=False)
        for name in self._kept.owned(self):
            if not (folder.parent / str(name)).exists():
                self._kept.drop(self, name)


def _folder_name(dataset: Dataset, what: str) -> str:
    return f"{dataset.identity}-{what}"


def _held_bytes(labels: CheckedLabels | None) -> int:
    return 0 if labels is None else labels.nbytes
