"""The block of JSON in the client's page: what it says, and that no text in it can leave it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cxg.web.visit.page_data import BLOCK_ID, with_data
from tests import cxgs
from tests.served import serve

HOSTILE = "</script><script>alert(1)</script><!-- & \u2028 \ud800 β"


def block(page: bytes) -> dict[str, object]:
    """The data of a page, as a browser reads it: up to the first end tag."""
    found = re.search(
        rb'<script type="application/json" id="' + BLOCK_ID.encode() + rb'">(.*?)</script', page, re.DOTALL
    )
    assert found
    data: dict[str, object] = json.loads(found[1])
    return data


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("page_data")
    cxgs.build(top / "data" / "a.cxg", n_obs=5, n_var=5)
    cxgs.build(top / "data" / "b.cxg", n_obs=6, n_var=5, title="Another", default_embedding=None)
    return top


@pytest.fixture(scope="module")
def client(top: Path) -> FlaskClient:
    return serve(top / "data", top / "client")


def test_a_page_says_what_its_dataset_is(client: FlaskClient) -> None:
    data = block(client.get("/d/b.cxg/").data)
    assert data["dataset"] == "b.cxg"
    assert data["title"] == "Another"
    assert data["version"] == client.get("/d/b.cxg/api/v0.2/schema").headers["Dataset-Version"]
    assert data["features"] == {"links": True, "take_away": True, "messages": True}
    # The stand-in of the tests is not the pinned client.
    assert data["client"] is None


def test_features_can_be_switched_off(top: Path) -> None:
    client = serve(top / "data", top / "client", visit={"links": False, "messages": False})
    assert block(client.get("/d/a.cxg/").data)["features"] == {"links": False, "take_away": True, "messages": False}


def test_the_block_is_before_the_root_and_changes_the_etag_of_the_page(client: FlaskClient) -> None:
    one, two = client.get("/d/a.cxg/"), client.get("/d/b.cxg/")
    assert one.data.index(BLOCK_ID.encode()) < one.data.index(b'<div id="root">')
    assert one.headers["ETag"] != two.headers["ETag"]
    assert one.headers["Content-Security-Policy"] == two.headers["Content-Security-Policy"]


def test_no_text_ends_the_block() -> None:
    page = with_data(b'<div id="root"></div>', {"title": HOSTILE, HOSTILE: [HOSTILE]})
    assert page.count(b"<script") == page.count(b"</script") == 1
    assert block(page)["title"] == HOSTILE.replace("\ud800", "?")


@pytest.mark.parametrize("route", ["config", "annotations/obs?annotation-name=label", "genesets"])
def test_answers_of_one_version_carry_the_same_mark(client: FlaskClient, route: str) -> None:
    version = block(client.get("/d/a.cxg/").data)["version"]
    for _ in range(2):
        # The second comes from the middleware before Flask.
        assert client.get(f"/d/a.cxg/api/v0.2/{route}").headers["Dataset-Version"] == version
    assert block(client.get("/d/b.cxg/").data)["version"] != version
