"""The summaries of all datasets, read in the background and kept.

Reading one summary opens a dataset, which on S3 takes a while. So a page never waits for
all of them: it shows the known summaries and names the other datasets. A request for the
page starts a new check of old summaries: it lists a dataset's files, and opens it only if
they changed. Reads and checks give way to visitors when there are many datasets.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from cxg.descriptions.beside import description_file
from cxg.errors import CxgError, DatasetNotFound, StorageUnavailable
from cxg.memory_bounds import MOST_LISTED
from cxg.redact import traceback_text
from cxg.web.start_page.listed import Describes, Leases, Listed, Silent, place_of
from cxg.web.start_page.summaries import DatasetSummary, summarize, unreadable

log = logging.getLogger(__name__)

RECHECK_S = 60.0
RETRY_S = 10.0
# A description on S3 has no time stamp in a listing, so that only reading it tells whether it changed.
REREAD_S = 20.0
# So many unread datasets at most are read without a pause while a page waits, and so many pages at most may wait.
FEW, MOST_WAITING = 50, 2
# Otherwise a thread rests this many times the processor time of its reading, and this many times the time of listing
# files: requests to S3 without a pause would take all its time, and cost money.
_READ_REST, _LIST_REST = 7.0, 19.0
_REST_MAX_S = 5.0
_SCAN_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class _Entry:
    """The last result for a dataset; no summary if it was gone, no fingerprint if it must be opened again.

    `described` is the version of the description that the summary was made with.
    """

    summary: DatasetSummary | None
    fingerprint: str | None
    due_s: float
    described: str = ""


Later = Callable[[float, Callable[[], None]], None]


def _later(pause_s: float, then: Callable[[], None]) -> None:
    # A daemon: it only hands out work, which a process that ends refuses anyway.
    timer = threading.Timer(pause_s, then)
    timer.daemon = True
    timer.start()


class Summaries:
    """The summaries of a catalog's datasets, shared by all requests of a process.

    Parameters
    ----------
    catalog : Leases
    threads : int
        How many datasets are read at the same time.
    clock : callable
        Seconds; replaced in tests.
    offered : sequence of str
        Names of embeddings that the configuration allows; empty allows all.
    later : callable
        Calls a function after some seconds; replaced in tests.
    descriptions : Describes, optional
        By default no dataset has one.
    """

    def __init__(
        self,
        catalog: Leases,
        threads: int = 4,
        clock: Callable[[], float] = time.monotonic,
        offered: Sequence[str] = (),
        later: Later = _later,
        descriptions: Describes | None = None,
    ) -> None:
        self._catalog, self._threads, self._clock, self._offered, self._later = catalog, threads, clock, offered, later
        self._descriptions = descriptions or Silent()
        self._files: Mapping[str, object] = {}
        self._changed = threading.Condition()
        self._names: Sequence[str] = ()
        self._left_out = 0
        self._entries: dict[str, _Entry] = {}
        self._unread: set[str] = set()
        self._first: deque[str] = deque()
        self._again: deque[str] = deque()
        self._busy: set[str] = set()
        self._slots = threads
        self._is_listing = False
        self._scanned_s = float("-inf")
        self._waiting = 0
        self._listed: Listed | None = None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def waiting(self) -> int:
        """Number of pages that wait for datasets being read."""
        return self._waiting

    def read(self, wait_s: float = 1.5) -> Listed:
        """Return the known summaries, and the names of the datasets not read yet.

        Waits up to `wait_s` for the missing ones if they are few. Summaries that are due for a check are returned as
        they are; a later call returns the new ones.

        Raises
        ------
        StorageUnavailable
            The names of the datasets cannot be listed.
        """
        names, files = self._catalog.names(), self._descriptions.files()
        with self._changed:
            if names is not self._names and names != self._names:
                self._take(names)
            self._names = names
            self._queue_due()
            if files is not self._files:
                self._queue_described(files)
            self._start()
            if 0 < len(self._unread) <= FEW and self._waiting < MOST_WAITING:
                self._waiting += 1
                try:
                    self._changed.wait_for(lambda: not self._unread, timeout=wait_s)
                finally:
                    self._waiting -= 1
            if self._listed is None:
                self._listed = self._list()
            return self._listed

    def _list(self) -> Listed:
        found = (entry.summary for entry in self._entries.values() if entry.summary is not None)
        known = sorted((summary for summary in found if summary.facts.is_listed), key=place_of)
        pending = sorted(name for name in self._unread if description_file(name) not in self._files)
        described = sorted(self._unread.difference(pending))
        return Listed(tuple(known), tuple(pending), self._left_out, tuple(described))

    def _take(self, names: Sequence[str]) -> None:
        listed = names[:MOST_LISTED]
        left_out, wanted = len(names) - len(listed), set(listed)
        gone = self._entries.keys() - wanted
        unread = wanted - self._entries.keys()
        if gone or unread != self._unread or left_out != self._left_out:
            self._listed = None
        for name in gone:
            del self._entries[name]
        self._unread, self._left_out = unread, left_out
        self._first = deque(name for name in listed if name in unread and name not in self._busy)

    def _queue_due(self) -> None:
        now = self._clock()
        if now < self._scanned_s + _SCAN_INTERVAL_S:
            return
        self._scanned_s = now
        queued = self._busy.union(self._again)
        self._again.extend(n for n, entry in self._entries.items() if entry.due_s < now and n not in queued)

    def _queue_described(self, files: Mapping[str, object]) -> None:
        """Have the datasets looked at first whose descriptions came, went or changed."""
        before, self._files = self._files, files
        changed = {name for name in before.keys() | files.keys() if before.get(name, "") != files.get(name, "")}
        if self._unread and changed:
            self._listed = None
        for name, entry in self._entries.items():
            if description_file(name) in changed:
                # One that is being read at this moment may have been read before the change.
                self._entries[name] = replace(entry, due_s=float("-inf"))
                if name not in self._busy:
                    with suppress(ValueError):
                        self._again.remove(name)
                    self._again.appendleft(name)

    def _start(self) -> None:
        """Hand out names, never more than there are threads.

        The process could not end before the pool had worked off a full queue. The pool is made here and not in
        `__init__`, which may run before the worker processes are forked.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="summaries")
        while self._slots and (self._first or (self._again and not self._is_listing)):
            is_first = bool(self._first)
            name = (self._first if is_first else self._again).popleft()
            if not is_first:
                if name not in self._entries:
                    continue  # it was removed, and may be back as a new dataset
                self._entries[name] = replace(self._entries[name], due_s=float("inf"))
            try:
                future = self._pool.submit(self._work, name)
            except RuntimeError:  # the process is ending
                self._first.clear()
                self._again.clear()
                return
            self._slots -= 1
            self._is_listing = self._is_listing or not is_first
            self._busy.add(name)
            future.add_done_callback(partial(_report, name))

    def _work(self, name: str) -> None:
        known = self._entries.get(name)
        began_s, used_s = time.perf_counter(), time.thread_time()
        entry = _Entry(unreadable(name, "Reading it failed; the server's log says why."), None, self._clock() + RETRY_S)
        try:
            entry = self._read(name, known)
        finally:
            with self._changed:
                self._keep(name, entry)
                is_crowded = len(self._first) > FEW
            if known is not None:
                pause_s = _LIST_REST * (time.perf_counter() - began_s)
            else:
                pause_s = _READ_REST * (time.thread_time() - used_s) if is_crowded else 0.0
            resume = partial(self._resume, was_listing=known is not None)
            self._later(min(pause_s, _REST_MAX_S), resume) if pause_s else resume()

    def _resume(self, *, was_listing: bool) -> None:
        with self._changed:
            self._slots += 1
            if was_listing:
                self._is_listing = False
            self._start()

    def _keep(self, name: str, entry: _Entry) -> None:
        self._busy.discard(name)
        before = self._entries.get(name)
        if name not in self._unread and before is None:
            return  # it was removed from the list meanwhile
        if name in self._unread or before is None or before.summary != entry.summary:
            self._listed = None
        if before is not None and before.due_s == float("-inf"):
            entry = replace(entry, due_s=before.due_s)  # its description changed meanwhile
        self._unread.discard(name)
        self._entries[name] = entry
        self._changed.notify_all()

    def _read(self, name: str, known: _Entry | None) -> _Entry:
        """Read a dataset's summary; open a known dataset only if its files or its description changed."""
        files, described = None, self._descriptions.of(name)
        try:
            if known is not None:
                files = self._catalog.list_files(name)
                if (files, described.version) == (known.fingerprint, known.described):
                    is_well = known.summary is not None and not known.summary.problem
                    return replace(known, due_s=self._clock() + (self._recheck_s(name) if is_well else RETRY_S))
            with self._catalog.lease(name) as dataset:
                summary = summarize(dataset, self._offered, described.description)
            # Another request may have it open in its old state.
            is_old = files is not None and files != dataset.fingerprint
            pause_s = RETRY_S if is_old or summary.problem else self._recheck_s(name)
            return _Entry(summary, dataset.fingerprint, self._clock() + pause_s, described.version)
        except DatasetNotFound:
            return _Entry(None, None, self._clock() + RETRY_S)
        except CxgError as error:
            # The files as listed before the dataset was opened, so that no change between the two is missed.
            seen = None if isinstance(error, StorageUnavailable) else files
            summary = unreadable(name, str(error), described.description)
            return _Entry(summary, seen, self._clock() + RETRY_S, described.version)

    def _recheck_s(self, name: str) -> float:
        is_unstamped = self._files.get(description_file(name), "") is None
        return REREAD_S if is_unstamped else RECHECK_S


def _report(name: str, future: Future[None]) -> None:
    error = future.exception()
    if error is not None:
        log.error("the summary of dataset %s failed\n%s", name, traceback_text(error))
