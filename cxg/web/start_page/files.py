"""The list of datasets for programs: `catalog.json`, `sitemap.xml` and `robots.txt`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any
from urllib.parse import quote

from cxg.config import Site
from cxg.descriptions.model import FACETS
from cxg.web.start_page.listed import Listed
from cxg.web.start_page.summaries import DatasetSummary

CATALOG_VERSION = 1
"""Changes when a field of the catalog is taken away or gets another meaning."""


def catalog_json(listed: Listed, base_url: str, site: Site) -> bytes:
    """Write all that the list knows; the addresses in it are relative to that of the catalog.

    Parameters
    ----------
    listed : Listed
    base_url : str
        Path before a dataset's name.
    site : Site
    """
    value = {
        "version": CATALOG_VERSION,
        "title": site.title or "Datasets",
        "url": site.url,
        # Datasets that were not read yet are not among the others.
        "complete": listed.is_complete and not listed.left_out,
        "datasets": [_entry(summary, base_url) for summary in listed.known],
    }
    return json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "replace")


def sitemap_xml(listed: Listed, base_url: str, root: str, others: Iterable[str]) -> bytes:
    """Write the addresses of the start page, of other lists and of each dataset's page (https://www.sitemaps.org).

    Parameters
    ----------
    root : str
        Public address of the start page, with its final slash.
    others : iterable of str
        Paths below it.
    """
    paths = ["", *others]
    paths += [f"{base_url}/{quote(summary.name, safe='')}/about" for summary in listed.known if not summary.problem]
    urls = "\n".join(f"<url><loc>{escape(root + path)}</loc></url>" for path in paths)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{urls}\n</urlset>\n'
    ).encode("utf-8", "replace")


def robots_txt(base_url: str, url: str | None, *, has_list: bool) -> str:
    """Write what crawlers are asked: to leave the data and narrowed lists alone, and where the sitemap is.

    Parameters
    ----------
    base_url : str
        Path before a dataset's name.
    url : str or None
        Public address of the start page.
    has_list : bool
        Whether the server lists its datasets.
    """
    lines = ["User-agent: *", f"Disallow: /{base_url}/*/api/", "Disallow: /*?"]
    if url is not None and has_list:
        lines.append(f"Sitemap: {url}sitemap.xml")
    return "\n".join(lines) + "\n"


def _entry(summary: DatasetSummary, base_url: str) -> dict[str, Any]:
    facts, page = summary.facts, f"{base_url}/{quote(summary.name, safe='')}/"
    has_picture = summary.embedding is not None
    return {
        "name": summary.name,
        "title": summary.title,
        "text": facts.excerpt or None,
        "explorer": None if summary.problem else page,
        "about": None if summary.problem else f"{page}about",
        "picture": f"{page}thumbnail.png?v={quote(summary.version, safe='')}" if has_picture else None,
        "cells": summary.n_obs,
        "genes": summary.n_var,
        **{facet: list(facts.values(facet)) for facet in FACETS},
        "authors": list(facts.authors),
        "doi": facts.doi,
        "date": facts.date,
        "license": facts.license,
        "contact": facts.contact,
        "download": facts.download,
        "no_download": facts.no_download,
        "collection": facts.collection,
        "order": facts.order,
        "problem": summary.problem or summary.note,
    }
