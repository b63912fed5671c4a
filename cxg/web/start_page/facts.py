"""What the list of datasets keeps of a description: short texts, however long the description is."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from cxg.descriptions.markdown import to_excerpt, to_text
from cxg.descriptions.model import FACETS, Description
from cxg.web.start_page.texts import shorten

_LINE_MAX, _NAME_MAX, _NAMES_MAX = 300, 80, 20
_EXCERPT_MAX, _WORDS_MAX, _SEARCHED_TEXT_MAX = 200, 500, 6000


@dataclass(frozen=True, slots=True)
class Facts:
    """The described part of an entry of the list.

    Attributes
    ----------
    facets : tuple of (name, values)
        In the order of `FACETS`; facets without a value are left out.
    excerpt : str
        Beginning of the text, without its Markdown.
    words : str
        Other words that a search may find, each once, in lower case.
    """

    authors: tuple[str, ...] = ()
    doi: str | None = None
    date: str | None = None
    license: str | None = None
    contact: str | None = None
    download: str | None = None
    no_download: str | None = None
    collection: str | None = None
    order: float | None = None
    is_listed: bool = True
    facets: tuple[tuple[str, tuple[str, ...]], ...] = ()
    excerpt: str = ""
    words: str = ""

    def values(self, facet: str) -> tuple[str, ...]:
        """Return the values of one facet."""
        return next((values for name, values in self.facets if name == facet), ())


NO_FACTS = Facts()


def facts_of(description: Description) -> Facts:
    """Shorten a description to what the list keeps."""
    facets = ((name, _names(getattr(description, name))) for name in FACETS)
    text = to_text(description.text, _SEARCHED_TEXT_MAX) if description.text else ""
    return Facts(
        authors=_names(description.authors),
        doi=_line(description.doi),
        date=description.date,
        license=_line(description.license),
        contact=_line(description.contact),
        # A link that was cut would lead elsewhere.
        download=description.download,
        no_download=_line(description.no_download) if description.no_download != "" else "",
        collection=_line(description.collection),
        order=description.order,
        is_listed=description.is_listed,
        facets=tuple((name, values) for name, values in facets if values),
        excerpt=shorten(to_excerpt(description.text, _EXCERPT_MAX), _EXCERPT_MAX),
        words=_words(text),
    )


def _line(text: str | None) -> str | None:
    return None if text is None else sys.intern(shorten(text, _LINE_MAX))


def _names(texts: tuple[str, ...]) -> tuple[str, ...]:
    # Datasets share most of their values, and memory keeps each once.
    return tuple(sys.intern(shorten(text, _NAME_MAX)) for text in texts[:_NAMES_MAX])


def _words(text: str) -> str:
    """Return the different words of a text, as many as the list has room for."""
    words = " ".join(dict.fromkeys(shorten(text, _SEARCHED_TEXT_MAX).casefold().split()))
    return words if len(words) <= _WORDS_MAX else words[:_WORDS_MAX].rpartition(" ")[0]
