"""customize.example/ works as it stands: it is read, its configuration holds, its plugins run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Flask

from assembly.overlays import read_overlays, stage_overlays
from cxg.config import load
from cxg.plugins import load as load_plugins

PROJECT = Path(__file__).parents[3]
EXAMPLE = PROJECT / "customize.example"


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    stage_overlays(read_overlays(EXAMPLE, PROJECT / "requirements.txt"), tmp_path / "customize", "abc123")
    return tmp_path / "customize"


def test_it_has_one_of_each() -> None:
    overlays = read_overlays(EXAMPLE, PROJECT / "requirements.txt")
    assert {path.parts[0] for path in overlays.files} == {
        "config.yaml",
        "deploy",
        "inline_scripts",
        "plugins",
        "requirements.txt",
    }
    assert len(overlays.ebextensions) == 1


def test_its_configuration_names_files_that_are_there(staged: Path) -> None:
    loaded = load((staged / "config.yaml").read_text(encoding="utf-8"), {})
    server = loaded.config.server
    assert loaded.warnings == ()
    assert server.inline_scripts
    assert all((staged / "inline_scripts" / name).is_file() for name in server.inline_scripts)
    for link in (server.about_legal_tos, server.about_legal_privacy):
        assert link is not None
        assert (staged / "deploy" / link.removeprefix("/static/cellxgene/deploy/")).is_file()


@pytest.mark.parametrize("required,status", [("", 200), ("1", 401)])
def test_its_plugins_run(staged: Path, monkeypatch: pytest.MonkeyPatch, required: str, status: int) -> None:
    # The package comes from the example's own requirements.txt, which only an image installs.
    monkeypatch.setitem(sys.modules, "humanize", SimpleNamespace(naturaldelta=lambda _seconds: "a moment"))
    monkeypatch.setenv("SITE_REQUIRE_USER", required)
    plugins = load_plugins(staged / "plugins")
    assert plugins.extra_headers == (("X-Site-Build", "abc123"),)
    app = Flask("site")
    plugins.attach(app)
    visitor = app.test_client()
    assert visitor.get("/site/uptime").status_code == status
    allowed = visitor.get("/site/uptime", headers={"X-Forwarded-User": "ada"})
    assert allowed.text.startswith("up for a moment")
