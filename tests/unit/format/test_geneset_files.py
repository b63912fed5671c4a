"""Files of gene sets: both forms, and that what is wrong is named with its line."""

from __future__ import annotations

import pytest

from cxg.format.geneset_files import GeneSetFileError, gene_set, parse_gene_sets

HEADER = "gene_set_name,gene_set_description,gene_symbol,gene_description\n"


def test_csv() -> None:
    text = (
        "\ufeff# made by hand\n\n"
        + HEADER
        + 'T cells,,CD3D,surface\n"B, ""cells""",of blood,MS4A1,\nT cells,marks,CD3E,, and more\nT cells,,CD3D,again\n'
        + "empty,nothing yet,,\n  \n"
    )
    assert parse_gene_sets(text.encode(), "sets.CSV") == [
        gene_set("T cells", "marks", {"CD3D": "surface", "CD3E": ""}),
        gene_set('B, "cells"', "of blood", {"MS4A1": ""}),
        gene_set("empty", "nothing yet", {}),
    ]


def test_a_csv_may_leave_out_the_last_cells_of_a_line() -> None:
    assert parse_gene_sets((HEADER + "T,,CD3D\n").encode(), "a.csv") == [gene_set("T", "", {"CD3D": ""})]


def test_gmt() -> None:
    text = "# from a collection\nHALLMARK_X\thttps://example.org\tTP53\tMDM2\tTP53\r\n\nnone\tna\n"
    assert parse_gene_sets(text.encode(), "sets.gmt") == [
        gene_set("HALLMARK_X", "https://example.org", {"TP53": "", "MDM2": ""}),
        gene_set("none", "", {}),
    ]


@pytest.mark.parametrize(
    "data, name, said",
    [
        (b"", "sets.csv", "line 1 must be the header gene_set_name,"),
        (b"name,genes\nT,CD3D\n", "sets.csv", "line 1 must be the header"),
        (HEADER.encode() + b"T,,CD3D,\n,,CD3E,\n", "sets.csv", "line 3 has no gene_set_name"),
        (HEADER.encode() + b'T,,"CD3D,\n', "sets.csv", "is not valid CSV"),
        (HEADER.encode() + b"T,,CD3\xe9,\n", "sets.csv", "line 2 is not UTF-8"),
        (b"T cells CD3D\n", "sets.gmt", "line 1 must be a name, a description and genes"),
        (b"T\t\tA\nT\t\tB\n", "sets.gmt", "line 2 has the name 'T'"),
        (b"T", "sets.txt", "'sets.txt' is not a file of gene sets: its name must end with .csv or .gmt"),
        (b"T", "sets", "must end with .csv or .gmt"),
    ],
)
def test_what_is_wrong_is_named(data: bytes, name: str, said: str) -> None:
    with pytest.raises(GeneSetFileError) as caught:
        parse_gene_sets(data, name)
    assert said in str(caught.value)
