"""What a description changes in the client's answers, and that it changes nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask.testing import FlaskClient

from cxg.datasets.opening import Times
from tests import cxgs
from tests.served import serve

API = "/d/a.cxg/api/v0.2/"
CSV = "gene_set_name,gene_set_description,gene_symbol,gene_description\nMine,by hand,gene1,\nMine,,nothing,\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    cxgs.build(folder / "a.cxg", n_obs=25, genesets=True)
    return folder


@pytest.fixture
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=0.0)


@pytest.fixture
def client(root: Path, tmp_path: Path, clock: SimpleNamespace) -> FlaskClient:
    return serve(root, tmp_path / "client", times=Times(check_s=3600, most_check_s=3600, clock=lambda: clock.now))


def ask(client: FlaskClient, route: str, **headers: str) -> tuple[bytes, str]:
    answer = client.get(API + route, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.data, answer.headers["ETag"]


DATA = ("schema", "colors", "layout/obs", "annotations/obs?annotation-name=label", "data/var?var:name_0=gene1")


def test_title_and_gene_sets_follow_the_description_and_no_data_does(
    client: FlaskClient, root: Path, clock: SimpleNamespace
) -> None:
    before = {route: ask(client, route) for route in (*DATA, "config", "genesets")}
    (root / "a.yaml").write_text("title: Said\ngene_sets: mine.csv\n")
    (root / "mine.csv").write_text(CSV)
    clock.now += 20
    assert {route: ask(client, route) for route in DATA} == {route: before[route] for route in DATA}
    config, genesets = (client.get(API + route) for route in ("config", "genesets"))
    assert config.json["config"]["displayNames"]["dataset"] == "Said"
    assert config.json["config"]["corpora_props"]["title"] == "Said"
    assert config.headers["ETag"] != before["config"][1]
    assert genesets.json == {
        "genesets": [
            {
                "geneset_name": "Mine",
                "geneset_description": "by hand",
                "genes": [{"gene_symbol": "gene1", "gene_description": ""}],
            }
        ],
        "tid": 0,
    }
    assert genesets.headers["ETag"] != before["genesets"][1]
    assert ask(client, "genesets", Accept="text/csv")[0].decode().splitlines()[1:] == ["Mine,by hand,gene1,"]
    assert "Mine" in client.get("/d/a.cxg/about").text
    (root / "a.yaml").unlink()
    clock.now += 20
    assert {route: ask(client, route) for route in before} == before


def test_the_page_of_the_client_knows_title_view_and_the_page_about_it(
    client: FlaskClient, root: Path, clock: SimpleNamespace
) -> None:
    (root / "a.yaml").write_text("title: Said\nview:\n  gene: [gene1, gene2]\n  color: label\n")
    first = client.get("/d/a.cxg/")
    block = first.text.partition('id="cxg-visit">')[2].partition("</script>")[0]
    data = json.loads(block)
    assert (data["title"], data["about"]) == ("Said", "about")
    assert data["view"] == {"gene": ["gene1", "gene2"], "color": ["label"]}
    (root / "a.yaml").write_text("title: Other\n")
    clock.now += 20
    assert client.get("/d/a.cxg/", headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_a_faulty_description_costs_nothing_else(client: FlaskClient, root: Path) -> None:
    (root / "a.yaml").write_text("title: [oops]\nview: ?\ngene_sets: none.csv\n")
    assert client.get(f"{API}config").json["config"]["displayNames"]["dataset"] == "A corpora title"
    assert client.get(f"{API}genesets").json["genesets"]
    assert client.get("/d/a.cxg/").status_code == 200
    assert client.get("/d/a.cxg/about").status_code == 200


def test_a_description_beside_a_single_dataset_is_used(root: Path, tmp_path: Path) -> None:
    (root / "a.yaml").write_text("title: Said\n")
    client = serve(
        "", tmp_path / "client", single_dataset={"datapath": str(root / "a.cxg")}, multi_dataset={"dataroot": None}
    )
    assert client.get("/api/v0.2/config").json["config"]["displayNames"]["dataset"] == "Said"


def test_the_start_page_and_the_page_of_the_dataset_in_the_whole_application(client: FlaskClient, root: Path) -> None:
    (root / "a.yaml").write_text("title: Said\norganism: Homo sapiens\n")
    assert "Said" in client.get("/").text
    assert client.get("/catalog.json").json["datasets"][0]["organism"] == ["Homo sapiens"]
    about = client.get("/d/a.cxg/about")
    assert "Homo sapiens" in about.text
    assert about.headers["X-Content-Type-Options"] == "nosniff"
    shutil.rmtree(root / "a.cxg")
    assert client.get("/d/b.cxg/about").status_code == 404
