"""Marker genes of the labels: the same genes as a comparison of each label with all other cells gives."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from cxg.web.services import Services
from tests import cxgs
from tests.served import serve

API = "/d/a.cxg/api/v0.2/"


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> cxgs.Truth:
    return cxgs.build(tmp_path_factory.mktemp("markers") / "data" / "a.cxg", n_obs=200, n_var=30)


@pytest.fixture(scope="module")
def client(truth: cxgs.Truth, tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    folder = tmp_path_factory.mktemp("site")
    environment = {"CXG_CACHE_DIR": str(folder / "cache"), "CXG_CACHE_MB": "64"}
    made = serve(truth.path.parent, folder / "client", environment)
    site: Services = made.application.extensions["cxg"]
    site.decoded.make("a.cxg")
    return made


def compared(client: FlaskClient, cells: list[int], others: list[int], count: int) -> list[list[float]]:
    """Positions and figures of the genes that are higher in some cells, by the route of comparisons."""
    sets = {"set1": cells, "set2": others}
    body = {name: {"filter": {"obs": {"index": positions}}} for name, positions in sets.items()}
    answer = client.post(f"{API}diffexp/obs", json={"mode": "topN", "count": count, **body})
    positive: list[list[float]] = json.loads(answer.data)["positive"]
    return [entry for entry in positive if entry[1] > 0 and entry[3] <= 0.05]


@pytest.mark.parametrize("count", [1, 10])
def test_each_set_has_the_genes_of_a_comparison_with_the_rest(
    client: FlaskClient, truth: cxgs.Truth, count: int
) -> None:
    found = json.loads(client.get(f"{API}markers?by=label&count={count}").data)
    assert found["by"] == "label"
    values = np.array(truth.obs["label"].values, object)
    sets = {one["geneset_name"]: [gene["gene_symbol"] for gene in one["genes"]] for one in found["genesets"]}
    for label in {str(value) for value in values}:
        inside = np.flatnonzero(values == label).tolist()
        outside = np.flatnonzero(values != label).tolist()
        expected = [truth.genes[int(entry[0])] for entry in compared(client, inside, outside, count)]
        assert sets.get(f"{label} (label)", []) == expected


def test_without_a_column_one_is_chosen(client: FlaskClient) -> None:
    assert json.loads(client.get(f"{API}markers").data)["by"] == "label"


@pytest.mark.parametrize(
    "query, status, said",
    [
        ("by=nothing", 400, "There is no column called 'nothing' in obs."),
        ("by=name_0", 501, "Markers need sums over the cells of each label"),
        ("count=0", 400, "'count' must be a whole number from 1 to 100, not '0'."),
        ("count=many", 400, "'count' must be a whole number from 1 to 100, not 'many'."),
    ],
)
def test_what_cannot_be_had_is_said(client: FlaskClient, query: str, status: int, said: str) -> None:
    answer = client.get(f"{API}markers?{query}")
    assert answer.status_code == status
    assert said in json.loads(answer.data)["message"]


def test_a_dataset_without_sums_says_that_they_may_come(truth: cxgs.Truth, tmp_path: Path) -> None:
    client = serve(truth.path.parent, tmp_path / "client")
    answer = client.get(f"{API}markers")
    assert answer.status_code == 501
    assert "or not yet: try again in some minutes" in json.loads(answer.data)["message"]


def test_no_markers_where_comparisons_are_off(truth: cxgs.Truth, tmp_path: Path) -> None:
    client = serve(truth.path.parent, tmp_path / "client", diffexp={"enable": False})
    assert client.get(f"{API}markers").status_code == 501
