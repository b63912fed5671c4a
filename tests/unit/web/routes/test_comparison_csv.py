"""A comparison as a table: the same numbers as in the JSON answer, with names and origin; JSON stays as it was."""

import json

import numpy as np
import pytest

from tests import cxgs
from tests.cxg_columns import ODD_GENES
from tests.served import serve
from tests.tables import read_table

URL = "/d/T cells, β.cxg/api/v0.2/diffexp/obs"
CSV = {"Accept": "text/csv"}
N = 80


@pytest.fixture(scope="module", params=[False, True], ids=["logs", "counts"])
def written(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("tables")
    return cxgs.build(root / "data" / "T cells, β.cxg", n_obs=N, counts=request.param)


@pytest.fixture(scope="module")
def client(written):
    # Without decoded copies: one that is made between two requests would change last digits.
    return serve(written.path.parent, written.path.parents[1] / "client", {"CXG_CACHE_MB": "0"})


def ask(client, headers, count=100, first=range(30), second=range(30, 75)):
    sets = [{"filter": {"obs": {"index": list(cells)}}} for cells in (first, second)]
    body = {"mode": "topN", "count": count, "set1": sets[0], "set2": sets[1]}
    return client.post(URL, json=body, headers=headers)


@pytest.mark.parametrize("count", [3, 100])
def test_the_table_has_the_numbers_of_the_json_answer(client, written, count):
    found = ask(client, {}, count).json
    table = read_table(ask(client, CSV, count).data)
    expected = [
        (written.genes[gene], lfc, p, adjusted) for gene, lfc, p, adjusted in found["positive"] + found["negative"]
    ]
    assert len(expected) == min(2 * count, written.n_var)
    columns = ("log_fold_change", "p", "p_adjusted")
    assert [(row["gene"], *(float(row[name]) for name in columns)) for row in table.rows] == expected
    if count == 100:
        assert set(ODD_GENES) <= {row["gene"] for row in table.rows}


def test_means_and_direction(client, written):
    x = np.log1p(written.X.astype(np.float64)) if written.X.max() > 24 else written.X.astype(np.float64)
    for row in read_table(ask(client, CSV).data).rows:
        gene = written.genes.index(row["gene"])
        means = x[:30, gene].mean(), x[30:75, gene].mean()
        np.testing.assert_allclose([float(row["mean_set1"]), float(row["mean_set2"])], means, rtol=1e-9, atol=1e-12)
        lfc = float(row["log_fold_change"])
        np.testing.assert_allclose(lfc, means[0] - means[1], rtol=1e-6, atol=1e-9)
        assert row["higher_in"] == ("set1" if lfc > 0 else "set2" if lfc < 0 else "neither")


def test_the_origin_is_on_top(client, written):
    answer = ask(client, CSV)
    assert answer.status_code == 200
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Disposition"] == (
        "attachment; filename=\"T_cells_-comparison.csv\"; filename*=UTF-8''T%20cells%2C%20%CE%B2-comparison.csv"
    )
    notes = read_table(answer.data).notes
    assert notes["dataset"] == "T cells, β.cxg"
    assert notes["title"] == "A corpora title"
    assert (notes["cells in set1"], notes["cells in set2"]) == ("30", "45")
    assert ("ln(1 + x)" in notes["method"]) == (written.X.max() > 24)
    assert f"{written.n_var} genes" in notes["method"]
    assert len(notes["version"]) >= 16


@pytest.mark.parametrize("accept", [None, "application/json", "*/*", "text/html", "application/json, text/csv;q=0.9"])
def test_everyone_else_gets_json(client, accept):
    answer = ask(client, {} if accept is None else {"Accept": accept})
    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert "Content-Disposition" not in answer.headers
    assert set(json.loads(answer.data)) == {"positive", "negative"}


def test_errors_are_json_all_the_same(client):
    answer = ask(client, CSV, first=())
    assert answer.status_code == 400
    assert "set1" in answer.json["message"]
