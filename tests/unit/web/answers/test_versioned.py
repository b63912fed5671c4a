"""Addresses of one version of a dataset: kept for good, and refused once the files are others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cxg.datasets.opening import USUAL_TIMES, Times
from cxg.web.answers.versioned import versioned_api
from cxg.web.headers import IMMUTABLE, NO_STORE, REVALIDATE
from cxg.web.services import Services
from tests import cxgs
from tests.served import serve

NAME = "T cells, 50% (β).cxg"
BELOW = f"/d/{NAME.replace('%', '%25')}/"
PLAIN = f"{BELOW}api/v0.2/"
# What follows the description of a dataset too.
DESCRIBED_ROUTES = ["config", "genesets"]
DATA_ROUTES = [
    "schema",
    "colors",
    "annotations/obs?annotation-name=name_0",
    "layout/obs?layout-name=umap",
    "data/var?var:name_0=gene1",
    "summarize/var?method=mean&var:name_0=gene1",
]
COMPARISON = {
    "mode": "topN",
    "count": 3,
    "set1": {"filter": {"obs": {"index": [[0, 5]]}}},
    "set2": {"filter": {"obs": {"index": [[5, 12]]}}},
}


def make_site(tmp_path: Path, times: Times = USUAL_TIMES, **settings: object) -> FlaskClient:
    cxgs.build(tmp_path / "data" / NAME, n_obs=12, n_var=8)
    return serve(tmp_path / "data", tmp_path / "client", times=times, **settings)


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    return make_site(tmp_path)


def version(client: FlaskClient) -> str:
    """Version of the dataset as the server sees it now."""
    site: Services = client.application.extensions["cxg"]
    with site.catalog.lease(NAME, wait=True) as dataset:
        return site.version_of(dataset)


def address(of: str) -> str:
    return f"{BELOW}{versioned_api(of)}v0.2/"


def replace(client: FlaskClient) -> None:
    """Put another dataset in its place."""
    path = Path(client.application.extensions["cxg"].catalog.root.uri) / NAME
    shutil.rmtree(path)
    cxgs.build(path, n_obs=12, n_var=8, seed=1)


@pytest.mark.parametrize("route", DATA_ROUTES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_current_version_is_the_plain_answer_and_immutable(client: FlaskClient, route: str, method: str) -> None:
    plain = client.open(PLAIN + route, method=method)
    found = client.open(address(version(client)) + route, method=method)
    again = client.open(address(version(client)) + route, method=method)
    assert (plain.status_code, plain.headers["Cache-Control"]) == (200, REVALIDATE)
    for answer in (found, again):  # the first by Flask, then from the kept answers
        assert (answer.status_code, answer.data) == (200, plain.data)
        others = dict(plain.headers) | {"Cache-Control": IMMUTABLE}
        assert dict(answer.headers) == others
    unchanged = client.get(address(version(client)) + route, headers={"If-None-Match": plain.headers["ETag"]})
    assert (unchanged.status_code, unchanged.headers["Cache-Control"]) == (304, IMMUTABLE)
    assert client.open(PLAIN + route, method=method).headers["Cache-Control"] == REVALIDATE


@pytest.mark.parametrize("route", DESCRIBED_ROUTES)
def test_what_follows_the_description_is_revalidated(client: FlaskClient, route: str) -> None:
    plain = client.get(PLAIN + route)
    found = client.get(address(version(client)) + route)
    assert (found.status_code, found.data) == (200, plain.data)
    assert dict(found.headers) == dict(plain.headers)
    assert found.headers["Cache-Control"] == REVALIDATE


def test_a_comparison_at_the_current_version_is_not_kept(client: FlaskClient) -> None:
    plain = client.post(f"{PLAIN}diffexp/obs", json=COMPARISON)
    found = client.post(f"{address(version(client))}diffexp/obs", json=COMPARISON)
    assert (found.status_code, found.data) == (200, plain.data)
    assert found.headers["Cache-Control"] == NO_STORE


@pytest.mark.parametrize("route", [*DATA_ROUTES, *DESCRIBED_ROUTES, "annotations/obs?annotation-name=no_such"])
def test_a_version_of_other_files_is_gone(tmp_path: Path, route: str) -> None:
    client = make_site(tmp_path, times=Times(check_s=0.0, most_check_s=0.0))
    before = version(client)
    assert client.get(address(before) + "schema").status_code == 200
    replace(client)
    for _ in range(2):
        answer = client.get(address(before) + route)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (410, NO_STORE)
        assert json.loads(answer.data) == {
            "message": "This dataset was replaced after the page was opened: reload the page."
        }
    assert client.post(f"{address(before)}diffexp/obs", json=COMPARISON).status_code == 410
    assert client.get(address(version(client)) + "schema").status_code == 200


def test_a_newer_version_than_this_server_has_seen_makes_it_look(tmp_path: Path) -> None:
    now = [0.0]
    client = make_site(tmp_path, times=Times(check_s=3600, most_check_s=3600, clock=lambda: now[0]))
    assert client.get(f"{PLAIN}schema").status_code == 200
    replace(client)
    other_server = serve(tmp_path / "data", tmp_path / "client")
    newer = version(other_server)
    now[0] = 1.0  # the files were listed a moment ago
    assert client.get(address(newer) + "schema").status_code == 410
    now[0] = 10.0
    answer = client.get(address(newer) + "schema")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, IMMUTABLE)


def test_a_version_of_other_settings_answers_as_the_plain_address(client: FlaskClient) -> None:
    files, _, settings = version(client).partition("-")
    other = f"{files}-{settings[::-1]}"
    for _ in range(2):
        answer = client.get(address(other) + "schema")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, REVALIDATE)


def test_another_configuration_makes_another_version(tmp_path: Path) -> None:
    first = make_site(tmp_path)
    second = serve(tmp_path / "data", tmp_path / "client", diffexp={"lfc_cutoff": 0.5})
    assert version(first) != version(second)
    assert version(first).partition("-")[0] == version(second).partition("-")[0]


@pytest.mark.parametrize("named", ["x", "0" * 25, "g" * 16 + "-" + "0" * 8, "../api", "0" * 16 + "-" + "0" * 8 + "/x"])
def test_what_is_no_version_is_not_found(client: FlaskClient, named: str) -> None:
    assert client.get(f"{BELOW}api/{named}/v0.2/schema").status_code == 404


def test_nobody_keeps_versions_where_the_configuration_says_so(tmp_path: Path) -> None:
    client = make_site(tmp_path, server={"generate_cache_control_headers": False})
    for _ in range(2):
        assert client.get(address(version(client)) + "schema").headers["Cache-Control"] == NO_STORE


def test_a_browser_asks_each_time_where_a_plugin_checks_identity(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "who.py").write_text("def identity_check(request):\n    return None\n")
    cxgs.build(tmp_path / "data" / NAME, n_obs=12, n_var=8)
    environment = {"CXG_PLUGINS_DIR": str(tmp_path / "plugins")}
    client = serve(tmp_path / "data", tmp_path / "client", environment)
    answer = client.get(address(version(client)) + "schema")
    assert sorted(answer.headers["Cache-Control"].split(", ")) == ["no-cache", "private"]


def test_a_single_dataset_has_versions_too(tmp_path: Path) -> None:
    path = cxgs.build(tmp_path / "data" / NAME, n_obs=12, n_var=8).path
    client = serve(
        tmp_path, tmp_path / "client", multi_dataset={"dataroot": None}, single_dataset={"datapath": str(path)}
    )
    site: Services = client.application.extensions["cxg"]
    with site.catalog.lease("") as dataset:
        api = versioned_api(site.version_of(dataset))
    answer = client.get(f"/{api}v0.2/schema")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, IMMUTABLE)
