"""Our decoded answers are those of the published server, for a real dataset and for made ones.

The same h5ad is converted and served by us, and served as it is by cellxgene 1.3.0.
"""

from __future__ import annotations

import hashlib
import json
import random
from urllib.parse import quote

import numpy as np
import pytest

from tests.decode import FLOAT32, INT32, Matrix, decode
from tests.reference import differences
from tests.reference.pair import BINARY, Ours, Pair, gene_filter
from tests.reference.server import launch
from tests.served import serve

pytestmark = pytest.mark.reference

# What the client reads of the configuration; everything else in it is ignored.
CLIENT_KEYS = [
    "annotations",
    "annotations_genesets",
    "annotations_genesets_readonly",
    "annotations-data-collection-name",
    "disable-diffexp",
    "diffexp-may-be-slow",
    "max-category-items",
    "about_legal_tos",
    "about_legal_privacy",
    "default_embedding",
]


def assert_same(theirs: Matrix, ours: Matrix) -> None:
    assert ours.n_rows == theirs.n_rows
    assert (ours.label_kind, list(ours.labels)) == (theirs.label_kind, list(theirs.labels))
    # whole-expression
    assert [column.kind for column in ours.columns] == [
        FLOAT32 if column.kind == INT32 else column.kind for column in theirs.columns
    ]
    for mine, other in zip(ours.columns, theirs.columns, strict=True):
        assert mine.listed() == other.listed()


def test_schema(pair: Pair) -> None:
    theirs, ours = (answer["schema"] for answer in pair.json("schema"))
    assert ours == differences.expected_schema(theirs, ours)


def test_config(pair: Pair) -> None:
    theirs, ours = (answer["config"] for answer in pair.json("config"))
    for key in CLIENT_KEYS:
        assert ours["parameters"].get(key) == theirs["parameters"].get(key), key
    assert set(ours["parameters"]) != set(theirs["parameters"])  # config-keys
    assert ours["limits"] == theirs["limits"]
    assert ours["displayNames"]["dataset"] == theirs["displayNames"]["dataset"]
    assert ours["links"]["about-dataset"] == theirs["links"]["about-dataset"]
    assert ours["corpora_props"] == theirs["corpora_props"]


def test_colors(pair: Pair) -> None:
    theirs, ours = pair.json("colors")
    assert ours == differences.expected_colors(theirs, ours)


def test_colors_of_a_flag(flag_colors: Pair) -> None:
    assert flag_colors.theirs.ask("colors").status == 500
    ours = json.loads(flag_colors.ours.ask("colors").body)
    assert {"false": "#000080", "true": "#ffff00"}.items() <= ours["flag"].items()  # colors-of-flags


def test_colors_that_cannot_be_read(refused_colors: Pair) -> None:
    assert refused_colors.theirs.ask("colors").status == 404
    ours = json.loads(refused_colors.ours.ask("colors").body)
    assert "category_ordered" not in ours  # colors-refused
    assert ours["category_text"]["B cell"] == "#ff0000"
    assert ours["triple"]["T cell"] == "#8ba2b9"  # colors-triples: (6, 7, 8) / 11 of 255
    assert ours["byte triple"]["T cell"] == "#788ca0"


@pytest.mark.parametrize("axis", ["obs", "var"])
def test_every_column(pair: Pair, axis: str) -> None:
    columns = [column["name"] for column in pair.schema()["annotations"][axis]["columns"]]
    assert columns
    for name in columns:
        theirs, ours = pair.matrix(f"annotations/{axis}?annotation-name={quote(name, safe='')}")
        assert (
            (ours.n_rows, ours.label_kind, ours.labels)
            == (theirs.n_rows, theirs.label_kind, theirs.labels)
            == (theirs.n_rows, 5, [name])
        )
        expected, got = differences.comparable(theirs.columns[0], ours.columns[0], axis)
        assert got == expected, name


def test_two_columns_in_the_order_asked(pair: Pair) -> None:
    names = [column["name"] for column in pair.schema()["annotations"]["obs"]["columns"]][:2]
    for order in (names, names[::-1]):
        theirs, ours = pair.matrix("annotations/obs?" + "&".join(f"annotation-name={name}" for name in order))
        assert ours.labels == theirs.labels == order


def test_embeddings_one_by_one_and_all_at_once(pair: Pair) -> None:
    names = [embedding["name"] for embedding in pair.schema()["layout"]["obs"]]
    for route in [f"layout/obs?layout-name={name}" for name in names] + ["layout/obs"]:
        theirs, ours = pair.matrix(route)
        assert ours.labels == theirs.labels
        for mine, other in zip(ours.columns, theirs.columns, strict=True):
            assert mine.kind == other.kind == FLOAT32
            np.testing.assert_allclose(mine.values, other.values, rtol=0, atol=1e-6)  # float32-embeddings


def test_fifty_genes_and_every_odd_name(pair: Pair) -> None:
    genes = pair.genes()
    chosen = random.Random(1).sample(genes, 50) + [gene for gene in genes if not gene.isalnum()][:60]
    for gene in chosen:
        theirs, ours = pair.matrix(f"data/var?{gene_filter(gene)}")
        assert theirs.label_kind == INT32
        assert genes[ours.labels[0]] == gene
        assert_same(theirs, ours)


def test_several_genes_at_once_come_in_the_order_of_var(pair: Pair) -> None:
    genes = [pair.genes()[i] for i in (40, 2, 17)]
    theirs, ours = pair.matrix("data/var?" + "&".join(map(gene_filter, genes)))
    assert [int(label) for label in ours.labels] == [2, 17, 40]
    assert_same(theirs, ours)


def test_genes_by_position_in_a_body(pair: Pair) -> None:
    body = b'{"filter": {"var": {"index": [7, [2, 4], 3]}}}'
    theirs, ours = pair.matrix("data/var", "PUT", body, Content_Type="application/json")
    assert [int(label) for label in ours.labels] == [2, 3, 7]
    assert_same(theirs, ours)


@pytest.mark.parametrize("count", [1, 3, 60])
def test_means_of_gene_sets(pair: Pair, count: int) -> None:
    query = "method=mean&" + "&".join(map(gene_filter, random.Random(count).sample(pair.genes(), count)))
    theirs, ours = pair.matrix(f"summarize/var?{query}")
    assert ours.labels == theirs.labels == [hashlib.sha1(query.encode()).hexdigest()]
    np.testing.assert_allclose(ours.columns[0].values, theirs.columns[0].values, rtol=2e-6, atol=1e-7)
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    posted = pair.matrix(f"summarize/var?key={ours.labels[0]}", "POST", query.encode(), **form)
    assert posted[0].labels == posted[1].labels == ours.labels
    np.testing.assert_array_equal(posted[1].columns[0].values, ours.columns[0].values)


def test_mean_ignores_unknown_and_repeated_genes(pair: Pair) -> None:
    gene = gene_filter(pair.genes()[3])
    theirs, ours = pair.matrix(f"summarize/var?method=mean&{gene}&{gene}&var:name_0=no-such-gene")
    assert_same(theirs, ours)


def test_mean_of_an_empty_set_is_zero(pair: Pair) -> None:
    theirs, ours = pair.matrix("summarize/var?method=mean&")
    assert ours.labels == ["358d22f729024e44178de4fd1d6812c8775eabf5"]
    assert_same(theirs, ours)
    assert not ours.columns[0].values.any()


def test_gene_that_does_not_exist(pair: Pair) -> None:
    answer = pair.ours.ask("data/var?var:name_0=no-such-gene", Accept=BINARY)  # no-match
    assert answer.status == 200
    assert int(answer.headers["content-length"]) == len(answer.body) > 0


def test_gene_sets(gene_set_pair: Pair) -> None:
    theirs, ours = gene_set_pair.json("genesets")
    assert len(ours["genesets"]) == 3
    assert ours == theirs
    table = [server.ask("genesets", Accept="text/csv") for server in (gene_set_pair.theirs, gene_set_pair.ours)]
    assert table[1].body == table[0].body
    assert table[1].headers["content-disposition"] == table[0].headers["content-disposition"]


def test_a_file_that_the_published_server_refuses(reference_python, h5ads, dataroot, tmp_path) -> None:
    with (
        pytest.raises(RuntimeError, match="type int64 are unsupported"),
        launch(reference_python, h5ads["wide"], log=tmp_path / "log"),
    ):
        pass
    ours = Ours(serve(dataroot, tmp_path), "wide.cxg")
    kinds = {
        column["name"]: column["type"]
        for column in json.loads(ours.ask("schema").body)["schema"]["annotations"]["obs"]["columns"]
    }
    assert (kinds["barcode"], kinds["reads"]) == ("string", "float32")  # wide-integers
    barcodes = decode(ours.ask("annotations/obs?annotation-name=barcode").body).columns[0].listed()
    assert barcodes[:2] == [str(2**40), str(2**40 + 1)]


def test_no_gene_sets(pair: Pair) -> None:
    theirs, ours = pair.json("genesets")
    assert ours == theirs == {"genesets": [], "tid": 0}
