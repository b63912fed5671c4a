"""The modules of the visit: where they are served, how the page loads them, and what they may not contain."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

import cxg.web.visit
from cxg.config import load
from cxg.web.client import load_client
from cxg.web.visit.modules import load_modules, with_modules
from tests import cxgs
from tests.served import serve, stand_in_client

FOLDER = Path(cxg.web.visit.__file__).parent / "static"
MODULES = sorted(FOLDER.glob("*.js"))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    top = tmp_path_factory.mktemp("modules")
    cxgs.build(top / "data" / "a.cxg", n_obs=5, n_var=5)
    return serve(top / "data", top / "client")


def test_every_module_is_served_for_a_year_under_a_name_with_a_hash(client: FlaskClient) -> None:
    files = load_modules().files
    assert {path.name for path in FOLDER.iterdir()} == {path.name for path in files.values()}
    for name, path in files.items():
        assert re.fullmatch(r"visit-[0-9a-f]{20}/[a-z]+\.(js|css)", name)
        response = client.get(f"/d/a.cxg/static/{name}")
        assert (response.status_code, response.data) == (200, path.read_bytes())
        assert response.content_type.partition(";")[0] == ("text/javascript" if path.suffix == ".js" else "text/css")
        assert "immutable" in response.headers["Cache-Control"]


def test_the_page_loads_the_modules_before_the_clients_script(tmp_path: Path) -> None:
    folder = stand_in_client(tmp_path / "client")
    (folder / "index.html").write_text(
        "<html><head><style>p {}</style><script defer src='static/main-0123.js'></script></head>"
        '<body><div id="root"></div></body></html>'
    )
    page = load_client(folder, load("", {}).config, None).page.decode()
    scripts = re.findall(r"<script[^>]*src=['\"]([^'\"]*)", page)
    assert re.fullmatch(r"static/visit-[0-9a-f]{20}/main\.js", scripts[0])
    assert scripts[1:] == ["static/main-0123.js"]
    preloaded = re.findall(r'<link rel="modulepreload" href="static/visit-[0-9a-f]{20}/([a-z]+\.js)">', page)
    assert preloaded == [path.name for path in MODULES]
    assert page.count('<link rel="stylesheet"') == 1


@pytest.mark.parametrize(
    "template", ["<head></head><body></body>", "<body></body>", "", "<HEAD><SCRIPT>1</SCRIPT></HEAD>"]
)
def test_a_page_of_any_form_gets_the_modules(template: str) -> None:
    page = with_modules(template)
    assert page.count('<script type="module"') == 1
    assert page.replace(load_modules().tags, "") == template


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_imports_only_modules_that_are_there(path: Path) -> None:
    imports = re.findall(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""", path.read_text(encoding="utf-8"))
    assert all(name.startswith("./") and (FOLDER / name).is_file() for name in imports), imports


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_a_module_is_short_asks_no_other_host_and_makes_no_code_or_cookie(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    # The names of XML's languages look like addresses, and nobody asks them.
    assert not re.search(r"https?://(?!www\.w3\.org/)|//cdn|\beval\(|new Function|document\.cookie|innerHTML", text)
