"""Find and open one dataset of a root; whatever may hang there is one call each with a time limit (`cxg.timeouts`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from cxg.errors import DatasetInvalid, StorageUnavailable
from cxg.format.dataset import Dataset, open_dataset
from cxg.storage.listing import Listing, is_s3
from cxg.storage.storage import Storage
from cxg.timeouts.calls import about, timed_calls

_OPEN_TRIES = 3

Look = tuple[float, str, Listing]
"""When it began, where the dataset is, its files."""


class Root(Protocol):
    """Where names lead: `cxg.datasets.dataroot.Dataroot` or `cxg.datasets.dataroot.SingleRoot`."""

    uri: str

    def dataset_uri(self, name: str) -> str:
        """URI of a dataset; raises DatasetNotFound, or StorageUnavailable while the root is away."""

    def names(self) -> tuple[str, ...]:
        """Names of all datasets."""

    def check(self) -> None:
        """Raise StorageUnavailable when the root cannot be reached."""


@dataclass(frozen=True, slots=True)
class Times:
    """How often a catalog looks at what may have changed, in seconds, and the clock for that.

    Attributes
    ----------
    names_s : names of datasets are no older
    failure_s : why a dataset could not be opened is remembered for so long
    check_s, check_s3_s, most_check_s : least and most time between two listings of an open dataset
    check_share : listing a dataset may take at most about this share of the time
    check_wait_s : whoever comes first after that time waits so long for the listing
    describe_s : descriptions beside the datasets are looked at no more often
    renew_used_s : what was not used for so long is closed rather than opened anew when TileDB contexts are replaced
    """

    names_s: float = 10.0
    failure_s: float = 3.0
    check_s: float = 1.0
    check_s3_s: float = 5.0
    most_check_s: float = 30.0
    check_share: float = 0.02
    check_wait_s: float = 1.0
    describe_s: float = 10.0
    renew_used_s: float = 60.0
    clock: Callable[[], float] = time.monotonic

    def interval_s(self, uri: str, cost_s: float) -> float:
        """Time between two listings of the dataset at `uri`, one of which takes `cost_s`."""
        least = self.check_s3_s if is_s3(uri) else self.check_s
        return min(self.most_check_s, max(least, cost_s / self.check_share))


USUAL_TIMES = Times()


class Entry:
    """An open dataset in a catalog, and what is known of its use. The catalog's lock guards the counts."""

    __slots__ = ("checked_s", "clock", "dataset", "interval_s", "leases", "look", "retired", "used_s")

    def __init__(self, dataset: Dataset, interval_s: float, clock: Callable[[], float]) -> None:
        self.dataset = dataset
        self.leases = 0
        self.retired = False
        self.interval_s = interval_s
        self.look: Future[Look] | None = None
        self.clock = clock
        self.checked_s = self.used_s = clock()

    def is_fresh(self) -> bool:
        """Whether its files were listed a moment ago."""
        return self.clock() - self.checked_s <= self.interval_s


class Opener:
    """Opens the datasets of one root, and looks whether they changed."""

    def __init__(self, storage: Storage, root: Root, clock: Callable[[], float] = time.monotonic) -> None:
        self._storage, self._root, self._clock = storage, root, clock

    def about(self, name: str) -> str:
        """What a dataset is called where calls that hang are counted."""
        return f"{self._root.uri}/{name}"

    def open(self, name: str) -> tuple[Dataset, float]:
        """Open a dataset whose files stay the same meanwhile; also how long one listing of them takes, in seconds.

        A dataset that is replaced at this moment would be opened half old and half new.

        Raises
        ------
        DatasetNotFound, DatasetInvalid, StorageUnavailable
            As `Catalog.lease`.
        """
        open_now = partial(self._open_now, name)
        with about(self.about(name)):
            return timed_calls.call(self._root.uri, open_now, opens=True, discard=lambda opened: opened[0].close())

    def look(self, name: str, known: str) -> Look:
        """List the files of a dataset whose fingerprint was `known`.

        Raises
        ------
        DatasetNotFound, StorageUnavailable
            It is not there; the store did not answer, or the root is away.
        """
        with about(self.about(name)):
            return timed_calls.call(self._root.uri, partial(self._look_now, name, known))

    def _look_now(self, name: str, known: str) -> Look:
        began_s, uri = self._clock(), self._root.dataset_uri(name)
        listing = self._storage.listing(uri)
        if listing.fingerprint != known:
            # If the root went away meanwhile, files are missing that have not changed.
            self._root.dataset_uri(name)
        return began_s, uri, listing

    def _open_now(self, name: str) -> tuple[Dataset, float]:
        for _ in range(_OPEN_TRIES):
            uri = self._root.dataset_uri(name)
            started = self._clock()
            listing = self._storage.listing(uri)
            identity = self._storage.identity(uri, listing)
            cost_s = self._clock() - started
            if not listing.entries:
                self._root.dataset_uri(name)
            try:
                dataset = open_dataset(self._storage, uri, name, listing)
            except DatasetInvalid:
                if self._identity(uri) == identity:
                    raise
                continue
            unchanged = False
            try:
                unchanged = self._identity(uri) == identity
            finally:
                if not unchanged:
                    dataset.close()
            if unchanged:
                return dataset, cost_s
        raise StorageUnavailable("This dataset is being written or replaced; try again soon.")

    def _identity(self, uri: str) -> str:
        return self._storage.identity(uri, self._storage.listing(uri))
