"""The parts of a description, and which of several wins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime

FACETS = ("organism", "tissue", "assay", "disease", "tags")
"""The parts that the list of datasets can be narrowed by, in the order of its page."""

TEXT_MAX, LINE_MAX, ENTRIES_MAX = 20_000, 300, 50
"""Characters of `text`, characters of every other value, entries of a list."""


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a dataset beside its data; every part may be missing.

    Attributes
    ----------
    title, date, license, contact, collection, citation : str or None
        One line each; `date` is a year, a month or a day, as in 2026-11-30.
    text : str
        Markdown.
    authors, organism, tissue, assay, disease, tags : tuple of str
    doi : str or None
        Without https://doi.org/ in front.
    download : str or None
        Link to a page or a file.
    no_download : str or None
        Why there is none; empty when no reason is given.
    view : mapping of str to tuple of str
        The view that a dataset opens with: the parameters of a link to a view, each with its values.
    gene_sets : str or None
        Name of a file beside the dataset.
    order : float or None
        Place in the list; the smallest comes first, datasets without one come last.
    hidden : bool
    visible_to : tuple of str or None
        As in `cxg.access.Rule`; None takes that of the site. Empty, so that nobody may, where the file is at fault.
    public_from : datetime or None
    """

    title: str | None = None
    text: str = ""
    authors: tuple[str, ...] = ()
    doi: str | None = None
    date: str | None = None
    citation: str | None = None
    license: str | None = None
    contact: str | None = None
    organism: tuple[str, ...] = ()
    tissue: tuple[str, ...] = ()
    assay: tuple[str, ...] = ()
    disease: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    download: str | None = None
    no_download: str | None = None
    view: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gene_sets: str | None = None
    order: float | None = None
    hidden: bool = False
    collection: str | None = None
    visible_to: tuple[str, ...] | None = None
    public_from: datetime | None = None

    @property
    def is_listed(self) -> bool:
        """Whether lists name the dataset; the one place that decides it. It is served at its address in any case."""
        return not self.hidden

    def over(self, other: Description) -> Description:
        """Fill the parts that are missing here from another description."""
        empty = Description()
        own = {one.name: getattr(self, one.name) for one in fields(self)}
        given = {name: value for name, value in own.items() if value != getattr(empty, name)}
        if {"download", "no_download"} & given.keys():
            given |= {"download": self.download, "no_download": self.no_download}
        rest = {one.name: getattr(other, one.name) for one in fields(other)}
        return Description(**{**rest, **given})


@dataclass(frozen=True, slots=True)
class Described:
    """A description as it was read.

    Attributes
    ----------
    description : Description
        Holds what is right in the file.
    problems : tuple of str
        One sentence for each fault, with file and line.
    version : str
        Changes with the files that were read; empty where there is no description.
    is_whole : bool
        False where the file cannot be read as a description, so that it is not known what it says.
    """

    description: Description
    problems: tuple[str, ...] = ()
    version: str = ""
    is_whole: bool = True


NOTHING_SAID = Description()
UNDESCRIBED = Described(NOTHING_SAID)
