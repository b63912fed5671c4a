"""What a visitor asks of the list, and which datasets answer that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar
from urllib.parse import urlencode

from werkzeug.datastructures import MultiDict

from cxg.descriptions.model import FACETS
from cxg.web.start_page.summaries import DatasetSummary
from cxg.web.start_page.texts import shorten

SORTS = {"order": "Usual order", "title": "Title", "cells": "Most cells", "newest": "Newest"}
_QUERY_MAX, _VALUE_MAX, _VALUES_MAX = 200, 100, 20
# More values of a facet are not offered, though an address may name them.
_OFFERED_MAX = 40
_LABELS = {"organism": "Organism", "tissue": "Tissue", "assay": "Assay", "disease": "Disease", "tags": "Tag"}


@dataclass(frozen=True, slots=True)
class Query:
    """What a visitor asks of the list.

    Attributes
    ----------
    text : str
        Words that all must be found.
    facets : tuple of (name, values)
        Of each facet one of the values must be there.
    sort : str
        One of `SORTS`.
    collection : str or None
        Only datasets of this one; None takes all.
    """

    text: str = ""
    facets: tuple[tuple[str, tuple[str, ...]], ...] = ()
    sort: str = "order"
    collection: str | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether datasets may be left out."""
        return bool(self.text or self.facets)

    @property
    def key(self) -> str:
        """A text that is the same for the same question."""
        pairs = [("q", self.text), ("sort", self.sort), ("collection", self.collection or "")]
        pairs += [(name, value.casefold()) for name, values in self.facets for value in values]
        return urlencode(pairs, errors="replace")

    def wanted(self, facet: str) -> frozenset[str]:
        """Return the values of one facet that are asked for, in lower case."""
        return frozenset(value.casefold() for name, values in self.facets if name == facet for value in values)


def read_query(arguments: MultiDict[str, str], collection: str | None = None) -> Query:
    """Read the arguments of the list's address; what has no meaning there is passed over."""
    found = ((name, [shorten(one, _VALUE_MAX) for one in arguments.getlist(name)[:_VALUES_MAX]]) for name in FACETS)
    facets = ((name, tuple(sorted({value for value in values if value}))) for name, values in found)
    sort = arguments.get("sort", "")
    return Query(
        text=shorten(arguments.get("q", ""), _QUERY_MAX),
        facets=tuple((name, values) for name, values in facets if values),
        sort=sort if sort in SORTS else "order",
        collection=collection,
    )


class Searchable(Protocol):
    """An entry of the list, as the choice sees it."""

    @property
    def summary(self) -> DatasetSummary:
        """What is known of the dataset."""

    @property
    def searched(self) -> str:
        """Its texts in lower case, without the words of its facts."""


Entry = TypeVar("Entry", bound=Searchable)


@dataclass(frozen=True, slots=True)
class Option:
    """One value of a facet: how many datasets it would show, and whether it is asked for."""

    value: str
    count: int
    is_wanted: bool


@dataclass(frozen=True, slots=True)
class Facet:
    """A facet as the page offers it; `left_out` values are not offered."""

    name: str
    label: str
    options: tuple[Option, ...]
    left_out: int

    @property
    def is_used(self) -> bool:
        """Whether a value of it is asked for."""
        return any(option.is_wanted for option in self.options)


@dataclass(frozen=True, slots=True)
class Chosen(Generic[Entry]):
    """The entries that answer a query, in its order; `total` of them would answer one that leaves nothing out."""

    shown: tuple[Entry, ...]
    total: int
    facets: tuple[Facet, ...]


def choose(entries: Iterable[Entry], query: Query) -> Chosen[Entry]:
    """Find the entries that answer a query, and count what each value of each facet would show."""
    pool = [entry for entry in entries if in_collection(entry.summary, query.collection)]
    words = query.text.casefold().split()
    wanted = {facet: query.wanted(facet) for facet in FACETS}
    counts: dict[str, Counter[str]] = {facet: Counter() for facet in FACETS}
    totals: dict[str, Counter[str]] = {facet: Counter() for facet in FACETS}
    spellings: dict[tuple[str, str], str] = {}
    shown = []
    for entry in pool:
        values = {facet: {one.casefold(): one for one in texts} for facet, texts in entry.summary.facts.facets}
        said = entry.summary.facts.words
        has_words = all(word in entry.searched or word in said for word in words)
        missed = {facet for facet in FACETS if wanted[facet] and wanted[facet].isdisjoint(values.get(facet, ()))}
        for facet, texts in values.items():
            totals[facet].update(texts.keys())
            for key, text in texts.items():
                spellings.setdefault((facet, key), text)
            if has_words and missed <= {facet}:
                counts[facet].update(texts.keys())
        if has_words and not missed:
            shown.append(entry)
    facets = [_facet(facet, totals[facet], counts[facet], wanted[facet], spellings) for facet in FACETS]
    offered = tuple(facet for facet in facets if facet.options) if len(pool) > 1 else ()
    return Chosen(tuple(_sorted(shown, query.sort)), len(pool), offered)


def in_collection(summary: DatasetSummary, collection: str | None) -> bool:
    """Tell whether a dataset is in a collection, in any case of letters; all are in None."""
    own = summary.facts.collection
    return collection is None or (own is not None and own.casefold() == collection.casefold())


def _facet(
    name: str, totals: Counter[str], counts: Counter[str], wanted: frozenset[str], spellings: dict[tuple[str, str], str]
) -> Facet:
    keys = sorted(totals, key=lambda key: (-totals[key], key))
    offered = keys[:_OFFERED_MAX] + [key for key in keys[_OFFERED_MAX:] if key in wanted]
    options = tuple(Option(spellings[name, key], counts[key], key in wanted) for key in offered)
    return Facet(name, _LABELS[name], options, len(keys) - len(offered))


def _sorted(entries: Sequence[Entry], sort: str) -> list[Entry]:
    # Python's sort is stable: what is equal stays in the usual order.
    if sort == "title":
        return sorted(entries, key=lambda entry: entry.summary.title.casefold())
    if sort == "cells":
        return sorted(entries, key=lambda entry: -entry.summary.n_obs)
    if sort == "newest":
        return sorted(entries, key=lambda entry: entry.summary.facts.date or "", reverse=True)
    return list(entries)
