"""The start page that lists the datasets, its pictures and files, and error pages for people.

The pages need no JavaScript, load nothing from elsewhere and link relatively, so they work
below any path prefix whether or not a proxy announces it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

from flask import Blueprint, Response, abort, current_app, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from cxg.config import Site
from cxg.descriptions.store import Descriptions
from cxg.errors import DatasetNotFound
from cxg.web.answers.cache import GZIP, Answer, AnswerCache, gzip_body, negotiate
from cxg.web.client import content_type
from cxg.web.headers import IMMUTABLE, NO_STORE, REVALIDATE
from cxg.web.services import respond
from cxg.web.start_page import dataset_page
from cxg.web.start_page.choose import read_query
from cxg.web.start_page.files import robots_txt
from cxg.web.start_page.listed import Leases, Listed
from cxg.web.start_page.page import COLLECTIONS, StartPage, render
from cxg.web.start_page.pictures import Pictures
from cxg.web.start_page.reader import Summaries
from cxg.web.start_page.summaries import picture_version
from cxg.web.start_page.texts import SENTENCE_MAX, shorten

_FILES = Path(__file__).parent / "static"
_FILES_BYTES = 256 << 10
_PAGES = "cxg_pages"
_WAIT_S = 1.5
_ASK_AGAIN = "public, max-age=0, must-revalidate"
_NO_SITE = Site()


@dataclass(frozen=True, slots=True)
class _Pages:
    """The settings that the pages of one app share: whether there is a list to link to, and their policy."""

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
    caching: str = REVALIDATE,
    site: Site = _NO_SITE,
    descriptions: Descriptions | None = None,
    narrow: Callable[[Listed], Listed] = lambda listed: listed,
) -> Blueprint:
    """Make the routes of the list, of each dataset's page, and of what programs read in their place.

    Parameters
    ----------
    catalog : Leases or None
        None serves only the files of the error pages, for a server of one dataset.
    base_url : str
        Path segment or segments before a dataset's name.
    index : bool or str
        Answer of ``/``: the list, 404, or a redirect to this URL.
    links : sequence of (text, URL)
        Shown at the foot of the list, for example terms of service.
    policy : str
        Content security policy of these pages, which have no inline script or style.
    offered : sequence of str
        Names of embeddings that the configuration allows; empty allows all.
    caching : str
        Cache-Control of the list.
    site : Site
        Title, text and logo of the list, and its public address.
    descriptions : Descriptions, optional
        By default no dataset has one.
    narrow : callable
        Leaves out of the list what the sender of the current request may not see.
    """
    routes = Blueprint("gallery", __name__)
    has_list = catalog is not None and index is True
    _add_files(routes)
    routes.record(lambda state: state.app.extensions.update({_PAGES: _Pages(has_list, policy)}))
    if catalog is None:
        return routes
    base_url = base_url.strip("/")
    page = StartPage(base_url, links, caching, site)
    summaries = Summaries(catalog, offered=offered, descriptions=descriptions)
    _add_pictures(routes, catalog, base_url)
    setting = dataset_page.Setting(base_url, site, tuple(links), policy, tuple(offered), caching, has_list)
    dataset_page.add_route(routes, catalog, setting, descriptions)
    if has_list:
        _add_list(routes, page, lambda: narrow(summaries.read(_WAIT_S)), policy, site)
    else:

        @routes.get("/")
        def start_page() -> BaseResponse:
            if isinstance(index, str):
                return redirect(index)
            return error_page(404, "Nothing here", "Ask for a dataset by its full address.")

    robots = robots_txt(base_url, site.url, has_list=has_list)

    @routes.get("/robots.txt")
    def crawlers() -> Response:
        answer = Response(robots, mimetype="text/plain")
        answer.headers["Cache-Control"] = "public, max-age=3600"
        return answer

    return routes


def _add_files(routes: Blueprint) -> None:
    files = {path.name: path.read_bytes() for path in _FILES.iterdir()}
    kept = AnswerCache(_FILES_BYTES, "", "public, max-age=3600")

    @routes.get("/static/gallery/<path:file>")
    def gallery_file(file: str) -> Response:
        content = files.get(file)
        if content is None:
            abort(404)
        encoding = negotiate(request.headers.get("Accept-Encoding", ""))
        key = blake2b(content, digest_size=16).hexdigest(), file, "", encoding
        return respond(kept.find_or_make(key, lambda: Answer(content, content_type(Path(file)))))

    @routes.get("/favicon.ico")
    def favicon() -> Response:
        # The web client's page names no icon, so browsers request this path and would log a 404 on the console.
        return gallery_file("icon.svg")


def _add_pictures(routes: Blueprint, catalog: Leases, base_url: str) -> None:
    pictures = Pictures()

    @routes.get(f"/{base_url}/<dataset>/thumbnail.png")
    def thumbnail_png(dataset: str) -> Response:
        asked = picture_version(request.args.get("v", ""))
        png = pictures.kept(dataset, asked)
        if png is not None:
            return _png(png, asked, IMMUTABLE)
        with catalog.lease(dataset) as opened:
            png, version = pictures.draw(opened), picture_version(opened.fingerprint)
        if png is None:
            raise DatasetNotFound(f"{dataset} has no embedding to draw.")
        return _png(png, version, IMMUTABLE if asked == version else _ASK_AGAIN)


def _add_list(routes: Blueprint, page: StartPage, read: Callable[[], Listed], policy: str, site: Site) -> None:
    def encoding() -> str:
        return negotiate(request.headers.get("Accept-Encoding", ""))

    @routes.get("/")
    def start_page() -> Response:
        answer = respond(page.answer(read(), read_query(request.args), encoding()))
        answer.headers["Content-Security-Policy"] = policy
        return answer

    @routes.get(f"/{COLLECTIONS}/<collection>")
    def add_slash(collection: str) -> Response:
        return Response(status=308, headers={"Location": f"./{quote(collection, safe='')}/"})

    @routes.get(f"/{COLLECTIONS}/<collection>/")
    def one_collection(collection: str) -> Response:
        listed = read()
        if listed.is_complete and not page.has_collection(listed, collection):
            return error_page(404, "Nothing here", "There is no collection of that name here.")
        query = read_query(request.args, page.spelled(listed, collection))
        answer = respond(page.answer(listed, query, encoding()))
        answer.headers["Content-Security-Policy"] = policy
        return answer

    @routes.get("/catalog.json")
    def catalog_json() -> Response:
        return respond(page.catalog(read(), encoding()))

    @routes.get("/sitemap.xml")
    def sitemap_xml() -> Response:
        if site.url is None:
            return error_page(404, "Nothing here", "A sitemap needs the public address of the site: set site.url.")
        return respond(page.sitemap(read(), encoding()))


def error_page(status: int, title: str, sentence: str) -> Response:
    """Answer the current request with a page that says what is wrong, and links to the list where there is one.

    Parameters
    ----------
    status : int
    title : str
        A few words.
    sentence : str
        The fault, and what to do about it.
    """
    home = _pages().has_list
    root = relative_root(_raw_path())
    text = render("error.html", root=root, title=title, sentence=shorten(sentence, 2 * SENTENCE_MAX), home=home)
    answer = Response(text.encode("utf-8", "replace"), status, mimetype="text/html")
    answer.headers["Cache-Control"] = NO_STORE
    answer.headers["Content-Security-Policy"] = _pages().policy
    return compressed(answer)


def compressed(answer: Response) -> Response:
    """Compress an answer that is not kept, if the client accepts that and the answer is long enough."""
    answer.vary.add("Accept-Encoding")
    if negotiate(request.headers.get("Accept-Encoding", "")) == GZIP:
        answer.direct_passthrough = False
        packed = gzip_body(answer.get_data(), answer.content_type or "")
        if packed is not None:
            answer.set_data(packed)
            answer.headers["Content-Encoding"] = GZIP
    return answer


def relative_root(path: str) -> str:
    """Return the relative path from a page to the site's start: ``/d/x.cxg/`` -> ``../../``."""
    return "../" * (path.count("/") - 1) or "./"


def _pages() -> _Pages:
    pages: _Pages = current_app.extensions[_PAGES]
    return pages


def _raw_path() -> str:
    """Return the path of the current request as sent: for a browser, an encoded slash does not separate segments."""
    raw = str(request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or "")
    return raw.partition("?")[0] if raw.startswith("/") else request.path


def _png(png: bytes, version: str, caching: str) -> Response:
    answer = Response(png, mimetype="image/png")
    answer.headers["Cache-Control"] = caching
    answer.set_etag(version)
    answer.make_conditional(request)
    return answer
