"""The datasets of a dataroot, open and shared between requests.

A request leases a dataset for as long as it reads::

    with catalog.lease("pbmc3k.cxg") as dataset:
        dataset.read_embedding("umap")

Leases are counted. At most `max_datasets` stay open; the least recently used one is
retired first, and closed when its last lease ends. Opening, checking and failing are
per dataset: none of them makes a request for another dataset wait.

A dataset's files are listed again at short intervals. When their identity has
changed, the dataset was replaced: new leases get the new one, running ones finish on
the old. When the storage is slow to list them, visitors go on with what is open.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress

from cachetools import TTLCache

from cxg.datasets.opening import USUAL_TIMES, Entry, Look, Opener, Root, Times
from cxg.errors import CxgError, DatasetError, DatasetInvalid, DatasetNotFound, StorageUnavailable
from cxg.format.dataset import Dataset
from cxg.storage.listing import is_s3
from cxg.storage.storage import Storage
from cxg.timeouts.calls import about, timed_calls
from cxg.timeouts.keyed_locks import KeyedLocks

_MAX_FAILURES = 512
_CHECK_THREADS = 4
# Uses of a TileDB context that opening a dataset takes, rounded up: one for each array, and some reads.
_USES_TO_OPEN = 32


class Catalog:
    """Open datasets of one root, bounded and counted; safe to share between threads, not between processes.

    Parameters
    ----------
    max_datasets : open at a time, beside those that are leased
    timelimit_s : what was not used for so long is closed
    times : how often it looks for changes
    looks : runs what takes long in the background; by default threads of its own
    """

    def __init__(
        self,
        storage: Storage,
        root: Root,
        max_datasets: int,
        timelimit_s: float | None = None,
        times: Times = USUAL_TIMES,
        looks: Executor | None = None,
    ) -> None:
        self.root = root
        self.storage = storage
        self._times, self._clock = times, times.clock
        self._opener = Opener(storage, root, times.clock)
        self._max_datasets = max(1, max_datasets)
        self._timelimit_s = timelimit_s
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._name_locks = KeyedLocks()
        self._failures: TTLCache[str, tuple[type[CxgError], str]] = TTLCache(
            _MAX_FAILURES, times.failure_s, times.clock
        )
        self._names_lock = threading.Lock()
        self._names: tuple[float, tuple[str, ...]] | None = None
        self._looks = looks or ThreadPoolExecutor(_CHECK_THREADS, thread_name_prefix="recheck")
        storage.contexts.on_replaced(self._renew_all)

    def names(self) -> tuple[str, ...]:
        """Names of all datasets, no older than `Times.names_s`.

        Raises
        ------
        StorageUnavailable
            The dataroot cannot be listed.
        """
        known = self._names
        if known is not None and self._clock() - known[0] < self._times.names_s:
            return known[1]
        with timed_calls.hold(self._names_lock, self.root.uri):
            if self._names is None or self._clock() - self._names[0] >= self._times.names_s:
                self._names = (self._clock(), self.root.names())
            return self._names[1]

    @contextmanager
    def lease(self, name: str, *, wait: bool = False) -> Iterator[Dataset]:
        """Lease the dataset called `name`, opening it if need be.

        Parameters
        ----------
        wait : while another thread looks whether the files changed, wait for what it finds
            instead of taking what is open

        Raises
        ------
        DatasetNotFound, DatasetInvalid
            It is not there, or cannot be served.
        StorageUnavailable
            The store did not answer, and the dataset was not open yet.
        """
        with about(self._opener.about(name)):
            entry = self._acquire(name, wait=wait)
            try:
                yield entry.dataset
            except DatasetInvalid:
                # Files that went away with the whole dataroot do not mean damage.
                with suppress(DatasetNotFound):
                    self.root.dataset_uri(name)
                raise
            finally:
                self._release(entry)

    def fresh_identity(self, name: str) -> str | None:
        """Identity of an open dataset that was checked a moment ago, else None; no I/O."""
        entry = self._entries.get(name)
        if entry is None or not entry.is_fresh():
            return None
        entry.used_s = self._clock()
        return entry.dataset.identity

    def recheck(self, name: str, older_than_s: float = 0.0) -> None:
        """Have the dataset's files listed again before its next lease, unless they were listed `older_than_s` ago."""
        entry = self._entries.get(name)
        if entry is not None and self._clock() - entry.checked_s >= older_than_s:
            entry.checked_s = float("-inf")

    def list_files(self, name: str) -> str:
        """List a dataset's files and return their fingerprint; opens nothing.

        Raises
        ------
        DatasetNotFound, StorageUnavailable
            It is not there, or the store did not answer.
        """
        _, uri, listing = self._opener.look(name, "")
        # On a file system an empty folder is there, and damaged.
        if not listing.entries and is_s3(uri):
            raise DatasetNotFound(f"There is no dataset called {name} here.")
        return listing.fingerprint

    def prefetch(self, dataset: Dataset) -> None:
        """In the background, fetch from S3 what a visitor will ask of a leased dataset first; returns at once."""
        if dataset.claim_prefetch():
            # No daemon: those are torn out of TileDB when the process ends, which aborts it.
            threading.Thread(target=self._prefetch, args=(dataset.name,), name="prefetch").start()

    def _prefetch(self, name: str) -> None:
        # Whatever is wrong, those who ask for it are told.
        with suppress(CxgError), self.lease(name) as dataset:
            dataset.prefetch()

    def close(self) -> None:
        """Close every dataset that is not leased, and the others as their leases end."""
        with self._lock:
            entries, self._entries = list(self._entries.values()), OrderedDict()
        for entry in entries:
            self._retire(entry)

    def _acquire(self, name: str, *, wait: bool) -> Entry:
        holder = self._name_locks.of(name)
        entry = self._count(name)
        if entry is not None:
            if entry.is_fresh():
                return entry
            # One thread looks whether the files changed; the others go on with what is open.
            if not holder.lock.acquire(blocking=False):
                if not wait:
                    return entry
                try:
                    timed_calls.acquire(holder.lock, self.root.uri)
                except StorageUnavailable:
                    return entry
            # Whoever held the lock before may have replaced it.
            self._release(entry)
        else:
            self._raise_recent_failure(name)
            timed_calls.acquire(holder.lock, self.root.uri)
        try:
            entry = self._count(name)
            if entry is None:
                self._raise_recent_failure(name)
                return self._open(name)
            return entry if entry.is_fresh() else self._recheck(name, entry, wait=wait)
        finally:
            holder.lock.release()

    def _count(self, name: str, *, is_use: bool = True) -> Entry | None:
        with self._lock:
            entry = self._entries.get(name)
            if entry is not None:
                entry.leases += 1
                if is_use:
                    self._entries.move_to_end(name)
                    entry.used_s = self._clock()
            return entry

    def _entry(self, dataset: Dataset, cost_s: float) -> Entry:
        return Entry(dataset, self._times.interval_s(dataset.uri, cost_s), self._clock)

    def _open(self, name: str) -> Entry:
        try:
            dataset, cost_s = self._opener.open(name)
        except CxgError as error:
            # Only its kind and sentence: a traceback would keep alive the request that met it first.
            with self._lock:
                self._failures[name] = type(error), str(error)
            raise
        entry = self._entry(dataset, cost_s)
        entry.leases = 1
        with self._lock:
            self._entries[name] = entry
            retired = self._surplus()
        for old in retired:
            self._retire(old)
        return entry

    def _recheck(self, name: str, entry: Entry, *, wait: bool) -> Entry:
        """List the files again; the same entry when nothing changed, else a newly opened one."""
        try:
            known = entry.dataset.fingerprint
            began_s, uri, listing = self._opener.look(name, known) if wait else self._look_for_a_moment(name, entry)
        except (StorageUnavailable, TimeoutError):
            # What is open stays usable; ask again after the usual interval.
            entry.checked_s = self._clock()
            return entry
        except DatasetError:
            self._drop(name, entry)
            raise
        # A link may lead to an equal copy elsewhere, so that the files that are open may soon be gone.
        if self.storage.identity(uri, listing) == entry.dataset.identity:
            entry.checked_s = began_s
            return entry
        self._drop(name, entry)
        return self._open(name)

    def _look_for_a_moment(self, name: str, entry: Entry) -> Look:
        """What `Opener.look` finds; TimeoutError while it takes too long, and it goes on in the background."""
        if entry.look is None:
            entry.look = self._looks.submit(self._opener.look, name, entry.dataset.fingerprint)
        entry.look.exception(self._times.check_wait_s)  # waits
        # What took too long for one visitor is there for the next.
        look, entry.look = entry.look, None
        return look.result()

    def _renew_all(self) -> None:
        """In the background, open what is open anew, so that the TileDB contexts it was opened with can end."""
        with self._lock:
            names = list(self._entries)
        # Otherwise many open datasets would wear the new contexts out while they are opened anew, again and again.
        self.storage.contexts.allow(_USES_TO_OPEN * len(names))
        for name in names:
            # RuntimeError: the process is ending.
            with suppress(RuntimeError):
                self._looks.submit(self._renew, name)

    def _renew(self, name: str) -> None:
        """Open a dataset anew, while visitors go on with what is open; one that nobody reads is closed."""
        holder = self._name_locks.of(name)
        with holder.lock:
            old = self._count(name, is_use=False)
            if old is None:
                return
            generation = self.storage.contexts.generation
            if old.dataset.generation == generation:
                self._release(old)
            elif self._clock() - old.used_s > self._times.renew_used_s:
                self._drop(name, old)
            else:
                try:
                    # Whatever is wrong, those who ask for it are told; what is open stays.
                    with suppress(CxgError):
                        self._replace(name, old)
                finally:
                    self._release(old)

    def _replace(self, name: str, old: Entry) -> None:
        dataset, cost_s = self._opener.open(name)
        dataset.follow(old.dataset)
        entry = self._entry(dataset, cost_s)
        entry.used_s = old.used_s
        with self._lock:
            is_current = self._entries.get(name) is old
            if is_current:
                self._entries[name] = entry
        self._retire(old if is_current else entry)

    def _drop(self, name: str, entry: Entry) -> None:
        with self._lock:
            if self._entries.get(name) is entry:
                del self._entries[name]
        self._retire(entry)
        self._release(entry)

    def _surplus(self) -> list[Entry]:
        """Take out what is over the limit or idle too long; the caller holds the lock and retires them."""
        names = list(self._entries)
        over = names[: max(0, len(names) - self._max_datasets)]
        if self._timelimit_s:
            oldest = self._clock() - self._timelimit_s
            over += [name for name in names[len(over) : -1] if self._entries[name].used_s < oldest]
        return [self._entries.pop(name) for name in over]

    def _retire(self, entry: Entry) -> None:
        with self._lock:
            entry.retired = True
            idle = entry.leases == 0
        if idle:
            entry.dataset.close()

    def _release(self, entry: Entry) -> None:
        with self._lock:
            entry.leases -= 1
            last = entry.retired and entry.leases == 0
        if last:
            entry.dataset.close()

    def _raise_recent_failure(self, name: str) -> None:
        with self._lock:
            failure = self._failures.get(name)
        if failure is not None:
            raise failure[0](failure[1])
