"""Schema, config, colours, gene sets and health, compared with what was written."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiledb
from flask.testing import FlaskClient

from cxg import __version__
from cxg.errors import DatasetInvalid, StorageUnavailable
from cxg.format.annotations import Annotations
from cxg.web.readiness import Readiness
from tests import cxgs
from tests.served import put_parts, serve

API = "/d/a.cxg/api/v0.2/"
LABELS = ["T/NK cells", "B cells", "CD14+ Mo", "unused"]
Ask = Callable[..., Any]
COMPLETE = {label: f"#0{i}0000" for i, label in enumerate(LABELS)}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> cxgs.Truth:
    return cxgs.build(tmp_path_factory.mktemp("meta") / "data" / "a.cxg", n_obs=25, genesets=True)


@pytest.fixture(scope="module")
def client(truth: cxgs.Truth) -> FlaskClient:
    return serve(truth.path.parent, truth.path.parents[1] / "client")


@pytest.fixture
def asked(truth: cxgs.Truth, tmp_path: Path) -> Callable[..., Any]:
    """Ask one route, with settings and a colour table of the test's own."""

    def ask(route: str, colors: object = None, **settings: object) -> Any:
        dataroot = truth.path.parent
        if colors is not None:
            dataroot = tmp_path / "data"
            shutil.copytree(truth.path, dataroot / "a.cxg", dirs_exist_ok=True)
            with tiledb.open(str(dataroot / "a.cxg" / "cxg_group_metadata"), "w") as array:
                array.meta["cxg_category_colors"] = json.dumps(colors)
        response = serve(dataroot, tmp_path / "client", **settings).get(API + route)
        assert response.status_code == 200, response.data
        return response.json

    return ask


# Schema


def test_schema_has_sizes_and_embeddings(client: FlaskClient, truth: cxgs.Truth) -> None:
    schema = client.get(f"{API}schema").json["schema"]
    assert schema["dataframe"] == {"nObs": truth.n_obs, "nVar": truth.n_var, "type": "float32"}
    layouts = {entry["name"]: entry for entry in schema["layout"]["obs"]}
    assert set(layouts) == set(truth.embeddings)
    assert layouts["pca"] == {"name": "pca", "type": "float32", "dims": ["pca_0", "pca_1"]}


@pytest.mark.parametrize("axis", ["obs", "var"])
def test_schema_names_every_column_with_type_and_labels(client: FlaskClient, truth: cxgs.Truth, axis: str) -> None:
    found = client.get(f"{API}schema").json["schema"]["annotations"][axis]
    assert found["index"] == getattr(truth, f"{axis}_index")
    columns = {column["name"]: column for column in found["columns"]}
    written = getattr(truth, axis)
    assert set(columns) == set(written)
    for name, column in written.items():
        assert columns[name]["type"] == column.type, name
        assert columns[name]["writable"] is False
        if column.categories is not None:
            assert sorted(columns[name]["categories"]) == sorted(column.categories)


def test_embeddings_are_offered_in_the_order_of_the_configuration(asked: Ask) -> None:
    chosen = {"embeddings": {"names": ["pca", "nope", "umap"]}}
    schema = asked("schema", **chosen)["schema"]
    assert [entry["name"] for entry in schema["layout"]["obs"]] == ["pca", "umap"]
    assert asked("config", **chosen)["config"]["parameters"]["default_embedding"] == "pca"


# Config


def test_config_of_a_read_only_server(client: FlaskClient, truth: cxgs.Truth) -> None:
    config = client.get(f"{API}config").json["config"]
    parameters = config["parameters"]
    assert config["displayNames"] == {"engine": "cellxgene-eb", "dataset": truth.title}
    assert config["links"] == {"about-dataset": truth.about}
    assert __version__ in config["library_versions"]["cellxgene"]
    assert (parameters["obs_names"], parameters["var_names"]) == (truth.obs_index, truth.var_index)
    assert parameters["default_embedding"] == truth.default_embedding
    assert parameters["annotations"] is False
    assert parameters["disable-diffexp"] is False
    assert config["limits"] == {"column_request_max": 32, "diffexp_cellcount_max": None}
    # The client takes null for a value that was set.
    assert None not in parameters.values()
    assert "about_legal_tos" not in parameters


def test_config_carries_the_operators_settings(asked: Ask) -> None:
    config = asked(
        "config",
        server={"about_legal_tos": "/tos.html", "about_legal_privacy": "https://example.org/privacy"},
        presentation={"max_categories": 7, "custom_colors": False},
        diffexp={"lfc_cutoff": 0.5},
        limits={"column_request_max": 5, "diffexp_cellcount_max": 100},
    )["config"]
    parameters = config["parameters"]
    assert (parameters["about_legal_tos"], parameters["about_legal_privacy"]) == (
        "/tos.html",
        "https://example.org/privacy",
    )
    assert (parameters["max-category-items"], parameters["custom_colors"]) == (7, False)
    assert parameters["diffexp_lfc_cutoff"] == 0.5
    assert config["limits"] == {"column_request_max": 5, "diffexp_cellcount_max": 100}


def test_title_and_link_of_one_dataset_are_not_those_of_all(asked: Ask, truth: cxgs.Truth, tmp_path: Path) -> None:
    single = {"title": "Mine", "about": "https://example.org/mine"}
    config = asked("config", single_dataset=single)["config"]
    assert (config["displayNames"]["dataset"], config["links"]["about-dataset"]) == (truth.title, truth.about)
    alone = {"multi_dataset": {"dataroot": None}, "single_dataset": {**single, "datapath": str(truth.path)}}
    config = serve("", tmp_path / "client", **alone).get("/api/v0.2/config").json["config"]
    assert (config["displayNames"]["dataset"], config["links"]["about-dataset"]) == (single["title"], single["about"])


def test_differential_expression_can_be_switched_off(asked: Ask) -> None:
    assert asked("config", diffexp={"enable": False})["config"]["parameters"]["disable-diffexp"] is True


def test_a_dataset_without_expression_or_default_embedding_says_so(tmp_path: Path) -> None:
    cxgs.build(tmp_path / "data" / "a.cxg", n_obs=5, missing_commit="Xr", default_embedding="X_absent")
    response = serve(tmp_path / "data", tmp_path / "client").get(f"{API}config")
    parameters = response.json["config"]["parameters"]
    assert parameters["disable-diffexp"] is True
    assert "default_embedding" not in parameters


# Colours


def test_a_complete_colour_table_is_given_with_colours_for_missing_labels(asked: Ask) -> None:
    found = asked("colors", {"label": COMPLETE})
    assert list(found) == ["label"]
    assert {label: found["label"][label] for label in LABELS} == COMPLETE
    assert set(found["label"]) - set(LABELS) == {"null", "NaN"}


@pytest.mark.parametrize(
    "table",
    [
        {"label": {label: COMPLETE[label] for label in LABELS[:-1]}},
        {"no such column": {"a": "#000000"}},
        {"number": {"1": "#000000"}},
        {"label": {}},
    ],
    ids=["a label without colour", "no column", "numbers", "empty"],
)
def test_a_table_that_would_leave_a_label_without_colour_is_left_out(asked: Ask, table: dict) -> None:
    assert asked("colors", table) == {}


def test_colours_of_a_boolean_use_the_clients_names(asked: Ask) -> None:
    table = {"true": "#00ff00", "false": "#ff0000"}
    found = asked("colors", {"flag": table})
    assert table.items() <= found["flag"].items()
    assert asked("colors", {"flag": {"True": "#00ff00", "False": "#ff0000"}}) == {}


def test_numeric_categories_use_their_shortest_name(asked: Ask) -> None:
    table = {"0": "#000000", "0.5": "#111111", "1": "#222222", "NaN": "#333333"}
    assert asked("colors", {"score": table})["score"] == {**table, "null": "#c0c0c0"}


def test_a_long_table_has_a_colour_for_the_rest(asked: Ask) -> None:
    found = asked("colors", {"label": COMPLETE}, presentation={"max_categories": 3})
    assert "label: all other labels" in found["label"]


@pytest.fixture
def text_columns(tmp_path: Path) -> tuple[cxgs.Truth, FlaskClient]:
    """A dataset whose labels are stored as text, so that the colours need a look at them, and a client of it."""
    truth = cxgs.build(tmp_path / "data" / "a.cxg", kind="0.2.0-dense")
    return truth, serve(tmp_path / "data", tmp_path / "client")


def failing_once(monkeypatch: pytest.MonkeyPatch, failure: Callable[[], Exception]) -> None:
    """The first read of a column fails, after `failure` was called for the reason."""
    right, calls = Annotations.read, []

    def read(self: Annotations, name: str) -> Any:
        calls.append(name)
        if len(calls) == 1:
            raise failure()
        return right(self, name)

    monkeypatch.setattr(Annotations, "read", read)


def test_a_damaged_column_loses_its_colours_and_no_other(
    text_columns: tuple[cxgs.Truth, FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, client = text_columns
    flags = {"true": "#00ff00", "false": "#ff0000"}
    with tiledb.open(str(truth.path / "cxg_group_metadata"), "w") as array:
        array.meta["cxg_category_colors"] = json.dumps({**truth.colors, "flag": flags})
    right = Annotations.read

    def read(self: Annotations, name: str) -> Any:
        if name == "label":
            raise DatasetInvalid("Column 'label' cannot be read.")
        return right(self, name)

    monkeypatch.setattr(Annotations, "read", read)
    response = client.get(f"{API}colors")
    assert response.status_code == 200
    assert list(response.json) == ["flag"]


def test_colours_of_a_dataset_that_is_replaced_meanwhile_are_the_new_ones(
    text_columns: tuple[cxgs.Truth, FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, client = text_columns
    new = dict.fromkeys(truth.colors["label"], "#123456")

    def replaced() -> Exception:
        shutil.rmtree(truth.path)
        cxgs.build(truth.path, kind="0.2.0-dense", seed=1, colors={"label": new})
        return DatasetInvalid("Column 'label' cannot be read.")

    failing_once(monkeypatch, replaced)
    assert new.items() <= client.get(f"{API}colors").json["label"].items()


def test_colours_are_not_forgotten_because_the_storage_was_away(
    text_columns: tuple[cxgs.Truth, FlaskClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, client = text_columns
    failing_once(monkeypatch, lambda: StorageUnavailable("The storage did not answer."))
    assert client.get(f"{API}colors").status_code == 503
    assert truth.colors["label"].items() <= client.get(f"{API}colors").json["label"].items()


def test_colours_can_be_switched_off(asked: Ask) -> None:
    assert asked("colors", {"label": COMPLETE}, presentation={"custom_colors": False}) == {}


# Gene sets


def write_genesets(path: Path, stored: object) -> None:
    with tiledb.open(str(path / "obs"), "w") as array:
        array.meta["genesets"] = json.dumps(stored)


def test_gene_sets_as_json(client: FlaskClient, truth: cxgs.Truth) -> None:
    assert client.get(f"{API}genesets").json == {"genesets": truth.genesets, "tid": 0}


def test_gene_sets_as_csv_hold_the_same(client: FlaskClient, truth: cxgs.Truth) -> None:
    response = client.get(f"{API}genesets", headers={"Accept": "text/csv"})
    assert response.content_type == "text/csv"
    assert "genesets.csv" in response.headers["Content-Disposition"]
    rows = list(csv.DictReader(io.StringIO(response.text, newline="")))
    for one in truth.genesets:
        symbols = [row["gene_symbol"] for row in rows if row["gene_set_name"] == one["geneset_name"]]
        assert symbols == ([gene["gene_symbol"] for gene in one["genes"]] or [""])
    # One address, two kinds of answer: neither may stand in for the other.
    assert client.get(f"{API}genesets").content_type == "application/json"


@pytest.mark.parametrize(
    "accept, kind",
    [
        *((None, "application/json"), ("*/*", "application/json"), ("application/json, text/csv", "application/json")),
        *(
            ("text/csv, application/json;q=0.1", "text/csv"),
            ("text/*", "text/csv"),
            ("text/csv, */*;q=0.5", "text/csv"),
        ),
        *(("text/csv;q=0, */*", "application/json"), ("application/json;q=0, */*", "text/csv")),
        ("image/png", None),
    ],
)
def test_gene_sets_are_sent_in_the_preferred_form(client: FlaskClient, accept: str, kind: str | None) -> None:
    response = client.get(f"{API}genesets", headers={"Accept": accept} if accept else {})
    if kind is None:
        assert response.status_code == 406
    else:
        assert response.content_type == kind
        assert response.vary.to_header() == "Accept-Encoding, Accept"


def test_odd_gene_sets_survive_both_forms(tmp_path: Path) -> None:
    path = cxgs.build(tmp_path / "data" / "a.cxg", n_obs=5).path
    name = 'a, "b"\nc'
    genes = ["gene1", "not measured", "gene1", 'g"8', {"gene_symbol": "g,1", "gene_description": "d;e,f"}]
    write_genesets(path, {name: {"geneset_description": "=1+1", "genes": genes}, "bad": 5})
    client = serve(tmp_path / "data", tmp_path / "client")
    (found,) = client.get(f"{API}genesets").json["genesets"]
    assert found["geneset_name"] == name
    assert [gene["gene_symbol"] for gene in found["genes"]] == ["gene1", 'g"8', "g,1"]
    text = client.get(f"{API}genesets", headers={"Accept": "text/csv"}).text
    rows = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert rows == [[name, "=1+1", "gene1", ""], [name, "=1+1", 'g"8', ""], [name, "=1+1", "g,1", "d;e,f"]]


@pytest.mark.parametrize("stored", [None, "[]", "{}", 5])
def test_no_gene_sets(tmp_path: Path, stored: object) -> None:
    path = cxgs.build(tmp_path / "data" / "a.cxg", n_obs=5).path
    if stored is not None:
        write_genesets(path, stored)
    client = serve(tmp_path / "data", tmp_path / "client")
    assert client.get(f"{API}genesets").json == {"genesets": [], "tid": 0}
    text = client.get(f"{API}genesets", headers={"Accept": "text/csv"}).text
    assert text == "gene_set_name,gene_set_description,gene_symbol,gene_description\r\n"


# Health


def test_health_reports_a_missing_dataroot_and_its_return(tmp_path: Path) -> None:
    client = serve(tmp_path / "data", tmp_path / "client")
    catalog = client.application.extensions["cxg"].catalog
    put_parts(client.application, readiness=Readiness(catalog, ttl_s=0.0))
    for path in ("/health", "/health/ready"):
        response = client.get(path)
        assert response.status_code == 503
        assert response.json["status"] == "fail"
        assert response.json["output"].startswith("The dataroot cannot be listed")
        assert str(tmp_path) not in response.text
    assert client.get("/health/live").json["status"] == "pass"
    (tmp_path / "data").mkdir()
    response = client.get("/health")
    assert (response.status_code, response.content_type) == (200, "application/health+json")
    assert response.headers["Cache-Control"] == "no-store"
    assert "output" not in response.json


# Without expression

NO_X: dict[str, tuple[dict[str, object], tuple[str, ...], str]] = {
    "lost commit": ({"missing_commit": "Xr"}, (), "expression data is missing"),
    "half lost": ({}, ("Xc",), "The expression data is lost: Xr is there, but Xc is missing"),
    "never written": ({"x_written": False}, (), "Xr is there, but it was never written"),
    "none": ({}, ("Xr", "Xc"), "was made without expression data"),
}


@pytest.mark.parametrize("what", NO_X)
def test_without_expression_no_gene_set_is_offered_and_the_page_says_why(tmp_path: Path, what: str) -> None:
    options, lost, said = NO_X[what]
    path = cxgs.build(tmp_path / "data" / "a.cxg", n_obs=5, genesets=True, **options).path  # type: ignore[arg-type]
    for name in lost:
        shutil.rmtree(path / name)
    client = serve(tmp_path / "data", tmp_path / "client")
    assert client.get(f"{API}genesets").json == {"genesets": [], "tid": 0}
    page = client.get("/d/a.cxg/").text
    assert said in page
    assert '<div id="root"></div>' in page


def test_with_expression_the_page_has_no_notice(client: FlaskClient) -> None:
    assert "Genes cannot be shown" not in client.get("/d/a.cxg/").text
