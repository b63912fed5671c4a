"""Stored gene sets come out in one form, whatever shape they were stored in."""

from __future__ import annotations

from typing import Any

import pytest

from cxg.format.genesets import known_genes, read_genesets

ONE = {"geneset_name": "one", "geneset_description": "d", "genes": [{"gene_symbol": "A", "gene_description": "a"}]}
TWO = {"geneset_name": "two", "geneset_description": "", "genes": []}
BOTH = [ONE, TWO]


@pytest.mark.parametrize(
    "stored",
    [
        BOTH,
        {"one": ONE, "two": TWO},
        {"one": {"geneset_description": "d", "genes": ONE["genes"]}, "two": {}},
        {"genesets": BOTH, "tid": 3},
        {"genesets": {"one": ONE, "two": TWO}},
        [BOTH, 3],
    ],
    ids=["list", "mapping", "names as keys", "with tid", "mapping with tid", "list and tid"],
)
def test_every_shape(stored: Any) -> None:
    warnings: list[str] = []
    assert read_genesets(stored, warnings) == BOTH
    assert warnings == []


def test_nothing() -> None:
    warnings: list[str] = []
    assert read_genesets(None, warnings) == read_genesets([], warnings) == read_genesets({}, warnings) == []
    assert warnings == []


@pytest.mark.parametrize("stored", ["text", 3, True, {"genesets": 3}, [[], 3.5][1:], 1.5])
def test_what_cannot_be_understood(stored: Any) -> None:
    warnings: list[str] = []
    assert read_genesets(stored, warnings) == []
    assert len(warnings) == 1


def test_sets_without_a_name_of_their_own_are_left_out() -> None:
    warnings: list[str] = []
    stored = [ONE, {"genes": []}, {"geneset_name": ""}, {"geneset_name": ["x"]}, 5, None, "x", ONE, TWO]
    assert read_genesets(stored, warnings) == BOTH
    assert len(warnings) == 7


def test_genes_may_be_plain_names_and_odd_ones_are_passed_over() -> None:
    stored = [
        {
            "geneset_name": "s",
            "genes": ["A", {"gene_symbol": "B", "gene_description": 3}, 5, None, {"gene_symbol": 1}, []],
        }
    ]
    (found,) = read_genesets(stored, [])
    assert found["genes"] == [
        {"gene_symbol": "A", "gene_description": ""},
        {"gene_symbol": "B", "gene_description": ""},
    ]
    assert read_genesets([{"geneset_name": "s", "genes": "A"}], [])[0]["genes"] == []


def test_only_known_genes_each_once() -> None:
    genes = [{"gene_symbol": name, "gene_description": str(i)} for i, name in enumerate(["B", "X", "A", "B"])]
    sets = [{"geneset_name": "s", "geneset_description": "", "genes": genes}]
    (found,) = known_genes(sets, frozenset("AB"))
    assert [gene["gene_symbol"] for gene in found["genes"]] == ["B", "A"]
    assert found["genes"][0]["gene_description"] == "0"
    assert sets[0]["genes"] == genes
