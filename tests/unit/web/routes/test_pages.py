"""Pages below a dataset's name, the operator's own pages, and one dataset served alone."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urljoin

import pytest
from flask.testing import FlaskClient

from cxg.config import load
from cxg.config.runtime import Runtime
from cxg.web.app import create_app
from tests import cxgs
from tests.served import serve, stand_in_client


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good datasets, a damaged one, a client and pages of the operator's."""
    top = tmp_path_factory.mktemp("pages")
    for name in ("good.cxg", "T cells, 50% & more (\u03b2).cxg"):
        cxgs.build(top / "data" / name, n_obs=6, n_var=6)
    cxgs.build(top / "data" / "damaged.cxg", n_obs=6, n_var=6, missing_commit="obs")
    stand_in_client(top / "client")
    (top / "deploy").mkdir()
    (top / "deploy" / "tos.html").write_text("<h1>Terms</h1>")
    (top / "private.txt").write_text("private")
    return top


@pytest.fixture(scope="module")
def client(top: Path) -> FlaskClient:
    return serve(top / "data", top / "client")


def made(top: Path, text: str, env: dict[str, str] | None = None) -> FlaskClient:
    app = create_app(load(text, {}).config, top / "client", Runtime.of(env or {}))
    app.testing = False
    return app.test_client()


@pytest.mark.parametrize("name", ["good.cxg", "T%20cells%2C%2050%25%20%26%20more%20%28%CE%B2%29.cxg"])
def test_a_datasets_page_is_the_client(client: FlaskClient, name: str) -> None:
    response = client.get(f"/d/{name}/")
    assert response.status_code == 200
    assert b'<div id="root">' in response.data
    assert response.content_type == "text/html; charset=utf-8"
    assert "'sha256-" in response.headers["Content-Security-Policy"]
    assert response.headers["Cache-Control"] == "no-cache"
    again = client.get(f"/d/{name}/", headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


@pytest.mark.parametrize("name", ["nope.cxg", "damaged.cxg"])
def test_a_dataset_that_cannot_be_shown_has_a_readable_page(client: FlaskClient, top: Path, name: str) -> None:
    response = client.get(f"/d/{name}/")
    assert response.status_code == 404
    assert response.content_type == "text/html; charset=utf-8"
    assert b'<div id="root">' not in response.data
    assert str(top).encode() not in response.data
    assert "unsafe" not in response.headers["Content-Security-Policy"]


NOTHING_TO_DRAW = {
    "none": ({"embeddings": ()}, None, {}, "no embedding with two dimensions"),
    "all lost": ({}, "emb/*/__commits/*", {}, "None of the 2 embeddings can be drawn"),
    "none of those offered": ({}, None, {"embeddings": {"names": ["spatial"]}}, "spatial"),
}


@pytest.mark.parametrize("what", NOTHING_TO_DRAW)
def test_page_and_list_give_the_reason_when_nothing_can_be_drawn(tmp_path: Path, what: str) -> None:
    options, removed, settings, reason = NOTHING_TO_DRAW[what]
    root = cxgs.build(tmp_path / "data" / "flat.cxg", n_obs=6, n_var=6, **options).path
    for file in root.glob(removed) if removed else ():
        file.unlink()
    client = serve(tmp_path / "data", tmp_path / "client", **settings)
    page = client.get("/d/flat.cxg/")
    assert page.status_code == 404
    assert b'<div id="root">' not in page.data
    assert "cannot be shown" in page.text
    assert reason in page.text
    start = client.get("/").text
    assert reason in start
    assert 'href="d/flat.cxg/"' not in start
    assert "thumbnail.png" not in start
    # Programs still get everything else.
    assert client.get("/d/flat.cxg/api/v0.2/schema").status_code == 200
    assert client.get("/d/flat.cxg/api/v0.2/data/var?var:name_0=gene1").status_code == 200


def test_one_dataset_served_alone_without_an_embedding_has_a_readable_page(tmp_path: Path, top: Path) -> None:
    path = cxgs.build(tmp_path / "flat.cxg", n_obs=6, n_var=6, embeddings=()).path
    response = made(top, f"single_dataset: {{datapath: {path}}}").get("/")
    assert response.status_code == 404
    assert "no embedding with two dimensions" in response.text
    assert "See all datasets" not in response.text


def test_a_damaged_dataset_is_distinguished_from_a_missing_one(client: FlaskClient) -> None:
    assert b"cannot be opened" in client.get("/d/damaged.cxg/").data
    assert b"cannot be opened" not in client.get("/d/nope.cxg/").data


@pytest.mark.parametrize(
    "path",
    ["/d/good.cxg", "/d/nope.cxg", "/d/T%20cells%2C%2050%25%20%26%20more%20%28%CE%B2%29.cxg", "/d/a%3Ab"],
)
def test_the_redirect_to_the_slash_keeps_name_and_host(client: FlaskClient, path: str) -> None:
    response = client.get(path)
    if response.status_code == 404:  # a name that cannot be
        return
    assert response.status_code == 308
    target = urljoin(f"https://site.example/prefix{path}", response.headers["Location"])
    assert target.startswith("https://site.example/prefix/d/")
    assert target.endswith("/")


@pytest.mark.parametrize(
    "path",
    ["//evil.example", "//evil.example/", "/d//evil.example", "/d/\\\\evil.example", "/d/..", "/d/https:evil.example"],
)
def test_no_redirect_leads_to_another_host(client: FlaskClient, path: str) -> None:
    # The path is put in as a server would, since a client library would take it for a host.
    response = client.open(environ_overrides={"PATH_INFO": path})
    assert response.status_code in (308, 404)
    location = response.headers.get("Location", "")
    assert urljoin("https://site.example/d/x", location).startswith("https://site.example/")


def test_other_files_that_the_page_requests_are_answered(client: FlaskClient) -> None:
    response = client.get("/d/good.cxg/obsolete.js")
    assert (response.status_code, response.data) == (200, b"")
    assert response.content_type.startswith("text/javascript")
    assert client.get("/d/static/assets/icon-0123456789abcdef0123.png").content_type == "image/png"


def test_pages_of_the_operator(top: Path) -> None:
    client = made(top, f"multi_dataset: {{dataroot: {top / 'data'}}}", {"CXG_DEPLOY_DIR": str(top / "deploy")})
    response = client.get("/static/cellxgene/deploy/tos.html")
    assert (response.status_code, response.data) == (200, b"<h1>Terms</h1>")
    assert response.content_type == "text/html; charset=utf-8"
    assert "max-age" in response.headers["Cache-Control"]
    response.close()
    for path in ("nope.html", "../private.txt", "..%2fprivate.txt", "%2e%2e/private.txt", str(top / "private.txt")):
        assert client.get(f"/static/cellxgene/deploy/{path}").status_code == 404, path


def test_without_pages_of_the_operator_there_are_none(client: FlaskClient) -> None:
    assert client.get("/static/cellxgene/deploy/tos.html").status_code == 404


@pytest.fixture(scope="module")
def single(top: Path) -> FlaskClient:
    path = top / "data" / "good.cxg"
    return made(top, f"single_dataset: {{datapath: {path}, title: My title, about: 'https://example.org/mine'}}")


def test_one_dataset_is_at_the_root(single: FlaskClient, client: FlaskClient) -> None:
    assert b'<div id="root">' in single.get("/").data
    for route in ("schema", "colors", "layout/obs?layout-name=umap", "data/var?var:name_0=gene1"):
        alone, among = single.get(f"/api/v0.2/{route}"), client.get(f"/d/good.cxg/api/v0.2/{route}")
        assert (alone.status_code, alone.data) == (200, among.data)
    assert single.get("/static/main-0123456789abcdef0123.js").status_code == 200


def test_one_dataset_takes_title_and_link_from_the_configuration(single: FlaskClient) -> None:
    config = single.get("/api/v0.2/config").json["config"]
    assert config["displayNames"]["dataset"] == "My title"
    assert config["links"]["about-dataset"] == "https://example.org/mine"


@pytest.mark.parametrize(
    "path", ["/d/good.cxg/", "/good.cxg/", "/d/good.cxg/api/v0.2/schema", "/nope", "/thumbnail.png"]
)
def test_a_server_of_one_dataset_has_no_other_paths(single: FlaskClient, path: str) -> None:
    assert single.get(path).status_code == 404


@pytest.mark.parametrize("base_url", ["site", "site/data"])
def test_another_base_url(top: Path, base_url: str) -> None:
    client = made(top, f"multi_dataset: {{dataroot: {top / 'data'}, base_url: {base_url}}}")
    assert client.get(f"/{base_url}/good.cxg/").status_code == 200
    assert client.get(f"/{base_url}/good.cxg/api/v0.2/schema").status_code == 200
    assert client.get(f"/{base_url}/static/main-0123456789abcdef0123.js").status_code == 200
    assert f'{base_url}/good.cxg/"'.encode() in client.get("/").data
    assert client.get("/d/good.cxg/").status_code == 404
