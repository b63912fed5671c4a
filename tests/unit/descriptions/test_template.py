"""What `cxg describe` writes is a description without a fault, and says what the CXG says."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from cxg.descriptions.keys import KEYS
from cxg.descriptions.model import Description
from cxg.descriptions.portal import from_dataset
from cxg.descriptions.reader import read_description
from cxg.descriptions.template import template
from cxg.format.columns import Column
from tests.listed import make_dataset

KNOWN = Description(
    title='A "title": with all, that # hurts – β 😀',
    text="Line one\n\n  - indented: yes\n#no comment",
    authors=("Ada Lovelace", "no", "12"),
    doi="10.1000/x",
    organism=("Homo sapiens",),
    citation="x" * 250,
)


@pytest.mark.parametrize("known", [Description(), KNOWN])
def test_it_reads_back(known: Description) -> None:
    found = read_description(template("a.cxg", known).encode(), "a.yaml")
    assert (found.description, found.problems) == (known, ())


def test_every_key_is_in_it_with_its_meaning_and_the_examples_are_right() -> None:
    text = template("a.cxg", Description())
    for key in KEYS:
        assert f"\n#{key}: " in text
    assert max(map(len, text.splitlines())) <= 120
    whole = re.sub(r"^#(?=[a-z_]+: |  )", "", text, flags=re.M)
    found = read_description(whole.encode(), "a.yaml")
    assert found.problems == ()
    assert set(found.lines) == set(KEYS)


def described(columns: Any = (), **corpora: Any) -> Description:
    names = tuple(Column(name, "categorical", labels) for name, labels in columns)
    return from_dataset(make_dataset(obs=SimpleNamespace(columns=names, index="name_0"), corpora=corpora or None))


def test_a_portals_metadata_is_used() -> None:
    found = described(
        contributors=[{"name": "Ada Lovelace", "email": "x"}, {"institution": "?"}, 5],
        publication_doi="https://doi.org/10.1000/x",
        organism="Mus musculus",
        project_description="About *stars* and <b>tags</b>",
        citation="Lovelace 2026",
    )
    assert found == Description(
        text=r"About \*stars\* and \<b\>tags\</b\>",
        authors=("Ada Lovelace",),
        doi="10.1000/x",
        organism=("Mus musculus",),
        citation="Lovelace 2026",
    )


def test_columns_of_the_portals_schema_are_used_and_win_over_its_metadata() -> None:
    found = described(
        [("tissue", ("liver", "nan", "lung")), ("organism", ("Homo sapiens",)), ("louvain", ("a",))], organism="?"
    )
    assert found == Description(tissue=("liver", "lung"), organism=("Homo sapiens",))


def test_a_column_with_very_many_labels_narrows_nothing() -> None:
    assert described([("tissue", tuple(map(str, range(21))))]) == Description()


@pytest.mark.parametrize("odd", [None, 5, [], {}, [[]], {"name": []}, [{"name": None}], True])
def test_odd_metadata_says_nothing(odd: Any) -> None:
    assert described(contributors=odd, doi=odd, organism=odd, project_description=odd, citation=odd) == Description()
