"""How a route gets at a dataset: replaced ones are read again, and answers are told apart."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cxg.errors import DatasetInvalid, StorageUnavailable
from cxg.format.dataset import Dataset
from cxg.web.services import Services
from tests import cxgs
from tests.served import serve

API = "/d/a.cxg/api/v0.2/"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    cxgs.build(tmp_path / "data" / "a.cxg", n_obs=12, n_var=8)
    return serve(tmp_path / "data", tmp_path / "client")


@pytest.fixture
def site(client: FlaskClient) -> Iterator[Services]:
    """The services, while a request is handled."""
    with client.application.test_request_context(f"{API}schema"):
        yield client.application.extensions["cxg"]


def replace(site: Services, seed: int) -> None:
    """Put another dataset in its place."""
    path = Path(site.catalog.root.uri) / "a.cxg"
    shutil.rmtree(path)
    cxgs.build(path, n_obs=12, n_var=8, seed=seed)


@pytest.mark.parametrize("failure", [DatasetInvalid("It is damaged."), StorageUnavailable("It is away.")])
def test_a_dataset_replaced_during_a_read_is_read_again(site: Services, failure: Exception) -> None:
    seen: list[str] = []

    def read(opened: Dataset) -> str:
        seen.append(opened.fingerprint)
        if len(seen) == 1:
            replace(site, seed=1)
            raise failure
        return "read"

    assert site.with_dataset("a.cxg", read) == "read"
    assert len(set(seen)) == 2


def test_a_failure_on_unchanged_files_is_raised_at_once(site: Services) -> None:
    failure, calls = DatasetInvalid("It is damaged."), []

    def read(opened: Dataset) -> None:
        calls.append(opened)
        raise failure

    with pytest.raises(DatasetInvalid) as caught:
        site.with_dataset("a.cxg", read)
    assert caught.value is failure
    assert len(calls) == 1


def test_a_dataset_removed_during_a_read_is_not_found(site: Services, client: FlaskClient) -> None:
    assert client.get(f"{API}schema").status_code == 200
    shutil.rmtree(Path(site.catalog.root.uri) / "a.cxg")
    response = client.get(f"{API}data/var?var:name_0=gene1")
    assert response.status_code in (400, 404)
    assert response.json["message"].endswith(".")


def test_bodies_tell_answers_apart(client: FlaskClient) -> None:
    def ask(gene: str) -> bytes:
        response = client.post(f"{API}summarize/var", data=f"method=mean&var:name_0={gene}", content_type=FORM)
        assert response.status_code == 200
        return response.data

    assert ask("gene1") != ask("gene2")
    assert ask("gene1") == ask("gene1")


def test_a_post_does_not_answer_for_a_get_of_the_same_address(client: FlaskClient) -> None:
    posted = client.post(f"{API}summarize/var", data="method=mean&var:name_0=gene1", content_type=FORM)
    assert client.get(f"{API}summarize/var").data != posted.data


def test_answers_are_not_stored_anywhere_when_the_operator_says_so(tmp_path: Path) -> None:
    cxgs.build(tmp_path / "data" / "a.cxg", n_obs=5, n_var=5)
    client = serve(tmp_path / "data", tmp_path / "client", server={"generate_cache_control_headers": False})
    assert client.get(f"{API}schema").headers["Cache-Control"] == "no-store"


def test_plain_http_is_sent_to_https_but_health_is_not(tmp_path: Path) -> None:
    cxgs.build(tmp_path / "data" / "a.cxg", n_obs=5, n_var=5)
    client = serve(tmp_path / "data", tmp_path / "client", server={"force_https": True})
    response = client.get("/d/a.cxg/?x=1", headers={"X-Forwarded-Host": "evil.example"})
    assert (response.status_code, response.headers["Location"]) == (301, "https://localhost/d/a.cxg/?x=1")
    # Whoever asked chose the host.
    assert response.headers["Cache-Control"] == "no-store"
    assert client.get("/health/live").status_code == 200
    assert client.get(f"{API}schema", headers={"X-Forwarded-Proto": "https"}).status_code == 200


def test_server_timing_is_sent_only_when_configured(tmp_path: Path) -> None:
    cxgs.build(tmp_path / "data" / "a.cxg", n_obs=5, n_var=5)
    client = serve(tmp_path / "data", tmp_path / "client", server={"server_timing_headers": True})
    for _ in range(2):  # also when the answer was stored before
        assert client.get(f"{API}schema").headers["Server-Timing"].startswith("total;dur=")
    assert "Server-Timing" not in serve(tmp_path / "data", tmp_path / "client").get(f"{API}schema").headers
