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
from cxg.memory_bounds import PAGES_BYTES
from cxg.web.answers.cache import Answer, AnswerCache, Stored
from cxg.web.start_page.reader import Listed
from cxg.web.start_page.summaries import DatasetSummary
from cxg.web.start_page.texts import shorten

REFRESH_S = 3
_QUERY_MAX, _NAME_MAX, _PENDING_MAX = 200, 255, 50
_HTML = "text/html; charset=utf-8"
# No text on the page holds this character.
_CARDS = "\0"
_ITEM, _HIDDEN_ITEM = b"<li", b"<li hidden"


@dataclass(frozen=True, slots=True)
class _Card:
    summary: DatasetSummary
    html: bytes
    searched: str


@dataclass(frozen=True, slots=True)
class _State:
    """The list as it is now: its cards, and a digest of all that the page depends on."""

    listed: Listed
    cards: tuple[_Card, ...]
    digest: str


class StartPage:
    """The page in its current state; safe to share between threads.

    Parameters
    ----------
    base_url : str
        Path segment or segments before a dataset's name.
    links : sequence of (text, URL)
        Shown at the foot.
    cache_control : str
        Value of that header.
    """

    def __init__(self, base_url: str, links: Sequence[tuple[str, str]], cache_control: str) -> None:
        self._base_url, self._links = base_url.strip("/"), links
        self._lock = threading.Lock()
        self._state: _State | None = None
        self._kept = AnswerCache(PAGES_BYTES, f"{__version__}\0{self._base_url}\0{links!r}", cache_control)

    @property
    def kept_bytes(self) -> int:
        """What the pages that are kept take."""
        return self._kept.used_bytes

    def answer(self, listed: Listed, query: str, encoding: str) -> Stored:
        """Return the page, compressed if `encoding` says so; it is made at the first request after a change.

        Parameters
        ----------
        listed : Listed
        query : str
            Words that name or title must contain; other datasets are on the page but hidden, since the script shows
            them again when the text changes.
        encoding : str
            As `cxg.web.answers.cache.negotiate` returns it.
        """
        query = shorten(query, _QUERY_MAX)
        state = self._current(listed)

        def make() -> Answer:
            return Answer(self._render(state, query), _HTML, thorough=not query and not listed.pending)

        return self._kept.find_or_make((state.digest, "/", query, encoding), make)

    def _current(self, listed: Listed) -> _State:
        with self._lock:
            if self._state is None or self._state.listed is not listed:
                known = {card.summary.name: card for card in self._state.cards} if self._state else {}
                self._state = self._make_state(listed, known)
            return self._state

    def _make_state(self, listed: Listed, known: dict[str, _Card]) -> _State:
        digest, cards = blake2b(digest_size=16), []
        for summary in listed.known:
            card = known.get(summary.name)
            if card is None or card.summary != summary:
                card = self._make_card(summary)
            digest.update(card.html)
            cards.append(card)
        digest.update("\0".join((str(listed.left_out), *listed.pending)).encode("utf-8", "replace"))
        return _State(listed, tuple(cards), digest.hexdigest())

    def _make_card(self, summary: DatasetSummary) -> _Card:
        href = f"{self._base_url}/{quote(summary.name, safe='')}/"
        text = render(
            "card.html",
            it=summary,
            name=shorten(summary.name, _NAME_MAX),
            href=href,
            picture_size=(WIDTH // 2, HEIGHT // 2),
        )
        return _Card(summary, text.strip().encode("utf-8", "replace"), f"{summary.title} {summary.name}".casefold())

    def _render(self, state: _State, query: str) -> bytes:
        words = query.casefold().split()
        shown = [all(word in card.searched for word in words) for card in state.cards]
        page = render(
            "datasets.html",
            root="./",
            cards=_CARDS,
            known=len(state.cards),
            left_out=state.listed.left_out,
            pending=[shorten(name, _NAME_MAX) for name in state.listed.pending[:_PENDING_MAX]],
            more_pending=len(state.listed.pending[_PENDING_MAX:]),
            query=query,
            shown=sum(shown),
            links=self._links,
            refresh_s=REFRESH_S,
        )
        before, _, after = page.encode("utf-8", "replace").partition(_CARDS.encode())
        items = (
            card.html if fits else card.html.replace(_ITEM, _HIDDEN_ITEM, 1)
            for card, fits in zip(state.cards, shown, strict=True)
        )
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
