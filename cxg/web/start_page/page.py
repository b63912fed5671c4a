"""The page that lists the datasets: each card is rendered once, each state of the page once for all visitors."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cxg import __version__
from cxg.compute.thumbnail import HEIGHT, WIDTH
from cxg.config import Site
from cxg.descriptions.markdown import to_html
from cxg.memory_bounds import PAGES_BYTES
from cxg.web.answers.cache import Answer, AnswerCache, Stored
from cxg.web.start_page.choose import SORTS, Query, choose
from cxg.web.start_page.files import catalog_json, sitemap_xml
from cxg.web.start_page.listed import Listed
from cxg.web.start_page.summaries import DatasetSummary
from cxg.web.start_page.texts import shorten

REFRESH_S = 3
COLLECTIONS = "c"
"""First part of the path of a collection's list."""

_NAME_MAX, _PENDING_MAX, _COLLECTIONS_MAX = 255, 50, 100
# Cards are shared between states.
_STATES_MAX = 8
_HTML, _JSON, _XML = "text/html; charset=utf-8", "application/json", "application/xml"
# No text on the page holds these characters: the cards, and the path from a page to the start page.
_CARDS, _ROOT = "\0", "\1"
_IN_COLLECTION = "../../"
_SHOWN_FACETS = ("organism", "tissue", "assay", "disease")
_NO_SITE = Site()


@dataclass(frozen=True, slots=True)
class _Card:
    summary: DatasetSummary
    html: bytes
    searched: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class _State:
    """The list as it is now: its cards, and a digest of all that the page depends on."""

    listed: Listed
    cards: tuple[_Card, ...]
    digest: str
    collections: tuple[tuple[str, int], ...]


class StartPage:
    """The page in its current state, as people and programs see it; safe to share between threads.

    Parameters
    ----------
    base_url : str
        Path segment or segments before a dataset's name.
    links : sequence of (text, URL)
        Shown at the foot.
    cache_control : str
        Value of that header.
    site : Site
        Title, text and logo of the page, and its public address.
    """

    def __init__(
        self, base_url: str, links: Sequence[tuple[str, str]], cache_control: str, site: Site = _NO_SITE
    ) -> None:
        self._base_url, self._links, self._site = base_url.strip("/"), links, site
        self._intro = to_html(site.intro) if site.intro else ""
        self._lock = threading.Lock()
        # One for each set of datasets that visitors may see.
        self._states: list[_State] = []
        version = f"{__version__}\0{self._base_url}\0{links!r}\0{site!r}"
        self._kept = AnswerCache(PAGES_BYTES, version, cache_control)

    @property
    def kept_bytes(self) -> int:
        """What the pages that are kept take."""
        return self._kept.used_bytes

    def answer(self, listed: Listed, query: Query, encoding: str) -> Stored:
        """Return the page, compressed if `encoding` says so; it is made at the first request after a change.

        Parameters
        ----------
        listed : Listed
        query : Query
            Datasets that do not answer it are not on the page.
        encoding : str
            As `cxg.web.answers.cache.negotiate` returns it.
        """
        state = self._current(listed)

        def make() -> Answer:
            return Answer(self._render(state, query), _HTML, thorough=not query.is_narrow and listed.is_complete)

        return self._kept.find_or_make((state.digest, "/", query.key, encoding), make)

    def has_collection(self, listed: Listed, name: str) -> bool:
        """Tell whether a dataset of the list is in a collection, in any case of letters."""
        return any(name.casefold() == known.casefold() for known, _ in self._current(listed).collections)

    def spelled(self, listed: Listed, name: str) -> str:
        """Return the name of a collection as its first dataset spells it."""
        known = (known for known, _ in self._current(listed).collections)
        return next((one for one in known if one.casefold() == name.casefold()), shorten(name, _NAME_MAX))

    def catalog(self, listed: Listed, encoding: str) -> Stored:
        """Return the list for programs, as JSON."""
        state = self._current(listed)

        def make() -> Answer:
            return Answer(catalog_json(listed, self._base_url, self._site), _JSON, thorough=listed.is_complete)

        return self._kept.find_or_make((state.digest, "/catalog.json", "", encoding), make)

    def sitemap(self, listed: Listed, encoding: str) -> Stored:
        """Return the addresses of all pages for search engines; `site.url` must be set."""
        state = self._current(listed)
        collections = [f"{COLLECTIONS}/{quote(name, safe='')}/" for name, _ in state.collections]

        def make() -> Answer:
            return Answer(sitemap_xml(listed, self._base_url, self._site.url or "", collections), _XML)

        return self._kept.find_or_make((state.digest, "/sitemap.xml", "", encoding), make)

    def _current(self, listed: Listed) -> _State:
        with self._lock:
            state = next((one for one in self._states if one.listed is listed), None)
            if state is None:
                known = {card.summary.name: card for one in self._states for card in one.cards}
                state = self._make_state(listed, known)
            else:
                self._states.remove(state)
            self._states = [*self._states[-_STATES_MAX + 1 :], state]
            return state

    def _make_state(self, listed: Listed, known: dict[str, _Card]) -> _State:
        digest, cards = blake2b(digest_size=16), []
        spellings: dict[str, str] = {}
        counts: dict[str, int] = {}
        for summary in listed.known:
            card = known.get(summary.name)
            if card is None or card.summary != summary:
                card = self._make_card(summary)
            digest.update(card.digest)
            cards.append(card)
            collection = summary.facts.collection
            if collection is not None:
                key = collection.casefold()
                spellings.setdefault(key, collection)
                counts[key] = counts.get(key, 0) + 1
        rest = (str(listed.left_out), str(listed.unnamed), *listed.pending)
        digest.update("\0".join(rest).encode("utf-8", "replace"))
        collections = tuple((spellings[key], counts[key]) for key in sorted(counts))
        return _State(listed, tuple(cards), digest.hexdigest(), collections)

    def _make_card(self, summary: DatasetSummary) -> _Card:
        facts = summary.facts
        html = render(
            "card.html",
            it=summary,
            name=shorten(summary.name, _NAME_MAX),
            href=f"{_ROOT}{self._base_url}/{quote(summary.name, safe='')}/",
            picture_size=(WIDTH // 2, HEIGHT // 2),
            kinds=[", ".join(facts.values(facet)[:3]) for facet in _SHOWN_FACETS if facts.values(facet)],
        )
        values = [value for _, values in facts.facets for value in values]
        others = (facts.doi, facts.collection, facts.license, facts.contact, facts.excerpt)
        texts = [summary.title, summary.name, *values, *facts.authors, *filter(None, others)]
        encoded = html.strip().encode("utf-8", "replace")
        digest = blake2b(encoded + repr(facts).encode("utf-8", "replace"), digest_size=16).digest()
        return _Card(summary, encoded, " ".join(texts).casefold(), digest)

    def _render(self, state: _State, query: Query) -> bytes:
        chosen, listed = choose(state.cards, query), state.listed
        root = "./" if query.collection is None else _IN_COLLECTION
        page = render(
            "datasets.html",
            root=root,
            site=self._site,
            intro=self._intro if query.collection is None else "",
            cards=_CARDS,
            known=chosen.total,
            chosen=chosen,
            collections=state.collections[:_COLLECTIONS_MAX],
            collection_path=COLLECTIONS,
            left_out=listed.left_out,
            pending=[shorten(name, _NAME_MAX) for name in listed.pending[:_PENDING_MAX]],
            more_pending=len(listed.pending[_PENDING_MAX:]) + listed.unnamed,
            query=query,
            sorts=SORTS,
            links=self._links,
            refresh_s=REFRESH_S,
        )
        before, _, after = page.encode("utf-8", "replace").partition(_CARDS.encode())
        up = b"" if query.collection is None else root.encode()
        items = (card.html.replace(_ROOT.encode(), up) for card in chosen.shown)
        return b"".join((before, b"\n".join(items), after))


def render(template: str, **values: Any) -> str:
    """Render one of the templates beside this module, with all values quoted for HTML."""
    return _templates().get_template(template).render(product=f"cellxgene-eb {__version__}", **values)


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
