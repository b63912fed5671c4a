"""Markdown as safe HTML, and as plain text.

`markdown-it-py` follows CommonMark, is kept by the Executable Books project, and comes with `rich` anyway. With `html`
off it writes nothing but its own elements: what looks like HTML in the text is quoted. So nothing has to be cleaned
afterwards, and no second library is needed. Links are checked as all links of a dataset are. Images are not rendered:
pages load nothing from another host.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from cxg.links import link_problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.token import Token

# Characters that change the direction of writing, beyond the end of the text; and line separators.
_TURNS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)]) | {0x2028: " ", 0x2029: " "}
_MAIL = re.compile(r"mailto:[^\s<>\"'?&]+@[^\s<>\"'?&]+", re.IGNORECASE)
# The title of the page is its first heading.
_HEADINGS = {"h1": "h2", "h2": "h3", "h3": "h4", "h4": "h5", "h5": "h6", "h6": "h6"}


def to_html(text: str) -> str:
    """Render Markdown as HTML that a page may hold as it is.

    Headings are one level deeper than they are written. A link that is not to a web page or an e-mail address is left
    as the text that it is written with.
    """
    parser = _parser()
    tokens = parser.parse(text.translate(_TURNS))
    for token in tokens:
        token.tag = _HEADINGS.get(token.tag, token.tag)
        for inside in token.children or ():
            if inside.type == "link_open":
                inside.attrSet("rel", "nofollow noopener")
        if token.type == "th_open" or token.type == "td_open":
            # Alignment is given as a style, which the policy of the pages refuses.
            token.attrs = {}
    html: str = parser.renderer.render(tokens, parser.options, {})
    return html


def to_text(text: str, most: int) -> str:
    """Return the beginning of a Markdown text in plain words, on one line."""
    words: list[str] = []
    _collect(_parser().parse(text[: 4 * most].translate(_TURNS)), words)
    return _shortened(words, most)


def to_excerpt(text: str, most: int) -> str:
    """Return the beginning of a Markdown text in plain words, without its headings and tables."""
    words: list[str] = []
    inside = 0
    kept = []
    for token in _parser().parse(text[: 4 * most].translate(_TURNS)):
        if token.type in ("heading_open", "table_open"):
            inside += 1
        elif token.type in ("heading_close", "table_close"):
            inside -= 1
        elif not inside:
            kept.append(token)
    _collect(kept, words)
    return _shortened(words, most) or to_text(text, most)


def _shortened(words: Sequence[str], most: int) -> str:
    line = " ".join("".join(words).split())
    return line if len(line) <= most else line[: most - 1].rstrip() + "…"


def _collect(tokens: Sequence[Token], words: list[str]) -> None:
    for token in tokens:
        if token.children is not None:
            _collect(token.children, words)
            words.append(" ")
        elif token.type in ("softbreak", "hardbreak"):
            words.append(" ")
        else:
            words.append(token.content)


@cache
def _parser() -> MarkdownIt:
    # Loaded when the first text is rendered: it takes time at the start of a worker.
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "linkify": False, "maxNesting": 20})
    parser.enable("table")
    parser.disable("image")
    parser.validateLink = _is_good_link  # type: ignore[method-assign]
    return parser


def _is_good_link(url: Any) -> bool:
    text = str(url)
    return link_problem(text) is None or _MAIL.fullmatch(text) is not None
