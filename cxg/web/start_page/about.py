"""The page of one dataset: what people and machines are told of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import quote

from cxg.config import Site
from cxg.descriptions.markdown import to_excerpt, to_html, to_text
from cxg.descriptions.model import Description
from cxg.descriptions.portal import from_dataset
from cxg.format.columns import Column
from cxg.format.dataset import Dataset
from cxg.links import link_problem
from cxg.web.start_page.structured import citation_tags, license_link, preview_tags, structured_data
from cxg.web.start_page.summaries import DatasetSummary, summarize
from cxg.web.start_page.texts import shorten

_COLUMNS_MAX, _LABELS_MAX, _SETS_MAX = 60, 25, 40
_NAME_MAX, _LINE_MAX, _SUMMARY_MAX, _PLAIN_MAX = 120, 2000, 300, 5000
_MAIL = re.compile(r"[^\s<>\"'?&:/]+@[^\s<>\"'?&:/]+\.[^\s<>\"'?&:/]+")
_KINDS = (("Organism", "organism"), ("Tissue", "tissue"), ("Assay", "assay"), ("Disease", "disease"), ("Tags", "tags"))
_TYPES = {"float32": "a number", "int32": "a whole number", "boolean": "true or false", "string": "a text"}


@dataclass(frozen=True, slots=True)
class Row:
    """A column with its labels, or a gene set with its genes; `left_out` more are not shown."""

    name: str
    labels: tuple[str, ...]
    left_out: int = 0
    kind: str = ""


@dataclass(frozen=True, slots=True)
class About:
    """The values of the page, each ready to be shown; `text` is HTML and `structured` JSON, the rest is text."""

    title: str
    summary: str
    text: str
    authors: tuple[str, ...]
    n_obs: int
    n_var: int
    kinds: tuple[tuple[str, tuple[str, ...]], ...]
    embeddings: tuple[str, ...]
    date: str | None
    doi: str | None
    doi_link: str | None
    license: str | None
    license_link: str | None
    contact: str | None
    contact_link: str | None
    more_link: str | None
    download: str | None
    no_download: str | None
    citation: str | None
    collection: str | None
    columns: tuple[Row, ...]
    more_columns: int
    gene_sets: tuple[Row, ...]
    more_gene_sets: int
    picture_alt: str | None
    version: str
    problem: str | None
    note: str | None
    is_hidden: bool
    address: str | None
    structured: str
    citation_tags: tuple[tuple[str, str], ...]
    card_tags: tuple[tuple[str, str], ...]


def about(
    dataset: Dataset,
    description: Description,
    gene_sets: Sequence[dict[str, Any]],
    base_url: str,
    site: Site,
    offered: Sequence[str] = (),
) -> About:
    """Collect what the page of an open dataset says; reads no values.

    Parameters
    ----------
    dataset : Dataset
    description : Description
        What the file beside it says.
    gene_sets : sequence of gene sets
        As the web client gets them.
    base_url : str
        Path before a dataset's name.
    site : Site
    offered : sequence of str
        Names of embeddings that the configuration allows; empty allows all.
    """
    whole = _tidy(description.over(from_dataset(dataset)))
    listed = summarize(dataset, offered, description)
    address = f"{site.url}{base_url}/{quote(dataset.name, safe='')}/" if site.url else None
    plain = to_text(whole.text, _PLAIN_MAX)
    short = shorten(to_excerpt(whole.text, _SUMMARY_MAX), _SUMMARY_MAX) or _sizes(listed)
    columns = [_column(column) for column in dataset.obs.columns if column.name != dataset.obs.index]
    return About(
        title=listed.title,
        summary=short,
        text=to_html(whole.text) if whole.text else "",
        authors=whole.authors,
        n_obs=dataset.n_obs,
        n_var=dataset.n_var,
        kinds=tuple((label, getattr(whole, key)) for label, key in _KINDS if getattr(whole, key)),
        embeddings=_names(dataset.embeddings[:_LABELS_MAX]),
        date=whole.date,
        doi=whole.doi,
        doi_link=None if whole.doi is None else f"https://doi.org/{quote(whole.doi, safe='/')}",
        license=whole.license,
        license_link=license_link(whole.license),
        contact=whole.contact,
        contact_link=_contact_link(whole.contact),
        more_link=dataset.about,
        download=whole.download,
        no_download=whole.no_download,
        citation=cite(listed.title, whole),
        collection=whole.collection,
        columns=tuple(columns[:_COLUMNS_MAX]),
        more_columns=len(columns[_COLUMNS_MAX:]),
        gene_sets=tuple(_gene_set(one) for one in gene_sets[:_SETS_MAX]),
        more_gene_sets=len(gene_sets[_SETS_MAX:]),
        picture_alt=_picture_alt(listed),
        version=listed.version,
        problem=listed.problem,
        note=listed.note,
        is_hidden=not description.is_listed,
        address=None if address is None else f"{address}about",
        structured=structured_data(listed, whole, plain or short, address),
        citation_tags=citation_tags(listed.title, whole, address),
        card_tags=preview_tags(listed, short, address),
    )


def cite(title: str, description: Description) -> str | None:
    """Return how to cite a dataset; None when nobody is named and there is no DOI."""
    if description.citation:
        return description.citation
    if not description.authors and not description.doi:
        return None
    year = f" ({description.date[:4]})" if description.date else ""
    names = "; ".join(description.authors)
    link = f" https://doi.org/{description.doi}" if description.doi else ""
    parts = f"{names}{year}. {title}." if names else f"{title}{year}."
    return parts + link


def _tidy(description: Description) -> Description:
    """Take the characters from its lines that garble a page."""
    tidied: dict[str, Any] = {}
    for one in fields(description):
        value = getattr(description, one.name)
        if one.name == "text":
            continue
        if isinstance(value, str):
            tidied[one.name] = shorten(value, _LINE_MAX)
        elif isinstance(value, tuple):
            tidied[one.name] = tuple(shorten(text, _NAME_MAX) for text in value)
    return replace(description, **tidied)


def _column(column: Column) -> Row:
    name = shorten(column.name, _NAME_MAX)
    labels = column.categories or ()
    if column.categories is None:
        return Row(name, (), kind=_TYPES.get(column.type, column.type))
    return Row(name, _names(tuple(str(label) for label in labels[:_LABELS_MAX])), len(labels[_LABELS_MAX:]), "no label")


def _gene_set(one: dict[str, Any]) -> Row:
    genes = [str(gene["gene_symbol"]) for gene in one["genes"][:_LABELS_MAX]]
    return Row(shorten(one["geneset_name"], _NAME_MAX), _names(tuple(genes)), len(one["genes"][_LABELS_MAX:]))


def _names(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(shorten(text, _NAME_MAX) for text in texts)


def _contact_link(contact: str | None) -> str | None:
    if contact is None:
        return None
    if _MAIL.fullmatch(contact):
        return f"mailto:{contact}"
    return contact if link_problem(contact) is None else None


def _picture_alt(listed: DatasetSummary) -> str | None:
    if listed.embedding is None:
        return None
    return f"Cells in {listed.embedding}" + (f", coloured by {listed.color_by}" if listed.color_by else "")


def _sizes(listed: DatasetSummary) -> str:
    return f"Single-cell dataset of {listed.n_obs:,} cells and {listed.n_var:,} genes."
