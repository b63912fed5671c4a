"""Real CXGs written by other software list, serve and decode; skipped only where the folder is absent."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from flask.testing import FlaskClient

from tests.decode import Matrix, decode
from tests.served import serve

BINARY = {"Accept": "application/octet-stream"}
# name: cells, genes
DATASETS = {
    "liver.cxg": (146, 33452),
    "schema_2_0_0.cxg": (344, 15585),
    "sparse_2d.cxg": (2000, 2000),
    "nan_a.cxg": (100, 100),
    "nan_b.cxg": (100, 100),
    "many_categories.cxg": (300, 2),
    "pbmc3k_without_X.cxg": (2638, 1838),
}
WITH_X = [name for name in DATASETS if name != "pbmc3k_without_X.cxg"]


@pytest.fixture(scope="module")
def client(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    return serve(shared_data, tmp_path_factory.mktemp("client"))


def api(client: FlaskClient, dataset: str, route: str, status: int = 200):
    response = client.get(f"/d/{dataset}/api/v0.2/{route}", headers=BINARY if "?" in route or "layout" in route else {})
    assert response.status_code == status, (dataset, route, response.data[:300])
    return response


def schema_of(client: FlaskClient, dataset: str) -> dict:
    return json.loads(api(client, dataset, "schema").data)["schema"]


def matrix(client: FlaskClient, dataset: str, route: str) -> Matrix:
    return decode(api(client, dataset, route).data)


def column(client: FlaskClient, dataset: str, axis: str, name: str):
    return matrix(client, dataset, f"annotations/{axis}?annotation-name={quote(name, safe='')}").columns[0].values


def genes(client: FlaskClient, dataset: str) -> list[str]:
    return column(client, dataset, "var", schema_of(client, dataset)["annotations"]["var"]["index"])


def gene_route(client: FlaskClient, dataset: str, gene: str) -> str:
    index = schema_of(client, dataset)["annotations"]["var"]["index"]
    return f"data/var?var:{quote(quote(index))}={quote(quote(gene, safe=''))}"


def test_the_folder_holds_what_is_tested_here(shared_data: Path) -> None:
    assert sorted(path.name for path in shared_data.glob("*.cxg")) == sorted(DATASETS)


def test_every_dataset_is_listed(client: FlaskClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    for name in DATASETS:
        assert f'd/{name}/"'.encode() in page.data


@pytest.mark.parametrize("dataset", DATASETS)
def test_schema_has_the_size_and_only_types_the_client_knows(client: FlaskClient, dataset: str) -> None:
    schema = schema_of(client, dataset)
    assert (schema["dataframe"]["nObs"], schema["dataframe"]["nVar"]) == DATASETS[dataset]
    assert schema["dataframe"]["type"] == "float32"
    for axis in ("obs", "var"):
        columns = schema["annotations"][axis]["columns"]
        assert schema["annotations"][axis]["index"] in [column["name"] for column in columns]
        assert {column["type"] for column in columns} <= {"string", "categorical", "boolean", "int32", "float32"}
    assert schema["layout"]["obs"]


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("axis", ["obs", "var"])
def test_every_column_decodes_and_agrees_with_the_schema(client: FlaskClient, dataset: str, axis: str) -> None:
    n = DATASETS[dataset][0 if axis == "obs" else 1]
    for entry in schema_of(client, dataset)["annotations"][axis]["columns"]:
        values = column(client, dataset, axis, entry["name"])
        assert len(values) == n, entry
        if entry["type"] in ("int32", "float32", "boolean"):
            assert isinstance(values, np.ndarray), entry
        if "categories" in entry:
            assert set(values) <= {*entry["categories"], None}, entry["name"]


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_embedding_lies_in_the_unit_square(client: FlaskClient, dataset: str) -> None:
    for embedding in schema_of(client, dataset)["layout"]["obs"]:
        answer = matrix(client, dataset, f"layout/obs?layout-name={quote(embedding['name'])}")
        assert list(answer.labels) == embedding["dims"]
        xy = np.stack([column.values for column in answer.columns])
        assert xy.shape == (2, DATASETS[dataset][0])
        assert np.nanmin(xy) >= -1e-6
        assert np.nanmax(xy) <= 1 + 1e-6
        assert np.nanmax(np.nanmax(xy, axis=1) - np.nanmin(xy, axis=1)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("dataset", DATASETS)
def test_config_colors_and_genesets_answer(client: FlaskClient, dataset: str) -> None:
    config = json.loads(api(client, dataset, "config").data)["config"]
    assert config["displayNames"]["dataset"]
    assert json.loads(api(client, dataset, "genesets").data)["tid"] == 0
    for name, table in json.loads(api(client, dataset, "colors").data).items():
        labels = {"null" if value is None else str(value) for value in column(client, dataset, "obs", name)}
        assert labels <= set(table)
        assert all(len(value) == 7 and value[0] == "#" for value in table.values())


@pytest.mark.parametrize("dataset", WITH_X)
def test_genes_means_and_differential_expression(client: FlaskClient, dataset: str) -> None:
    n_obs, n_var = DATASETS[dataset]
    names = genes(client, dataset)
    columns = []
    for gene in (names[0], names[-1], names[n_var // 2]):
        answer = matrix(client, dataset, gene_route(client, dataset, gene))
        assert names[answer.labels[0]] == gene
        columns.append(answer.columns[0].values)
        assert columns[-1].dtype == np.float32
        assert len(columns[-1]) == n_obs
    routes = [gene_route(client, dataset, gene).partition("?")[2] for gene in (names[0], names[-1])]
    mean = matrix(client, dataset, f"summarize/var?method=mean&{'&'.join(routes)}").columns[0].values
    np.testing.assert_allclose(mean, (columns[0] + columns[1]) / 2, rtol=1e-6)
    half = n_obs // 2
    request = {"mode": "topN", "count": 50}
    request |= {f"set{i + 1}": {"filter": {"obs": {"index": [[i * half, (i + 1) * half]]}}} for i in (0, 1)}
    response = client.post(f"/d/{dataset}/api/v0.2/diffexp/obs", json=request)
    assert response.status_code == 200
    result = json.loads(response.data, parse_constant=pytest.fail)
    found = [entry[0] for side in ("positive", "negative") for entry in result[side]]
    assert len(set(found)) == len(found) == min(100, n_var)


def test_the_same_matrix_dense_and_sparse_gives_the_same_bytes(client: FlaskClient) -> None:
    names = genes(client, "nan_a.cxg")
    assert names == genes(client, "nan_b.cxg")
    holes = 0
    for gene in names:
        route = gene_route(client, "nan_a.cxg", gene)
        body = api(client, "nan_a.cxg", route).data
        assert body == api(client, "nan_b.cxg", route).data
        holes += int(np.isnan(decode(body).columns[0].values).sum())
    assert holes == 2556


def test_nan_in_expression_leaves_strict_json(client: FlaskClient) -> None:
    request = {
        "mode": "topN",
        "count": 10,
        "set1": {"filter": {"obs": {"index": [[0, 50]]}}},
        "set2": {"filter": {"obs": {"index": [[50, 100]]}}},
    }
    answers = [client.post(f"/d/{name}/api/v0.2/diffexp/obs", json=request) for name in ("nan_a.cxg", "nan_b.cxg")]
    assert answers[0].status_code == 200
    for answer in answers:
        json.loads(answer.data, parse_constant=pytest.fail)
    assert [row[0] for row in json.loads(answers[0].data)["positive"]] == [
        row[0] for row in json.loads(answers[1].data)["positive"]
    ]


def test_a_dataset_without_expression_draws_and_says_so(client: FlaskClient) -> None:
    dataset = "pbmc3k_without_X.cxg"
    louvain = column(client, dataset, "obs", "louvain")
    assert louvain[:5] == ["CD4 T cells", "B cells", "CD4 T cells", "CD14+ Monocytes", "NK cells"]
    assert column(client, dataset, "obs", "n_genes")[:5].tolist() == [781, 1352, 1131, 960, 522]
    assert column(client, dataset, "obs", "percent_mito")[:2] == pytest.approx([0.030177759, 0.037935957])
    assert genes(client, dataset)[:5] == ["TNFRSF4", "CPSF3L", "ATAD3C", "C1orf86", "RER1"]
    umap = matrix(client, dataset, "layout/obs?layout-name=umap")
    assert umap.columns[0].values[:3] == pytest.approx([0.75757861, 0.63898337, 0.81024277], abs=1e-6)
    assert umap.columns[1].values[:3] == pytest.approx([0.50606281, 0.86952668, 0.34341675], abs=1e-6)
    assert json.loads(api(client, dataset, "colors").data)["louvain"]["B cells"] == "#2ca02c"
    assert json.loads(api(client, dataset, "config").data)["config"]["parameters"]["disable-diffexp"] is True

    sets = {f"set{i}": {"filter": {"obs": {"index": [i]}}} for i in (1, 2)}
    for response in (
        api(client, dataset, gene_route(client, dataset, "RER1"), 400),
        api(client, dataset, "summarize/var?method=mean&var:name_0=RER1", 400),
        client.post(f"/d/{dataset}/api/v0.2/diffexp/obs", json={"mode": "topN", "count": 5, **sets}),
    ):
        assert response.status_code == 400
        sentence = json.loads(response.data)["message"]
        assert "expression" in sentence
        assert "missing" in sentence
        assert "shared" not in sentence
    assert api(client, dataset, "layout/obs").data  # and goes on serving


def test_the_list_says_that_expression_is_missing(client: FlaskClient) -> None:
    page = client.get("/").data.decode()
    card = page[page.index('d/pbmc3k_without_X.cxg/"') :][:2000]
    assert "expression" in card.lower()


def test_colors_of_the_real_pbmc3k(client: FlaskClient) -> None:
    table = json.loads(api(client, "pbmc3k_without_X.cxg", "colors").data)["louvain"]
    assert {label: table[label] for label in ("NK cells", "Megakaryocytes")} == {
        "NK cells": "#9467bd",
        "Megakaryocytes": "#bcbd22",
    }


def test_titles_are_the_ones_meant_for_people(client: FlaskClient) -> None:
    # This file's own title is `local`; the one for people is in its corpora entry.
    config = json.loads(api(client, "schema_2_0_0.cxg", "config").data)["config"]
    assert config["displayNames"]["dataset"] != "local"
    assert schema_of(client, "schema_2_0_0.cxg")["annotations"]["var"]["index"] == "feature_name"


def test_reading_changes_no_file(client: FlaskClient, shared_data: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in shared_data.rglob("*")}
    for dataset in DATASETS:
        api(client, dataset, "schema")
        client.get(f"/d/{dataset}/")
    assert {path: path.stat().st_mtime_ns for path in shared_data.rglob("*")} == before
