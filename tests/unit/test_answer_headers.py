"""Headers of good answers: types, caching, compression, HEAD, no cookies."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from urllib.parse import urljoin

import pytest
from flask.testing import FlaskClient

from tests import cxgs
from tests.served import serve

API = "/d/good.cxg/api/v0.2/"
DIFFEXP = json.dumps(
    {
        "mode": "topN",
        "count": 3,
        "set1": {"filter": {"obs": {"index": [0, 1]}}},
        "set2": {"filter": {"obs": {"index": [2, 3]}}},
    }
).encode()

JSON_ROUTES = ["config", "schema", "colors", "genesets"]
BINARY_ROUTES = [
    "annotations/obs?annotation-name=name_0",
    "annotations/var?annotation-name=name_0",
    "layout/obs",
    "layout/obs?layout-name=umap",
    "data/var?var:name_0=gene0",
    "data/var?var:name_0=no-such-gene",
    "summarize/var?method=mean&var:name_0=gene0",
    "summarize/var?method=mean&",
]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    top = tmp_path_factory.mktemp("headers")
    cxgs.build(top / "data" / "good.cxg", n_obs=400)
    return serve(top / "data", top / "client")


@pytest.mark.parametrize("route", JSON_ROUTES + BINARY_ROUTES)
def test_type_length_etag_and_no_cookie(client: FlaskClient, route: str) -> None:
    response = client.get(API + route)
    assert response.status_code == 200
    assert response.content_type == ("application/json" if route in JSON_ROUTES else "application/octet-stream")
    assert int(response.headers["Content-Length"]) == len(response.data) > 0
    assert response.headers["ETag"]
    assert "max-age" not in response.headers["Cache-Control"] or "no-cache" in response.headers["Cache-Control"]
    assert "Accept-Encoding" in response.headers["Vary"]
    assert "Set-Cookie" not in response.headers
    assert "Cookie" not in response.headers["Vary"]


@pytest.mark.parametrize("route", JSON_ROUTES + BINARY_ROUTES)
def test_unchanged_answers_are_revalidated(client: FlaskClient, route: str) -> None:
    first = client.get(API + route)
    again = client.get(API + route, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "Content-Length" not in again.headers or again.headers["Content-Length"] == "0"
    weak = client.get(API + route, headers={"If-None-Match": f'"other", W/{first.headers["ETag"]}'})
    assert weak.status_code == 304
    other = client.get(API + route, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.data) == (200, first.data)


@pytest.mark.parametrize("route", JSON_ROUTES + BINARY_ROUTES)
def test_gzip_and_identity_hold_the_same(client: FlaskClient, route: str) -> None:
    plain = client.get(API + route, headers={"Accept-Encoding": "identity"})
    packed = client.get(API + route, headers={"Accept-Encoding": "gzip, deflate, br, zstd"})
    assert "Content-Encoding" not in plain.headers
    body = gzip.decompress(packed.data) if packed.headers.get("Content-Encoding") == "gzip" else packed.data
    assert body == plain.data
    assert int(packed.headers["Content-Length"]) == len(packed.data)
    if packed.headers.get("Content-Encoding"):
        assert packed.headers["ETag"] != plain.headers["ETag"]
    refused = client.get(API + route, headers={"Accept-Encoding": "gzip;q=0"})
    assert "Content-Encoding" not in refused.headers


def test_a_large_answer_is_compressed(client: FlaskClient) -> None:
    response = client.get(API + "annotations/obs?annotation-name=name_0", headers={"Accept-Encoding": "gzip"})
    assert response.headers["Content-Encoding"] == "gzip"


@pytest.mark.parametrize("route", JSON_ROUTES + BINARY_ROUTES)
def test_head_is_get_without_the_body(client: FlaskClient, route: str) -> None:
    get, head = client.get(API + route), client.head(API + route)
    assert (head.status_code, head.data) == (200, b"")
    for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize("route", BINARY_ROUTES)
@pytest.mark.parametrize(
    "accept", [None, "", "*/*", "application/*", "application/octet-stream", "text/html, */*;q=0.1"]
)
def test_accept_headers_that_allow_the_answer(client: FlaskClient, route: str, accept: str | None) -> None:
    assert client.get(API + route, headers={} if accept is None else {"Accept": accept}).status_code == 200


def test_differential_expression_answers_exactly_json(client: FlaskClient) -> None:
    response = client.post(API + "diffexp/obs", data=DIFFEXP, content_type="application/json")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert sorted(response.json) == ["negative", "positive"]
    with_charset = client.post(API + "diffexp/obs", data=DIFFEXP, content_type="application/json; charset=utf-8")
    assert with_charset.data == response.data


def test_a_posted_mean_equals_the_one_asked_by_get(client: FlaskClient) -> None:
    query = "method=mean&var:name_0=gene0&var:name_0=gene1"
    got = client.get(f"{API}summarize/var?{query}")
    posted = client.post(
        f"{API}summarize/var", data=query, content_type="application/x-www-form-urlencoded; charset=UTF-8"
    )
    assert posted.data == got.data
    assert posted.headers["Cache-Control"] == "no-store"


def test_a_replaced_dataset_has_another_etag(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for dataroot, seed in ((one, 1), (two, 2)):
        cxgs.build(dataroot / "good.cxg", seed=seed)
    tags = []
    for dataroot in (one, two):
        client = serve(dataroot, tmp_path / "client")
        tags.append(client.get(API + "data/var?var:name_0=gene0").headers["ETag"])
    assert tags[0] != tags[1]


def test_security_headers_on_every_kind_of_answer(client: FlaskClient) -> None:
    for path in (
        "/",
        API + "schema",
        API + "nothing",
        "/d/nope.cxg/",
        "/health",
        "/health/live",
        "/health/ready",
        "/nothing",
    ):
        headers = client.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff", path
        assert "Set-Cookie" not in headers, path
        if headers["Content-Type"].startswith("text/html"):
            assert "frame-ancestors" in headers["Content-Security-Policy"], path


def test_the_slash_is_added_with_the_query_kept(client: FlaskClient) -> None:
    response = client.get("/d/good.cxg?x=1&y=%C3%A9")
    assert response.status_code in (301, 308)
    assert urljoin("/d/good.cxg", response.location) == "/d/good.cxg/?x=1&y=%C3%A9"
