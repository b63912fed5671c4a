"""Every key of a description: its kind, its meaning, an example."""

from __future__ import annotations

from dataclasses import dataclass

from cxg.descriptions.kinds import (
    Audience,
    Doi,
    Download,
    Kind,
    Line,
    Lines,
    Moment,
    Number,
    Prose,
    Switch,
    View,
    check_collection,
    check_date,
    check_file,
)
from cxg.descriptions.model import TEXT_MAX

_NAME_MAX = 100


@dataclass(frozen=True)
class Key:
    """One key.

    Attributes
    ----------
    kind : Kind
    doc : str
        Its meaning, one sentence or two.
    example : str
        A value as YAML; several lines when it ends in a line end.
    """

    kind: Kind
    doc: str
    example: str


def _names(what: str) -> Lines:
    return Lines(what, Line(most=_NAME_MAX))


KEYS: dict[str, Key] = {
    "title": Key(Line(most=200), "Title in the list, in the explorer and on the dataset's page.", "Human liver"),
    "text": Key(
        Prose(TEXT_MAX),
        "What the data is, in Markdown: paragraphs, lists, tables, links. HTML and images are not rendered.",
        "|\n  Cells of five donors, **without** red blood cells.\n",
    ),
    "authors": Key(Lines("a list of names"), "Those to name, one entry for each.", "[Ada Lovelace, Grace Hopper]"),
    "doi": Key(Doi(), "DOI of the publication or the data.", "10.1038/s41586-021-03570-8"),
    "date": Key(Line(check=check_date), "When it was published: a year, a month or a day.", "2026-11-30"),
    "citation": Key(
        Line(most=2000), "How to cite. Without it, authors, title, date and DOI are put together.", "Lovelace A. 2026."
    ),
    "license": Key(
        Line(most=1000), "Licence: its name, such as CC-BY-4.0, or a link. `licence` is read too.", "CC-BY-4.0"
    ),
    "contact": Key(Line(), "Whom to ask: an e-mail address, a link or a name.", "cells@example.org"),
    "organism": Key(_names("a list of organisms"), "Organisms. The list can be narrowed by them.", "Homo sapiens"),
    "tissue": Key(_names("a list of tissues"), "Tissues, likewise.", "[liver, bile duct]"),
    "assay": Key(_names("a list of assays"), "Assays, likewise.", "10x 3' v3"),
    "disease": Key(_names("a list of diseases"), "Diseases, likewise.", "normal"),
    "tags": Key(_names("a list of words"), "Any other words to narrow the list by.", "[atlas, teaching]"),
    "download": Key(
        Download(),
        "Where the data can be had: a link. Or none, and the reason.",
        "none, the donors did not agree",
    ),
    "view": Key(
        View(),
        'The view that the dataset opens with: what "Copy link" in the explorer gives, or its parameters as keys.',
        '"?gene=CD3D&color=louvain"',
    ),
    "gene_sets": Key(
        Line("a file name", check_file),
        "Gene sets: a file beside the dataset, .csv in the published client's form or .gmt. It wins over those in the "
        "CXG.",
        "liver_markers.csv",
    ),
    "order": Key(Number(), "Place in the list; the smallest comes first, datasets without one come last.", "10"),
    "hidden": Key(Switch(), "true leaves the dataset out of every list. It still opens at its address.", "false"),
    "collection": Key(
        Line(check=check_collection, most=_NAME_MAX),
        "Collection that the dataset belongs to; each has a list of its own below /c/.",
        "Liver atlas",
    ),
    "visible_to": Key(
        Audience(),
        "Who may see the dataset: everyone, signed-in, or a list of groups, e-mail addresses and user:NAME. To others "
        "it does not exist. Without it, access.visible_to of the configuration holds.",
        "[lab-a, ada@example.org]",
    ),
    "public_from": Key(
        Moment(),
        "Date, with its time zone, from which everyone may see the dataset. Before, those of visible_to may, and "
        "nobody where that is everyone.",
        "2026-12-01T09:00+01:00",
    ),
}

ACCESS_KEYS = frozenset({"visible_to", "public_from"})
"""Keys that decide who sees the dataset: a fault in one of them hides it from all."""

ALIASES = {"licence": "license"}
"""Other spellings of keys."""
