"""The state of the list of datasets, and what it is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from cxg.descriptions.model import UNDESCRIBED, Described
from cxg.format.dataset import Dataset
from cxg.web.start_page.summaries import DatasetSummary


class Leases(Protocol):
    """The needed part of a catalog: the names, one dataset at a time, and whether its files changed."""

    def names(self) -> Sequence[str]:
        """Return the names of all present datasets."""

    def lease(self, name: str) -> AbstractContextManager[Dataset]:
        """Open a dataset, or share it with others who have it open."""

    def list_files(self, name: str) -> str:
        """Return the fingerprint that the dataset would have if it were opened now."""


class Describes(Protocol):
    """The needed part of `cxg.descriptions.store.Descriptions`."""

    def files(self) -> Mapping[str, object]:
        """Return a stamp for each file beside the datasets; the same object while nothing changes."""

    def of(self, name: str) -> Described:
        """Return what is said of a dataset."""


class Silent:
    """No dataset has a description."""

    def files(self) -> Mapping[str, object]:
        """Return none."""
        return {}

    def of(self, _: str) -> Described:
        """Return that nothing is said."""
        return UNDESCRIBED


@dataclass(frozen=True, slots=True)
class Listed:
    """State of the list; the same object as long as nothing changes. Hidden datasets are not part of it.

    Attributes
    ----------
    known : tuple of DatasetSummary
        Sorted by their place in the list, then by title.
    pending : tuple of str
        Names of datasets that were not read yet.
    left_out : int
        Number of datasets beyond the most that are listed.
    described : tuple of str
        Names of datasets that were not read yet and have a description, which may say that they are hidden.
    """

    known: tuple[DatasetSummary, ...]
    pending: tuple[str, ...]
    left_out: int = 0
    described: tuple[str, ...] = ()

    @property
    def unnamed(self) -> int:
        """Number of datasets that were not read yet and that the page does not name."""
        return len(self.described)

    @property
    def is_complete(self) -> bool:
        """Whether every dataset was read."""
        return not self.pending and not self.unnamed


def place_of(summary: DatasetSummary) -> tuple[float, str, str]:
    """Return what the list is sorted by: the place that the description gives, then the title."""
    order = summary.facts.order
    return float("inf") if order is None else order, summary.title.casefold(), summary.name
