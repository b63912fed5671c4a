"""The page of expression by label, its plot and its numbers, against the matrix that was written."""

import re
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from cxg.web.expression.names import join_names
from tests import cxgs
from tests.cxg_columns import ODD_COLUMNS, ODD_GENES
from tests.served import serve
from tests.tables import read_table

BASE = "/d/a.cxg/"
GENES = ["gene3", "gene0", *ODD_GENES]
NAMESPACE = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("expression")


@pytest.fixture(scope="module")
def written(root):
    return cxgs.build(root / "data" / "a.cxg", n_obs=120)


@pytest.fixture(scope="module")
def client(root, written):
    return serve(root / "data", root / "client")


def address(what, genes=("gene0",), by="label", **more):
    return f"{BASE}{what}?" + urlencode({"genes": join_names(genes), "by": by, **more})


def numbers(client, genes, by="label"):
    answer = client.get(address("expression.csv", genes, by))
    assert answer.status_code == 200, answer.text
    return read_table(answer.data)


@pytest.mark.parametrize("kind", cxgs.ALL_KINDS)
def test_numbers_of_every_kind_of_file(tmp_path, kind):
    truth = cxgs.build(tmp_path / "data" / "a.cxg", kind, n_obs=50)
    client = serve(tmp_path / "data", tmp_path / "client")
    check_numbers(truth, numbers(client, GENES), GENES)


def check_numbers(truth, table, genes):
    values = np.array(truth.obs["label"].values)
    labels = [label for label in truth.obs["label"].categories if (values == label).any()]
    expected = [(gene, label) for gene in genes for label in labels]
    assert [(row["gene"], row["label"]) for row in table.rows] == expected
    for row in table.rows:
        part = truth.X[values == row["label"], truth.genes.index(row["gene"])].astype(np.float64)
        assert int(row["cells"]) == len(part)
        np.testing.assert_allclose(float(row["mean"]), part.mean(), rtol=1e-12)
        assert float(row["fraction"]) == (part > 0).mean()


def test_numbers_say_where_they_come_from(client, written):
    answer = client.get(address("expression.csv", ["gene0", "nope, not", "gene0"]))
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="a-expression.csv"')
    table = read_table(answer.data)
    assert table.notes["dataset"] == "a.cxg"
    assert table.notes["title"] == "A corpora title"
    assert len(table.notes["version"]) >= 16
    assert table.notes["column"] == "label"
    assert table.notes["not in the dataset"] == "nope, not"
    assert {row["gene"] for row in table.rows} == {"gene0"}


@pytest.mark.parametrize("by", [*ODD_COLUMNS[:1], "flag", "missing", "score", "note", "many"])
def test_columns_of_every_kind(client, by):
    table = numbers(client, ["gene1"], by)
    assert table.rows
    left_out = int(table.notes.get("cells without a label, left out", 0))
    assert sum(int(row["cells"]) for row in table.rows) + left_out == 120


def test_the_page_shows_plot_numbers_and_missing_genes(client, written):
    answer = client.get(address("expression", ["gene3", "<b>nope</b>"]))
    assert answer.status_code == 200
    assert answer.content_type == "text/html; charset=utf-8"
    page = answer.text
    assert "Not in this dataset: &lt;b&gt;nope&lt;/b&gt;." in page
    assert 'src="expression.svg?genes=gene3%2C%3Cb%3Enope%3C%2Fb%3E&amp;by=label"' in page
    assert 'href="../../static/gallery/expression.css"' in page
    assert '<option value="label" selected>' in page
    rows = re.findall(r'<th scope="row">([^<]+)</th>\s*<td>([\d,]+)</td>\s*<td>(\S+) <span>(\S+) %', page)
    assert {row[0] for row in rows} == set(written.obs["label"].values) - {None}
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert " style=" not in page
    assert "<style" not in page


def test_the_page_asks_when_no_gene_is_named(client):
    page = client.get(f"{BASE}expression").text
    assert "Name genes to see" in page
    assert "<table" not in page
    assert '<option value="label" selected>' in page


def test_names_that_hurt_addresses_are_in_form_and_plot(client):
    page = client.get(address("expression", ODD_GENES)).text
    assert 'value="g\\,1,g:2,g 3,g%4,g&amp;5,é6,g+7,g&#34;8,g=9"' in page
    plot = client.get(address("expression.svg", ODD_GENES))
    texts = [text.text for text in ET.fromstring(plot.data).iter(f"{NAMESPACE}text")]
    assert set(ODD_GENES) <= set(texts)


def test_the_plot_has_a_dot_for_each_number(client):
    answer = client.get(address("expression.svg", GENES))
    assert answer.content_type == "image/svg+xml"
    assert answer.headers["Content-Disposition"].startswith('inline; filename="a-expression.svg"')
    picture = ET.fromstring(answer.data)
    expected = [row for row in numbers(client, GENES).rows if float(row["fraction"]) > 0]
    legend = 5
    dots = list(picture.iter(f"{NAMESPACE}circle"))
    assert len(dots) == len(expected) + legend
    by_area = sorted(float(dot.get("r")) ** 2 for dot in dots[: len(expected)])
    fractions = sorted(float(row["fraction"]) for row in expected)
    np.testing.assert_allclose(np.array(by_area) / 121, fractions, atol=0.01)
    assert not [one for one in picture.iter() if one.get("style") or one.tag == f"{NAMESPACE}style"]
    assert b"href" not in answer.data


def test_the_plot_of_a_gene_without_values(tmp_path):
    cxgs.build(tmp_path / "data" / "a.cxg", x_written=False)
    client = serve(tmp_path / "data", tmp_path / "client")
    answer = client.get(address("expression.svg"))
    assert answer.status_code in (200, 400)
    assert client.get(address("expression")).status_code == answer.status_code


def test_nan_in_the_matrix(tmp_path):
    cxgs.build(tmp_path / "data" / "a.cxg", nan=True)
    client = serve(tmp_path / "data", tmp_path / "client")
    rows = numbers(client, ["gene0"]).rows
    assert "" in {row["mean"] for row in rows}
    assert "–" in client.get(address("expression")).text
    assert client.get(address("expression.svg")).status_code == 200


@pytest.mark.parametrize("what", ["expression.svg", "expression.csv"])
@pytest.mark.parametrize(
    "query,status,says",
    [
        ("", 400, "Name genes"),
        ("genes=", 400, "Name genes"),
        ("genes=nope", 400, "nope"),
        ("genes=gene0&by=nope", 400, "nope"),
        ("genes=gene0&by=number", 400, "numeric"),
        ("genes=" + ",".join(f"x{i}" for i in range(33)), 400, "32"),
    ],
)
def test_bad_requests_get_a_sentence(client, what, query, status, says):
    answer = client.get(f"{BASE}{what}?{query}")
    assert answer.status_code == status
    assert says in answer.text
    assert "Traceback" not in answer.text


def test_bad_requests_of_the_page(client):
    assert client.get(f"{BASE}expression?genes=gene0&by=number").status_code == 400
    assert client.get("/d/none.cxg/expression?genes=gene0").status_code == 404
    assert client.get(f"{BASE}expression", headers={"Accept": "application/json"}).status_code == 406


def test_too_many_labels(root, written):
    client = serve(root / "data", root / "client", presentation={"max_categories": 2})
    answer = client.get(address("expression.csv"))
    assert answer.status_code == 400
    assert "more than 2 labels" in answer.text


def test_a_dataset_without_labels(tmp_path, monkeypatch):
    cxgs.build(tmp_path / "data" / "a.cxg", "0.0-dense")
    client = serve(tmp_path / "data", tmp_path / "client", presentation={"max_categories": 1})
    page = client.get(f"{BASE}expression?genes=gene0").text
    assert "no column of labels" in page
    assert client.get(f"{BASE}expression.csv?genes=gene0").status_code == 400


def test_lost_expression_is_explained(tmp_path):
    cxgs.build(tmp_path / "data" / "a.cxg", missing_commit="Xr")
    client = serve(tmp_path / "data", tmp_path / "client")
    answer = client.get(address("expression"))
    assert answer.status_code == 400
    assert "Xr" in answer.text


@pytest.mark.parametrize("what", ["expression", "expression.svg", "expression.csv"])
def test_answers_are_kept_and_revalidated(client, what):
    first = client.get(address(what))
    assert first.headers["Cache-Control"] == "public, no-cache"
    again = client.get(address(what), headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert client.get(address(what)).data == first.data


def test_values_are_read_once_for_page_plot_and_numbers(tmp_path, monkeypatch):
    from cxg.format.dataset import Dataset

    cxgs.build(tmp_path / "data" / "a.cxg")
    client = serve(tmp_path / "data", tmp_path / "client", {"CXG_CACHE_MB": "0"})
    read = []
    read_columns = Dataset.read_X_columns
    monkeypatch.setattr(Dataset, "read_X_columns", lambda *args: read.append(args) or read_columns(*args))
    for what in ("expression", "expression.svg", "expression.csv", "expression.svg"):
        assert client.get(address(what)).status_code == 200
    assert len(read) == 1


def test_room_is_reserved_before_values_are_read(tmp_path, monkeypatch):
    from cxg.format.dataset import Dataset
    from cxg.web.limits.admission import Admission

    n_obs, events = 2000, []
    cxgs.build(tmp_path / "data" / "a.cxg", n_obs=n_obs)
    reserve, read_columns = Admission.memory, Dataset.read_X_columns
    monkeypatch.setattr(Admission, "memory", lambda self, size: events.append(size) or reserve(self, size))
    monkeypatch.setattr(Dataset, "read_X_columns", lambda *args: events.append("read") or read_columns(*args))
    client = serve(tmp_path / "data", tmp_path / "client", {"CXG_CACHE_MB": "0"})
    assert client.get(address("expression.csv", ["gene0", "gene1", "gene2"])).status_code == 200
    before = events[: events.index("read")]
    assert max(before) >= 3 * 40 * n_obs


def test_a_single_dataset_has_the_page_too(root, written):
    from cxg.config import load
    from cxg.web.app import create_app
    from tests.served import stand_in_client

    app = create_app(load(f"single_dataset:\n  datapath: {written.path}\n", {}).config, stand_in_client(root / "one"))
    page = app.test_client().get("/expression?genes=gene0&by=label")
    assert page.status_code == 200
    assert 'href="./static/gallery/expression.css"' in page.text
    table = app.test_client().get("/expression.csv?genes=gene0&by=label")
    assert table.headers["Content-Disposition"].startswith('attachment; filename="expression.csv"')
    assert read_table(table.data).notes["dataset"] == "a.cxg"


def test_it_can_be_switched_off(root, written):
    client = serve(root / "data", root / "client", visit={"take_away": False})
    for what in ("expression", "expression.svg", "expression.csv"):
        assert client.get(address(what)).status_code == 404
