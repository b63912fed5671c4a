"""The built web client: its page with scripts filled in, its files, and how long they may be kept."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cxg.config import load
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError
from cxg.web.app import create_app
from cxg.web.client import content_type, default_folder, is_hashed, load_client
from tests import cxgs
from tests.served import serve, stand_in_client

MAIN = "main-0123456789abcdef0123.js"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return stand_in_client(tmp_path / "client")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    top = tmp_path_factory.mktemp("client")
    cxgs.build(top / "data" / "a.cxg", n_obs=5, n_var=5)
    stand_in_client(top / "client")
    (top / "client" / "static" / "plain.js").write_text("// no hash in the name\n" * 100)
    (top / "client" / "secret.txt").write_text("beside static, so not served")
    return serve(top / "data", top / "client")


@pytest.mark.parametrize("missing", ["index.html", "static", "."])
def test_a_folder_that_is_not_a_client_names_the_fix(folder: Path, missing: str) -> None:
    (folder / missing).rename(folder.parent / "elsewhere")
    with pytest.raises(ConfigError, match="make build-client"):
        load_client(folder, load("", {}).config, None)


def test_the_folder_may_be_named_in_the_environment(tmp_path: Path) -> None:
    assert default_folder(Runtime.of({"CXG_CLIENT_DIR": str(tmp_path)})) == tmp_path
    assert default_folder(Runtime.of({})).parts[-2:] == ("build", "client")


def test_scripts_are_put_into_the_page_as_they_are(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.js").write_text("const t = '{{ x }} {% if %}' && 1 < 2;")
    config = load("server: {scripts: [https://a.example/b.js], inline_scripts: [own.js]}", {}).config
    page = load_client(folder, config, tmp_path).page.decode()
    assert '<script src="https://a.example/b.js"></script>' in page
    assert "<script>const t = '{{ x }} {% if %}' && 1 < 2;</script>" in page


@pytest.mark.parametrize("scripts", [None, Path("no-such-folder")])
def test_a_missing_inline_script_is_named(folder: Path, scripts: Path | None) -> None:
    config = load("server: {inline_scripts: [own.js]}", {}).config
    with pytest.raises(ConfigError, match=r"own\.js"):
        load_client(folder, config, scripts)


def test_a_policy_allows_the_inline_script_that_was_put_in(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.js").write_text("own()")
    plain = load_client(folder, load("", {}).config, None).policy
    more = load_client(folder, load("server: {inline_scripts: [own.js]}", {}).config, tmp_path).policy
    assert more.count("'sha256-") == plain.count("'sha256-") + 1


@pytest.mark.parametrize(
    "name, kind",
    [
        ("a.js", "text/javascript"),
        ("a.css", "text/css"),
        ("a.js.map", "application/json"),
        ("a.woff", "font/woff"),
        ("a.woff2", "font/woff2"),
        ("a.png", "image/png"),
        ("a.svg", "image/svg+xml"),
        ("a.no-such-type", "application/octet-stream"),
    ],
)
def test_content_types(name: str, kind: str) -> None:
    assert content_type(Path(name)) == kind


@pytest.mark.parametrize(
    "name, hashed",
    [
        (MAIN, True),
        ("a-0123456789abcdef.js.map", True),
        ("main.js", False),
        ("a-0123.js", False),
        ("a-0123456789ABCDEF.js", False),
    ],
)
def test_names_that_carry_a_hash(name: str, hashed: bool) -> None:
    assert is_hashed(Path(name)) is hashed


@pytest.mark.parametrize("base", ["/d/a.cxg/static/", "/d/static/", "/static/"])
def test_only_files_with_a_hashed_name_are_immutable(client: FlaskClient, base: str) -> None:
    hashed, plain = client.get(base + MAIN), client.get(base + "plain.js")
    assert "immutable" in hashed.headers["Cache-Control"]
    assert plain.headers["Cache-Control"] == "public, no-cache"
    for response in (hashed, plain):
        assert response.status_code == 200
        assert response.content_type == "text/javascript"
        again = client.get(response.request.path, headers={"If-None-Match": response.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")


def test_files_are_compressed_for_clients_that_accept_it(client: FlaskClient) -> None:
    plain = client.get(f"/static/{MAIN}", headers={"Accept-Encoding": "identity"})
    packed = client.get(f"/static/{MAIN}", headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.data) == plain.data
    assert len(packed.data) < len(plain.data)


@pytest.mark.parametrize("name", ["../index.html", "../secret.txt", "..%2fsecret.txt", "assets", "assets/", "main.js"])
def test_only_files_below_static_are_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/d/a.cxg/static/{name}").status_code == 404


def test_a_folder_named_in_the_environment_must_be_there(folder: Path, tmp_path: Path) -> None:
    config = load(f"multi_dataset: {{dataroot: {tmp_path}}}", {}).config
    for name in ("CXG_DEPLOY_DIR", "CXG_INLINE_SCRIPTS_DIR", "CXG_PLUGINS_DIR"):
        with pytest.raises(ConfigError, match=name):
            create_app(config, folder, Runtime.of({name: str(tmp_path / "nope")}))
