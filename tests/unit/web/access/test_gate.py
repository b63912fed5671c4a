"""The sign-in page, the embargo, plugins that say who asks, and sites that restrict everything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cxg.access import EVERYONE, NOBODY, Rule, Visitor, may_see, parse_moment, rule_of
from cxg.config import load
from cxg.errors import ConfigError
from tests.cxgs import build
from tests.served import serve

PLUGIN = """
def identify_visitor(request):
    user = request.headers.get("X-Test")
    if user == "odd":
        return {"user": "odd", "groups": "lab-a"}
    return {"user": user, "groups": ["lab-a"]} if user else None
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    build(folder / "a.cxg")
    return folder


def test_the_sign_in_page_is_for_all_names(root: Path, tmp_path: Path) -> None:
    access = {"visible_to": ["lab-a"], "sign_in": "/oauth2/sign_in", "source": "plugin"}
    client = serve(root, tmp_path, {"CXG_PLUGINS_DIR": str(plugins(tmp_path))}, access=access)
    for name in ("a.cxg", "b.cxg"):
        for page in ("", "about", "expression"):
            answer = client.get(f"/d/{name}/{page}")
            assert (answer.status_code, answer.headers["Cache-Control"]) == (302, "no-store")
            assert answer.headers["Location"] == f"/oauth2/sign_in?rd=/d/{name}/{page}"
        assert client.get(f"/d/{name}/api/v0.2/schema").status_code == 404
    assert client.get("/d/b.cxg/", headers={"X-Test": "ada"}).status_code == 404
    assert client.get("/d/a.cxg/", headers={"X-Test": "ada"}).status_code == 200


def plugins(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins"
    folder.mkdir()
    (folder / "who.py").write_text(PLUGIN)
    return folder


def test_a_plugin_that_returns_nonsense_lets_nobody_in(root: Path, tmp_path: Path) -> None:
    access = {"visible_to": ["lab-a"], "source": "plugin"}
    client = serve(root, tmp_path, {"CXG_PLUGINS_DIR": str(plugins(tmp_path))}, access=access)
    for name in ("a.cxg", "b.cxg"):
        assert client.get(f"/d/{name}/api/v0.2/schema", headers={"X-Test": "odd"}).status_code == 500


@pytest.mark.parametrize("access", [{"source": "proxy"}, {"source": "plugin"}, {"source": "load-balancer"}])
def test_a_source_that_is_not_complete_stops_the_start(root: Path, tmp_path: Path, access: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=f"access.source is {access['source']}"):
        serve(root, tmp_path, access=access)


def test_an_audience_without_a_source_is_warned_of() -> None:
    (warning,) = load("access:\n  visible_to: [lab-a]\n", {}).warnings
    assert warning.startswith("config.yaml line 2: access.visible_to hides every dataset from everyone")
    assert load("access:\n  public_from: 2026-12-01 UTC\n", {}).warnings == ()


def test_a_single_dataset_is_closed_too(root: Path, tmp_path: Path) -> None:
    single = {"datapath": str(root / "a.cxg")}
    for audience, status in (([], 404), ("everyone", 200)):
        settings = {"multi_dataset": {"dataroot": None}, "single_dataset": single}
        client = serve(root, tmp_path, access={"visible_to": audience}, **settings)
        for path in ("/", "/api/v0.2/schema", "/api/v0.2/schema"):
            assert client.get(path).status_code == status


def test_the_end_of_an_embargo() -> None:
    end = datetime(2026, 12, 1, 8, tzinfo=UTC)
    rule = rule_of(Rule(), None, end)
    before, user = end - timedelta(microseconds=1), Visitor("ada", None, frozenset({"lab-a"}))
    assert not may_see(rule, user, before)
    assert may_see(rule, Visitor(), end)
    assert may_see(Rule(("lab-a",), end), user, before)
    assert not may_see(Rule(("lab-a",), end), Visitor(None, None, frozenset({"lab-a"})), before)


def test_the_site_date_does_not_open_what_names_its_audience() -> None:
    site = Rule((EVERYONE,), datetime(2020, 1, 1, tzinfo=UTC))
    assert rule_of(site, ("lab-a",), None) == Rule(("lab-a",))
    assert not may_see(NOBODY, Visitor("ada", "a@x.org", frozenset({""})), datetime.now(UTC))


@pytest.mark.parametrize(
    "text,hour",
    [("2026-12-01 UTC", 0), ("2026-12-01T09:00+01:00", 8), ("2026-12-01 09:00:00 Z", 9), ("2026-12-01 -05:00", 5)],
)
def test_moments(text: str, hour: int) -> None:
    assert parse_moment(text) == datetime(2026, 12, 1, hour, tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "2026-12-01", "2026-12-01T09:00", "2026-02-30 UTC", "2026-12-01 CET", "1 UTC"])
def test_a_moment_needs_its_time_zone(text: str) -> None:
    assert parse_moment(text) is None
