"""Markdown becomes HTML that a page may hold, whoever wrote it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from cxg.descriptions.markdown import to_excerpt, to_html, to_text

PLAIN = {
    *(
        "p",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "ul",
        "ol",
        "li",
        "strong",
        "em",
        "code",
        "pre",
        "a",
        "blockquote",
        "hr",
        "br",
    ),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "a <b onclick=x>b</b>\n\n<div style='x'>c</div>",
        "[x](javascript:alert(1))",
        "[x](JaVaScRiPt:alert(1))",
        "[x](java\nscript:alert(1))",
        "[x](&#106;avascript:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "[x](vbscript:x)",
        "<javascript:alert(1)>",
        "![x](https://evil.example/track.png)",
        "![x](javascript:alert(1))",
        "[x]: javascript:alert(1)\n\n[x]",
        '[x](https://example.org "\\" onmouseover=alert(1) \\"")',
        "[x](//evil.example)",
        "[x](/d/other)",
        "[x](https://me:pw@example.org)",
        "| a |\n|:-:|\n| <script> |",
        "`</code><script>`",
        '```html"><script>\n</code></pre><script>x</script>\n```',
        ">" * 500 + "x",
        "*" * 2000 + "x",
        "[" * 3000,
    ],
)
def test_nothing_runs_and_nothing_is_loaded_from_elsewhere(text: str) -> None:
    for tag, attributes in Elements(to_html(text)).found:
        assert tag in PLAIN
        assert set(attributes) <= {"href", "title", "rel", "start", "class"}
        assert (attributes.get("href") or "https://").startswith("https://")
        assert "me:pw" not in (attributes.get("href") or "")


def test_the_usual_is_rendered() -> None:
    html = to_html(
        "# One\n\nA **bold** [link](https://example.org/a?b=1) and <me@example.org>.\n\n- x\n\n| a |\n|--|\n| b |\n"
    )
    assert "<h2>One</h2>" in html
    assert '<a href="https://example.org/a?b=1" rel="nofollow noopener">link</a>' in html
    assert 'href="mailto:me@example.org"' in html
    assert "<strong>bold</strong>" in html
    assert "<th>a</th>" in html
    assert "style" not in html


def test_headings_are_below_that_of_the_page() -> None:
    assert [tag for tag, _ in Elements(to_html("# a\n\n## b\n\n###### c\n")).found] == ["h2", "h3", "h6"]


def test_plain_text_has_neither_signs_nor_lines() -> None:
    assert to_text("# One\n\nA **bold**\n[link](https://example.org).\n\n- x\n- y", 100) == "One A bold link. x y"
    assert to_text("word " * 100, 20) == "word word word word…"
    assert to_text("", 10) == ""


def test_an_excerpt_has_neither_headings_nor_tables() -> None:
    assert to_excerpt("# One\n\nCells *of* donors.\n\n| a |\n|---|\n| b |\n\n- more\n", 100) == "Cells of donors. more"
    assert to_excerpt("# One\n", 100) == "One"
    assert to_excerpt("word " * 100, 20) == "word word word word…"
