"""Files of gene sets: the published client's CSV, and GMT."""

from __future__ import annotations

import pytest

from cxg.format.geneset_files import read_gene_set_file

HEADER = "gene_set_name,gene_set_description,gene_symbol,gene_description\n"


def one_set(name: str, about: str, *genes: tuple[str, str]) -> dict[str, object]:
    found = [{"gene_symbol": gene, "gene_description": note} for gene, note in genes]
    return {"geneset_name": name, "geneset_description": about, "genes": found}


def test_csv_in_the_form_of_the_published_client() -> None:
    text = HEADER + 'T,"T cells, all",CD3D,first\nT,,CD3E,\nB,,MS4A1,\nempty,nothing yet,,\n'
    problems: list[str] = []
    assert read_gene_set_file(text.encode("utf-8-sig"), "m.csv", problems) == [
        one_set("T", "T cells, all", ("CD3D", "first"), ("CD3E", "")),
        one_set("B", "", ("MS4A1", "")),
        one_set("empty", "nothing yet"),
    ]
    assert problems == []


def test_columns_may_be_few_and_in_any_order_below_comments() -> None:
    problems: list[str] = []
    found = read_gene_set_file(b"# made by hand\n\ngene_symbol,more,gene_set_name\nCD3D,1,T\n", "m.CSV", problems)
    assert (found, problems) == ([one_set("T", "", ("CD3D", ""))], [])


def test_gmt() -> None:
    problems: list[str] = []
    found = read_gene_set_file(b"T\thttps://example.org\tCD3D\tCD3E\t\r\n\nB\tna\n", "m.gmt", problems)
    assert found == [one_set("T", "https://example.org", ("CD3D", ""), ("CD3E", "")), one_set("B", "na")]
    assert problems == []


@pytest.mark.parametrize(
    "content, name, says",
    [
        (b"", "m.csv", "m.csv, line 1: the first line must name the columns"),
        (b"a,b\n", "m.csv", "gene_set_name and gene_symbol is missing"),
        (HEADER.encode(), "m.csv", "m.csv, line 1: the file holds no gene set"),
        (HEADER.encode() + b",,CD3D,\n", "m.csv", "m.csv, line 2: the gene set has no name"),
        (b"\t\tCD3D\n", "m.gmt", "m.gmt, line 1: the gene set has no name"),
        (HEADER.encode() + b"T,,\xff,\n", "m.csv", "m.csv, line 2: this is not UTF-8"),
        (b"", "m.gmt", "holds no gene set"),
    ],
)
def test_faults_are_told_with_file_and_line(content: bytes, name: str, says: str) -> None:
    problems: list[str] = []
    assert read_gene_set_file(content, name, problems) == []
    assert says in problems[0]
