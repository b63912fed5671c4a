"""Other sites that may show a page in a frame and read answers: those that the configuration names, no others."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cxg.config import load
from cxg.errors import ConfigError
from tests import cxgs
from tests.served import serve

PORTAL, OTHER = "https://portal.example", "https://portal.example.evil.example"
ROUTES = [
    "/d/a.cxg/",
    "/d/a.cxg/api/v0.2/schema",
    "/d/a.cxg/api/v0.2/layout/obs?layout-name=umap",
    "/d/a.cxg/api/v0.2/annotations/obs?annotation-name=nope",
    "/d/nope.cxg/",
    "/",
    "/health",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("origins")
    cxgs.build(top / "data" / "a.cxg", n_obs=5, n_var=5)
    return top


@pytest.fixture(scope="module")
def client(data: Path) -> FlaskClient:
    return serve(data / "data", data / "client", server={"embed_origins": [PORTAL, "http://localhost:8000"]})


def policy(response) -> dict[str, list[str]]:
    parts = (part.split() for part in response.headers["Content-Security-Policy"].split("; "))
    return {name: sources for name, *sources in parts}


@pytest.mark.parametrize("route", ROUTES)
def test_a_named_origin_may_read_every_answer(client: FlaskClient, route: str) -> None:
    # Twice: the second answer comes from the cache where there is one.
    for _ in range(2):
        response = client.get(route, headers={"Origin": PORTAL})
        assert response.headers["Access-Control-Allow-Origin"] == PORTAL
        assert "Origin" in response.headers.getlist("Vary")
        assert "Access-Control-Allow-Credentials" not in response.headers
        plain = client.get(route)
        assert (plain.status_code, plain.data) == (response.status_code, response.data)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("origin", [None, OTHER, "null", "https://portal.example:8443", "http://portal.example"])
def test_no_other_origin_may(client: FlaskClient, route: str, origin: str | None) -> None:
    response = client.get(route, headers={"Origin": origin} if origin else {})
    assert "Access-Control-Allow-Origin" not in response.headers
    # A cache between must not give this answer to the origin that may.
    assert "Origin" in response.headers.getlist("Vary")


def test_an_unchanged_answer_may_be_read_too(client: FlaskClient) -> None:
    route = "/d/a.cxg/api/v0.2/schema"
    etag = client.get(route).headers["ETag"]
    response = client.get(route, headers={"If-None-Match": etag, "Origin": PORTAL})
    assert response.status_code == 304
    assert response.headers["Access-Control-Allow-Origin"] == PORTAL


def test_nobody_may_send_a_comparison_from_elsewhere(client: FlaskClient) -> None:
    route = "/d/a.cxg/api/v0.2/diffexp/obs"
    for response in (client.post(route, headers={"Origin": PORTAL}), client.options(route, headers={"Origin": PORTAL})):
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("route", ["/d/a.cxg/", "/", "/d/nope.cxg/"])
def test_frames_are_for_the_named_origins(client: FlaskClient, route: str) -> None:
    response = client.get(route)
    assert policy(response)["frame-ancestors"] == [PORTAL, "http://localhost:8000"]
    assert "X-Frame-Options" not in response.headers


def test_without_the_key_nothing_is_for_others(data: Path) -> None:
    response = serve(data / "data", data / "client").get("/d/a.cxg/", headers={"Origin": PORTAL})
    assert policy(response)["frame-ancestors"] == ["'none'"]
    assert response.headers["X-Frame-Options"] == "DENY"
    assert "Access-Control-Allow-Origin" not in response.headers
    assert "Origin" not in response.headers.getlist("Vary")


@pytest.mark.parametrize("origin", [PORTAL, "http://localhost:8000", "http://127.0.0.1", "https://[::1]:8443"])
def test_an_origin_as_browsers_write_it_is_taken(origin: str) -> None:
    assert load(f"server: {{embed_origins: ['{origin}']}}", {}).config.server.embed_origins == (origin,)


@pytest.mark.parametrize(
    "origin",
    [
        *("*", "null", "portal.example", "https://portal.example/", "https://portal.example/page", "//portal.example"),
        *("https://Portal.example", "HTTPS://portal.example", "https://portal.example:443", "http://portal.example:80"),
        *("https://user@portal.example", "https://a.example;script-src", "https://*.example", "ftp://portal.example"),
        *("https://a.example,https://b.example", "https://a.example b.example", "'self'", ""),
    ],
)
def test_anything_else_is_refused(origin: str) -> None:
    with pytest.raises(ConfigError, match="embed_origins"):
        load(f'server: {{embed_origins: ["{origin}"]}}', {})
