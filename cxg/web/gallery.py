"""The start page that lists the datasets, its pictures and files, and error pages for people.

The pages need no JavaScript, load nothing from elsewhere and link relatively, so they work
below any path prefix whether or not a proxy announces it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from flask import Blueprint, Response, current_app, redirect, request, send_from_directory
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from werkzeug.wrappers import Response as BaseResponse

from cxg import __version__
from cxg.compute.thumbnail import HEIGHT, WIDTH
from cxg.errors import DatasetNotFound
from cxg.web.headers import IMMUTABLE, NO_STORE
from cxg.web.pictures import Pictures
from cxg.web.summaries import DatasetSummary, Leases, Summaries

_HERE = Path(__file__).parent
_PAGES = "cxg_pages"
_WAIT_S = 1.5
_REFRESH_S = 3
_ASK_AGAIN = "public, max-age=0, must-revalidate"


@dataclass(frozen=True, slots=True)
class _Pages:
    """What the pages of one app have in common: whether there is a list to go back to, and their policy."""

    has_list: bool
    policy: str


def blueprint(
    catalog: Leases | None,
    base_url: str = "d",
    index: bool | str = True,
    links: Sequence[tuple[str, str]] = (),
    *,
    policy: str,
    offered: Sequence[str] = (),
) -> Blueprint:
    """Make the routes of the list page.

    Parameters
    ----------
    catalog : Leases or None
        None serves the files of the error pages alone, for a server of one dataset.
    base_url : str
        Path segment or segments before a dataset's name.
    index : bool or str
        What ``/`` answers: the list, 404, or a redirect to this URL.
    links : sequence of (text, URL)
        Shown at the foot of the list, for example terms of service.
    policy : str
        Content security policy of these pages, which have no inline script or style.
    offered : sequence of str
        Names of embeddings that the configuration allows; empty allows all.
    """
    routes = Blueprint("gallery", __name__)
    has_list = catalog is not None and index is True
    routes.record(lambda state: state.app.extensions.update({_PAGES: _Pages(has_list, policy)}))

    @routes.get("/static/gallery/<path:file>")
    def gallery_file(file: str) -> Response:
        answer = send_from_directory(_HERE / "static" / "gallery", file)
        answer.headers["Cache-Control"] = "public, max-age=3600"
        return answer

    @routes.get("/favicon.ico")
    def favicon() -> Response:
        # The web client's page names no icon, so browsers ask for this and put a 404 on the console.
        return gallery_file("icon.svg")

    if catalog is None:
        return routes
    summaries, pictures = Summaries(catalog, offered=offered), Pictures()

    @routes.get("/")
    def start_page() -> BaseResponse:
        if isinstance(index, str):
            return redirect(index)
        if not index:
            return error_page(404, "Nothing here", "Ask for a dataset by its full address.")
        known, pending = summaries.read(_WAIT_S)
        return html_page(200, list_page(known, pending, request.args.get("q", ""), base_url, links))

    @routes.get(f"/{base_url.strip('/')}/<dataset>/thumbnail.png")
    def thumbnail_png(dataset: str) -> Response:
        asked = request.args.get("v", "")
        png = pictures.kept(dataset, asked)
        if png is not None:
            return _png(png, asked, IMMUTABLE)
        with catalog.lease(dataset) as opened:
            png, version = pictures.draw(opened), opened.fingerprint
        if png is None:
            raise DatasetNotFound(f"{dataset} has no embedding to draw.")
        return _png(png, version, IMMUTABLE if asked == version else _ASK_AGAIN)

    return routes


def list_page(
    known: Sequence[DatasetSummary],
    pending: Sequence[str],
    query: str = "",
    base_url: str = "d",
    links: Sequence[tuple[str, str]] = (),
) -> str:
    """Render the list of datasets as HTML.

    Those that do not match `query` are in the page but hidden: the script shows them again when the text changes.
    """
    words = query.casefold().split()
    cards = [_card(summary, words, base_url.strip("/")) for summary in known]
    return _render(
        "datasets.html",
        root="./",
        cards=cards,
        pending=pending,
        query=query,
        shown=sum(card["shown"] for card in cards),
        links=links,
        refresh_s=_REFRESH_S,
        picture_size=(WIDTH // 2, HEIGHT // 2),
    )


def error_page(status: int, title: str, sentence: str) -> Response:
    """Answer the current request with a page that says what is wrong, and leads to the list where there is one.

    Parameters
    ----------
    status : int
    title : str
        A few words.
    sentence : str
        What happened, and what to do.
    """
    home = _pages().has_list
    root = relative_root(_raw_path())
    return html_page(status, _render("error.html", root=root, title=title, sentence=sentence, home=home))


def html_page(status: int, text: str) -> Response:
    """Answer with one of these pages; it is never stored."""
    # A title may hold half a surrogate pair, which UTF-8 cannot.
    answer = Response(text.encode("utf-8", "replace"), status, mimetype="text/html")
    answer.headers["Cache-Control"] = NO_STORE
    answer.headers["Content-Security-Policy"] = _pages().policy
    return answer


def relative_root(path: str) -> str:
    """Give the way from a page's path back to the site's start: ``/d/x.cxg/`` -> ``../../``."""
    return "../" * (path.count("/") - 1) or "./"


def _pages() -> _Pages:
    pages: _Pages = current_app.extensions[_PAGES]
    return pages


def _raw_path() -> str:
    """Path of the current request as sent: an encoded slash is no step for a browser."""
    raw = str(request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "")
    return raw.partition("?")[0] if raw.startswith("/") else request.path


def _card(summary: DatasetSummary, words: Sequence[str], base_url: str) -> dict[str, Any]:
    searched = f"{summary.title} {summary.name}".casefold()
    return {
        "summary": summary,
        "href": f"{base_url}/{quote(summary.name, safe='')}/",
        "searched": searched,
        "shown": all(word in searched for word in words),
    }


def _png(png: bytes, version: str, caching: str) -> Response:
    answer = Response(png, mimetype="image/png")
    answer.headers["Cache-Control"] = caching
    answer.set_etag(version)
    answer.make_conditional(request)
    return answer


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(template: str, **values: Any) -> str:
    return _templates().get_template(template).render(product=f"cellxgene-eb {__version__}", **values)
