"""Descriptions: what each key takes, and the sentence with file and line for each kind of fault."""

from __future__ import annotations

import pytest

from cxg.descriptions.keys import KEYS
from cxg.descriptions.model import ENTRIES_MAX, TEXT_MAX, Description
from cxg.descriptions.reader import FILE_MAX_BYTES, read_description

WHOLE = """\
title: Human liver
text: |
  Cells of **five** donors.

  - without red blood cells
authors: [Ada Lovelace, "Hopper, Grace"]
doi: https://doi.org/10.1038/s41586-021-03570-8
date: 2026-11-30
citation: "Lovelace A: Liver. 2026."
licence: CC-BY-4.0
contact: cells@example.org
organism: Homo sapiens
tissue:
  - liver
  - bile duct
assay: 10x 3' v3
disease: [normal]
tags: [atlas]
download: https://example.org/liver.h5ad
view: "?gene=CD3D&gene=MS4A1&color=louvain&select=louvain:B%20cells"
gene_sets: liver_markers.csv
order: 10
hidden: yes
collection: Liver atlas
"""


def read(text: str | bytes) -> tuple[Description, tuple[str, ...]]:
    found = read_description(text if isinstance(text, bytes) else text.encode(), "NA_liver.yaml")
    return found.description, found.problems


def test_every_key_is_read() -> None:
    description, problems = read(WHOLE)
    assert problems == ()
    assert description == Description(
        title="Human liver",
        text="Cells of **five** donors.\n\n- without red blood cells",
        authors=("Ada Lovelace", "Hopper, Grace"),
        doi="10.1038/s41586-021-03570-8",
        date="2026-11-30",
        citation="Lovelace A: Liver. 2026.",
        license="CC-BY-4.0",
        contact="cells@example.org",
        organism=("Homo sapiens",),
        tissue=("liver", "bile duct"),
        assay=("10x 3' v3",),
        disease=("normal",),
        tags=("atlas",),
        download="https://example.org/liver.h5ad",
        view={"gene": ("CD3D", "MS4A1"), "color": ("louvain",), "select": ("louvain:B cells",)},
        gene_sets="liver_markers.csv",
        order=10.0,
        hidden=True,
        collection="Liver atlas",
    )
    assert not description.is_listed


@pytest.mark.parametrize("key", KEYS)
def test_each_example_is_right(key: str) -> None:
    _, problems = read(f"{key}: {KEYS[key].example}\n")
    assert problems == ()


@pytest.mark.parametrize("text", ["", "\n# only a comment\n", "---\n", "title:\n", "title: null\ntags: []\nview: {}\n"])
def test_nothing_said_is_no_fault(text: str) -> None:
    assert read(text) == (Description(), ())


@pytest.mark.parametrize(
    "text, title",
    [
        ("title: 2024", "2024"),
        ("title: 1.50", "1.50"),
        ("title: 2026-11-30", "2026-11-30"),
        ("title: No", "No"),
        ("title: on", "on"),
        ("title: 0x1F", "0x1F"),
        ("title: 12:30:45", "12:30:45"),
        ("title: .inf", ".inf"),
        ("title: '  two   words '", "two words"),
        ("title: ~", None),
        ("\ufefftitle: x", "x"),
    ],
)
def test_a_text_is_taken_as_it_is_written_whatever_yaml_takes_it_for(text: str, title: str | None) -> None:
    assert read(text) == (Description(title=title), ())


def test_so_are_the_entries_of_a_list() -> None:
    description, problems = read("tags: [yes, 3, 2026-01-01, no, no]\ntissue: NO\n")
    assert (description.tags, description.tissue, problems) == (("yes", "3", "2026-01-01", "no"), ("NO",), ())


@pytest.mark.parametrize(
    "text, hidden", [("true", True), ("Yes", True), ("off", False), ('"true"', True), ("no", False)]
)
def test_switches_have_many_spellings(text: str, hidden: bool) -> None:
    assert read(f"hidden: {text}") == (Description(hidden=hidden), ())


@pytest.mark.parametrize(
    "text",
    ["10.1000/x_y(1)", "doi:10.1000/x_y(1)", "http://dx.doi.org/10.1000/x_y(1)", "https://doi.org/10.1000/x_y(1)"],
)
def test_a_doi_loses_what_stands_before_it(text: str) -> None:
    assert read(f"doi: {text}") == (Description(doi="10.1000/x_y(1)"), ())


@pytest.mark.parametrize("text", ["none, the donors did not agree", '"None: the donors did not agree"'])
def test_a_download_may_be_declined_with_a_reason(text: str) -> None:
    assert read(f"download: {text}") == (Description(no_download="the donors did not agree"), ())


@pytest.mark.parametrize(
    "text, view",
    [
        ("view: gene=CD3D&labels=1", {"gene": ("CD3D",), "labels": ("1",)}),
        ("view: https://host/d/x.cxg/?gene=A%2CB", {"gene": ("A,B",)}),
        ("view:\n  select:\n    a:b: ['B, naive', T]\n    n: 1", {"select": ("a\\:b:B\\, naive,T", "n:1")}),
        (
            "view:\n  select: ['a:x', 'b:y,z']\n  scatter: ['A,B', C]",
            {"select": ("a:x", "b:y,z"), "scatter": ("A\\,B,C",)},
        ),
        ("view:\n  zoom: [0.5, 0.25, 2]\n  genesets: T cells", {"zoom": ("0.5,0.25,2",), "genesets": ("T cells",)}),
        ("view:\n  gene: [A, B]\n  labels: yes\n  zoom: 2.5", {"gene": ("A", "B"), "labels": ("1",), "zoom": ("2.5",)}),
    ],
)
def test_a_view_is_a_link_or_its_parameters(text: str, view: dict[str, tuple[str, ...]]) -> None:
    assert read(text) == (Description(view=view), ())


@pytest.mark.parametrize(
    "text, line, says",
    [
        ("title: x\n\nlicence_url: x\n", 3, "'licence_url' is not a key; did you mean 'license'?"),
        ("titel: x", 1, "did you mean 'title'?"),
        ("qwxyz: x", 1, "'qwxyz' is not a key; the keys are title, text"),
        ("title: x\ntitle: y", 2, "title is given twice, first on line 1"),
        ("license: x\nlicence: y", 2, "licence is given as license too, on line 1"),
        ("title: [a, b]", 1, "title must be a text, but is a list"),
        ("title: {a: b}", 1, "title must be a text, but is a section with keys of its own"),
        ("title: ''", 1, "title must be a text, but is empty"),
        (f"title: {'x' * 201}", 1, "title: it has 201 characters; shorten it to 200"),
        ("text: [a]", 1, "begin it with '|'"),
        (f"text: {'x' * (TEXT_MAX + 1)}", 1, "only the first 20,000 are used"),
        ("tags:\n  a: b", 2, "tags must be a list of words, but has keys of its own"),
        ("tags:\n - a\n - [b]", 3, "tags must be a text, but is a list"),
        (f"tags: {[str(k) for k in range(ENTRIES_MAX + 1)]}", 1, "51 entries; only the first 50 are used"),
        ("hidden: maybe", 1, "hidden must be true or false, but is the text 'maybe'"),
        ("order: first", 1, "order must be a number such as 10"),
        ("order: .nan", 1, "order must be a number"),
        ("doi: see below", 1, "doi must be a DOI such as"),
        ("date: yesterday", 1, "write it as 2026, 2026-11 or 2026-11-30"),
        ("date: 2026-13-01", 1, "not a date"),
        ("download: ftp://example.org/x", 1, "write it in full, as https://host; or write none and a reason"),
        ("download: javascript:alert(1)", 1, "write none and a reason"),
        ("download: https://me:secret@example.org/x", 1, "may not contain a user and password"),
        ("download: none", 1, "say why there is none"),
        ("gene_sets: ../x.csv", 1, "without a folder"),
        ("gene_sets: x.txt", 1, "must end in .csv or .gmt"),
        ("collection: a/b", 1, "no slash"),
        ("view: nothing of that", 1, "a link to a view such as"),
        ("view: ?colour=x", 1, "'colour', which is no parameter of a link"),
        ("title: x\n\ttext: y", 2, "tab"),
        ("title: Liver: a map", 1, "must be in quotes"),
        ("title: x\n---\ntitle: y", 2, "a second document"),
        ("title: 'x", 1, "not valid YAML"),
        ("- title", 1, "the file must hold keys such as title, but is a list"),
        ("just text", 1, "the file must hold keys"),
        ("title: x\ntext: a\x07b", 2, "control character"),
        ("a: &x [1]\n<<: *x", 1, "is not a key"),
        ("? [a]\n: b", 1, "a key must be a word"),
        (b"title: x\ntext: \xff\xfe", 2, "not UTF-8"),
        (b"x" * (FILE_MAX_BYTES + 1), 1, "more than 65,536 are not read"),
        ("[" * 5000, 1, ""),
    ],
)
def test_each_fault_is_told_with_file_and_line(text: str | bytes, line: int, says: str) -> None:
    _, problems = read(text)
    assert problems
    assert problems[0].startswith(f"NA_liver.yaml, line {line}: ")
    assert says in problems[0]
    assert "\n" not in "".join(problems)
    assert "secret" not in "".join(problems)


def test_a_fault_costs_its_key_alone_and_all_are_told_in_order() -> None:
    description, problems = read("title: x\norder: last\ntissue: liver\nhiden: true\n")
    assert description == Description(title="x", tissue=("liver",))
    assert [problem.split(":")[0] for problem in problems] == ["NA_liver.yaml, line 2", "NA_liver.yaml, line 4"]


def test_what_is_said_wins_over_what_is_known_anyway() -> None:
    said = Description(title="Said", tissue=("liver",), no_download="secret")
    known = Description(title="Known", organism=("Homo sapiens",), tissue=("?",), download="https://example.org")
    whole = said.over(known)
    assert (whole.title, whole.tissue, whole.organism) == ("Said", ("liver",), ("Homo sapiens",))
    assert (whole.download, whole.no_download) == (None, "secret")
