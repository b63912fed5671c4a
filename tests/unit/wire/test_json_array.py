"""Columns as JSON arrays: strict, whatever the text, and the same however many rows are encoded at a time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from cxg.format.text import Text
from cxg.wire import json_array
from cxg.wire.json_array import JSONColumn, json_labels, json_strings, json_text

HARD_TEXTS = ["", "plain", 'quo"te', "back\\slash", "tab\tnl\nnul\x00", "é😀", "\u2028", "\ud800", "\x7f", "null"]


def strict(column: JSONColumn) -> Any:
    """Parse JSON and refuse NaN and Infinity."""
    data = b"".join(column.parts)
    assert len(data) == len(column)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(data.decode(), parse_constant=refuse)


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["a", "b"], HARD_TEXTS, *[[t] for t in HARD_TEXTS], ["a", None]])
def test_json_strings_round_trip(texts: list[str | None]) -> None:
    assert strict(json_strings(texts)) == texts


def test_json_strings_of_every_pair_of_hard_texts() -> None:
    for a in HARD_TEXTS:
        for b in HARD_TEXTS:
            assert strict(json_strings([a, b])) == [a, b]


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8"])
def test_json_labels(dtype: str) -> None:
    codes = np.array([0, 1, 2, 1, 120], dtype)
    assert strict(json_labels(codes, ["a", 'b"', "é"])) == ["a", 'b"', "é", 'b"', None]
    if dtype != "uint8":
        assert strict(json_labels(-codes, ["a"])) == ["a", None, None, None, None]


@pytest.mark.parametrize("longest", [6, 60])
def test_json_labels_of_equal_and_different_lengths(longest: int) -> None:
    categories = ["five5", "é" * (longest // 2), 'last "']
    codes = np.random.default_rng(0).integers(-1, 4, 1000)
    known = dict(enumerate(categories))
    assert strict(json_labels(codes, categories)) == [known.get(code) for code in codes.tolist()]


def test_json_labels_of_every_kind() -> None:
    categories: list[Any] = [True, False, 3, 1.5, float("nan"), float("inf"), None, np.float32(0.5), np.bool_(True)]
    expected = [True, False, 3, 1.5, None, None, None, 0.5, True]
    assert strict(json_labels(np.arange(9, dtype=np.int8), categories)) == expected
    assert json_labels(np.array([], np.int8), []).parts == [b"[]"]
    assert strict(json_labels(np.array([0], np.int8), [])) == [None]


TEXTS = {
    "equal lengths": [f"cell{i:04}" for i in range(1000)],
    "unlike lengths": [f"cell{i}-{i % 7}" for i in range(1000)],
    "one long": ["x" * 5000, *map(str, range(999))],
    "empty": [""] * 10,
    "none": [],
    "not ASCII": [f"é{i}" * (i % 3) for i in range(1000)],
    "to escape": [text for text in HARD_TEXTS if text.isprintable() or text.isascii()] * 100,
}


@pytest.mark.parametrize("rows", [json_array.ROWS, 64])
@pytest.mark.parametrize("name", TEXTS)
def test_json_text(name: str, rows: int) -> None:
    assert strict(json_text(Text.of(TEXTS[name]), rows)) == TEXTS[name]


def test_text_that_is_not_utf8_is_repaired() -> None:
    text = Text(np.frombuffer(b"a\xffb\xc3", np.uint8), np.array([0, 1, 3, 4]))
    assert text.strings() == ["a", "\ufffdb", "\ufffd"]
    assert strict(json_text(text)) == text.strings()


@pytest.mark.parametrize("lengths", [[3, 3, 3], [3, 40, 1]])
def test_json_labels_in_pieces(lengths: list[int]) -> None:
    categories = [chr(97 + i) * n for i, n in enumerate(lengths)]
    codes = np.random.default_rng(1).integers(0, 4, 1001).astype(np.int8)
    assert strict(json_labels(codes, categories, rows=64)) == [[*categories, None][code] for code in codes.tolist()]
