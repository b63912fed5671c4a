"""Texts of datasets on a page."""

import pytest

from cxg.web.start_page.texts import shorten


@pytest.mark.parametrize(
    "text, shown",
    [
        ("A title", "A title"),
        ("  two \n words\t", "two words"),
        ("", ""),
        ("0123456789", "0123456789"),
        ("0123456789a", "012345678…"),
        ("012345678 and more", "012345678…"),
        ("01234567 and more", "01234567…"),
        ("a\0b\x1bc", "a b c"),
        ("half \ud800", "half ?"),
        ("ab\u202ecd", "abcd"),
        ("e\u0301te\u0301", "e\u0301te\u0301"),
        ("01234567e\u0301\u0302 and more", "01234567…"),
        ("0123456\U0001f469\u200d\U0001f467 x", "0123456…"),
        ("z" + "\u0301" * 9, "z" + "\u0301" * 4),
        (" " * 41 + "a", "a"),
        ("שלום", "שלום"),
    ],
)
def test_shorten(text, shown):
    assert shorten(text, 10) == shown


def test_a_cut_text_is_never_longer_than_allowed():
    for most in range(2, 60):
        for text in ("ab cd " * 50, "\U0001f469\u200d" * 50, "e\u0301" * 100):
            assert len(shorten(text, most)) <= most
            assert shorten(text, most).endswith("…")
