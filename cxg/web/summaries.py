"""What the list of datasets says about each one, read in the background and kept.

Reading one summary opens a dataset, which on S3 takes a while. So a page never waits for
all of them: it shows what is known and names the rest. A few threads read what is
missing, and read again what was looked at long ago.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from cxg.compute.thumbnail import choose_column
from cxg.errors import CxgError, DatasetNotFound
from cxg.format.dataset import Dataset
from cxg.redact import traceback_text

log = logging.getLogger(__name__)

RECHECK_S = 60.0
RETRY_S = 10.0
_FAVOURITES = ("umap", "tsne", "pca")  # what the web client shows first when the dataset has no wish of its own


class Leases(Protocol):
    """What is needed of a catalog: the names, and one dataset at a time."""

    def names(self) -> Sequence[str]:
        """Return the names of all datasets there are now."""

    def lease(self, name: str) -> AbstractContextManager[Dataset]:
        """Open a dataset, or share it with others who have it open."""


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """One entry of the list.

    Attributes
    ----------
    name : str
        As in the URL.
    title : str
    n_obs, n_var : int
        Cells and genes; 0 when the dataset cannot be opened.
    problem : str or None
        Why the dataset cannot be opened or shown, one sentence; its card leads nowhere.
    note : str or None
        What is missing although the dataset opens, one sentence.
    version : str
        Fingerprint of what was read; part of the picture's address, so that browsers may keep it.
    embedding : str or None
        What the picture shows; None when there is nothing to draw.
    color_by : str or None
        The categorical column that the picture is coloured by.
    """

    name: str
    title: str
    n_obs: int = 0
    n_var: int = 0
    problem: str | None = None
    note: str | None = None
    version: str = ""
    embedding: str | None = None
    color_by: str | None = None


def view_problem(dataset: Dataset, offered: Sequence[str] = ()) -> str | None:
    """Say in one sentence why the web client cannot show an open dataset; None when it can.

    Parameters
    ----------
    dataset : Dataset
    offered : sequence of str
        Names of embeddings that the configuration allows; empty allows all.
    """
    if dataset.view_problem is not None or not offered or set(offered) & set(dataset.embeddings):
        return dataset.view_problem
    wanted = ", ".join(offered)
    return f"It has none of the embeddings that embeddings.names in the configuration offers ({wanted})."


def summarize(dataset: Dataset, offered: Sequence[str] = ()) -> DatasetSummary:
    """Describe an open dataset; reads no values.

    Parameters
    ----------
    dataset : Dataset
    offered : sequence of str
        As in `view_problem`.
    """
    problem = view_problem(dataset, offered)
    return DatasetSummary(
        name=dataset.name,
        title=dataset.title,
        n_obs=dataset.n_obs,
        n_var=dataset.n_var,
        problem=problem,
        note=dataset.x_problem,
        version=dataset.fingerprint,
        embedding=shown_embedding(dataset) if problem is None else None,
        color_by=color_column(dataset),
    )


def shown_embedding(dataset: Dataset) -> str | None:
    """Name the embedding that the web client shows first; None when there is none."""
    wishes = (dataset.default_embedding, *_FAVOURITES, *dataset.embeddings[:1])
    return next((name for name in wishes if name in dataset.embeddings), None)


def color_column(dataset: Dataset) -> str | None:
    """Name the categorical column for the picture; None when none is fit for it."""
    columns = [(column.name, len(column.categories)) for column in dataset.obs.columns if column.categories]
    return choose_column(columns, coloured=dataset.colors)


@dataclass(frozen=True, slots=True)
class _Entry:
    summary: DatasetSummary
    fresh_until: float


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
    """

    def __init__(
        self,
        catalog: Leases,
        threads: int = 4,
        clock: Callable[[], float] = time.monotonic,
        offered: Sequence[str] = (),
    ) -> None:
        self._catalog, self._threads, self._clock, self._offered = catalog, threads, clock, offered
        self._changed = threading.Condition()
        self._entries: dict[str, _Entry] = {}
        self._waiting: deque[str] = deque()
        self._running: set[str] = set()
        self._pool: ThreadPoolExecutor | None = None

    def read(self, wait_s: float = 1.5) -> tuple[list[DatasetSummary], list[str]]:
        """Return what is known of every dataset, and the names of those not read yet.

        Waits up to `wait_s` for the missing ones. Summaries that are due to be read again are returned
        as they are; the next call sees the news.

        Raises
        ------
        StorageUnavailable
            The names of the datasets cannot be listed.
        """
        names = tuple(self._catalog.names())
        with self._changed:
            for gone in self._entries.keys() - set(names):
                del self._entries[gone]
            now, busy = self._clock(), self._busy()
            for name in names:
                entry = self._entries.get(name)
                if (entry is None or entry.fresh_until < now) and name not in busy:
                    self._waiting.append(name)
            self._start_reading()
            self._changed.wait_for(lambda: not self._unknown(names), timeout=wait_s)
            known = [self._entries[name].summary for name in names if name in self._entries]
            return sorted(known, key=lambda summary: summary.title.casefold()), sorted(self._unknown(names))

    def _busy(self) -> set[str]:
        return self._running.union(self._waiting)

    def _unknown(self, names: Sequence[str]) -> list[str]:
        busy = self._busy()
        return [name for name in names if name not in self._entries and name in busy]

    def _start_reading(self) -> None:
        """Hand out waiting names, never more than there are threads.

        A full queue inside the pool would have to be worked off before the process can end. The pool is made
        here and not in `__init__`, which may run before the worker processes are forked.
        """
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="summaries")
        while self._waiting and len(self._running) < self._threads:
            name = self._waiting.popleft()
            try:
                future = self._pool.submit(self._work, name)
            except RuntimeError:  # the process is ending
                self._waiting.clear()
                return
            self._running.add(name)
            future.add_done_callback(partial(_report, name))

    def _work(self, name: str) -> None:
        summary: DatasetSummary | None = _unreadable(name, "Reading it failed; the server's log says why.")
        try:
            summary = self._read_one(name)
        finally:
            with self._changed:
                self._running.discard(name)
                if summary is not None:
                    pause_s = RETRY_S if summary.problem else RECHECK_S
                    self._entries[name] = _Entry(summary, self._clock() + pause_s)
                self._start_reading()
                self._changed.notify_all()

    def _read_one(self, name: str) -> DatasetSummary | None:
        try:
            with self._catalog.lease(name) as dataset:
                return summarize(dataset, self._offered)
        except DatasetNotFound:
            return None
        except CxgError as error:
            return _unreadable(name, str(error))


def _report(name: str, future: Future[None]) -> None:
    error = future.exception()
    if error is not None:
        log.error("the summary of dataset %s failed\n%s", name, traceback_text(error))


def _unreadable(name: str, problem: str) -> DatasetSummary:
    return DatasetSummary(name, name.removesuffix(".cxg"), problem=problem)
