"""The route of a dataset's own page, `/d/<dataset>/about`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request

from cxg import __version__
from cxg.compute.thumbnail import HEIGHT, WIDTH
from cxg.config import Site
from cxg.descriptions.model import UNDESCRIBED
from cxg.descriptions.store import Descriptions
from cxg.format.dataset import Dataset
from cxg.memory_bounds import ABOUT_PAGES_BYTES
from cxg.web.answers.cache import Answer, AnswerCache, negotiate
from cxg.web.services import respond
from cxg.web.start_page.about import about
from cxg.web.start_page.listed import Leases
from cxg.web.start_page.page import COLLECTIONS, render

_HTML = "text/html; charset=utf-8"
_UP = "../../"


@dataclass(frozen=True, slots=True)
class Setting:
    """What the pages of all datasets share.

    Attributes
    ----------
    base_url : str
        Path before a dataset's name.
    site : Site
    links : sequence of (text, URL)
        Shown at the foot.
    policy : str
        Content security policy.
    offered : sequence of str
        Names of embeddings that the configuration allows; empty allows all.
    caching : str
        Cache-Control.
    has_list : bool
        Whether there is a list to link to.
    """

    base_url: str
    site: Site
    links: Sequence[tuple[str, str]]
    policy: str
    offered: Sequence[str]
    caching: str
    has_list: bool


def add_route(routes: Blueprint, catalog: Leases, setting: Setting, descriptions: Descriptions | None) -> None:
    """Add the route; a page is rendered once for each version of a dataset and of its description."""
    kept = AnswerCache(ABOUT_PAGES_BYTES, f"{__version__}\0{setting!r}", setting.caching)
    root = _UP + "../" * setting.base_url.count("/")

    @routes.get(f"/{setting.base_url}/<dataset>/about")
    def about_page(dataset: str) -> Response:
        encoding = negotiate(request.headers.get("Accept-Encoding", ""))
        with catalog.lease(dataset) as opened:
            described = UNDESCRIBED if descriptions is None else descriptions.of(dataset)

            def make() -> Answer:
                values = about(
                    opened,
                    described.description,
                    _gene_sets(opened, descriptions),
                    setting.base_url,
                    setting.site,
                    setting.offered,
                )
                text = render(
                    "about.html",
                    it=values,
                    root=root,
                    home=setting.site.title or "Datasets",
                    has_list=setting.has_list,
                    collection_path=COLLECTIONS,
                    links=setting.links,
                    picture_size=(WIDTH // 2, HEIGHT // 2),
                )
                return Answer(text.encode("utf-8", "replace"), _HTML)

            key = (opened.fingerprint, f"{dataset}/about", described.version, encoding)
            answer = respond(kept.find_or_make(key, make))
        answer.headers["Content-Security-Policy"] = setting.policy
        return answer


def _gene_sets(opened: Dataset, descriptions: Descriptions | None) -> list[dict[str, Any]]:
    if opened.x_problem is not None:
        return []
    sets = None if descriptions is None else descriptions.gene_sets(opened.name)
    return opened.genesets if sets is None else sets
