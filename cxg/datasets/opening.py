"""Find and open one dataset of a root; whatever may hang there is one call each with a time limit (`cxg.timeouts`)."""

from __future__ import annotations

import time
from concurrent.futures import Future
from functools import partial
from typing import Protocol

from cxg.errors import DatasetInvalid, StorageUnavailable
from cxg.format.dataset import Dataset, open_dataset
from cxg.storage.listing import Listing
from cxg.storage.storage import Storage
from cxg.timeouts.calls import about, stalls

_OPEN_TRIES = 3

Look = tuple[float, str, Listing]
"""When it began, where the dataset is, its files."""


class Root(Protocol):
    """Where names lead: `cxg.datasets.dataroot.Dataroot` or `cxg.datasets.dataroot.SingleDataset`."""

    uri: str

    def dataset_uri(self, name: str) -> str:
        """URI of a dataset; raises DatasetNotFound, or StorageUnavailable while the root is away."""

    def names(self) -> tuple[str, ...]:
        """Names of all datasets."""

    def check(self) -> None:
        """Raise StorageUnavailable when the root cannot be reached."""


class Entry:
    """An open dataset in a catalog, and what is known of its use. The catalog's lock guards the counts."""

    __slots__ = ("checked_s", "dataset", "interval_s", "leases", "look", "retired", "used_s")

    def __init__(self, dataset: Dataset, interval_s: float) -> None:
        self.dataset = dataset
        self.leases = 0
        self.retired = False
        self.interval_s = interval_s
        self.look: Future[Look] | None = None
        self.checked_s = self.used_s = time.monotonic()

    def is_fresh(self) -> bool:
        """Whether its files were listed a moment ago."""
        return time.monotonic() - self.checked_s <= self.interval_s


class Opener:
    """Opens the datasets of one root, and looks whether they changed."""

    def __init__(self, storage: Storage, root: Root) -> None:
        self._storage, self._root = storage, root

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
            return stalls.call(self._root.uri, open_now, opens=True, discard=lambda opened: opened[0].close())

    def look(self, name: str, known: str) -> Look:
        """List the files of a dataset whose fingerprint was `known`.

        Raises
        ------
        DatasetNotFound, StorageUnavailable
            It is not there; the store did not answer, or the root is away.
        """
        with about(self.about(name)):
            return stalls.call(self._root.uri, partial(self._look_now, name, known))

    def _look_now(self, name: str, known: str) -> Look:
        began_s, uri = time.monotonic(), self._root.dataset_uri(name)
        listing = self._storage.listing(uri)
        if listing.fingerprint != known:
            # If the root went away meanwhile, files are missing that have not changed.
            self._root.dataset_uri(name)
        return began_s, uri, listing

    def _open_now(self, name: str) -> tuple[Dataset, float]:
        for _ in range(_OPEN_TRIES):
            uri = self._root.dataset_uri(name)
            started = time.monotonic()
            listing = self._storage.listing(uri)
            identity = self._storage.identity(uri, listing)
            cost_s = time.monotonic() - started
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
