"""Links that visitors may follow: http and https alone, wherever they come from."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiledb

from cxg.cli.main import main
from cxg.config import load
from cxg.errors import ConfigError
from cxg.links import link_problem, without_bad_links
from tests import cxgs
from tests.served import serve

GOOD = [
    "https://example.org",
    "http://example.org:8080/a?b=c#d",
    "HTTPS://Example.org/@someone",
    "https://[::1]/x",
    "https://example.org/ümlaut",
    "https://example.org/a%20b",
]
BAD = [
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    " javascript:alert(1)",
    "\x01javascript:alert(1)",
    "java\nscript:alert(1)",
    "java\tscript:alert(1)",
    "javascript\u200b:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "file:///etc/passwd",
    "ftp://example.org/x",
    "blob:https://example.org/1",
    "//evil.example/x",
    "/\\evil.example/x",
    "\\\\evil.example\\x",
    "https:javascript:alert(1)",
    "https:///evil.example",
    "https:\\\\evil.example",
    "https://good.example\\@evil.example/",
    "https://user:hush@example.org/",
    "https://user@example.org/",
    "https://example.org:port/",
    'https://example.org/"onclick="x',
    "https://",
    "http:",
]


@pytest.mark.parametrize("text", GOOD)
def test_a_link_to_a_web_page(text: str) -> None:
    assert link_problem(text) is None


@pytest.mark.parametrize("text", BAD)
def test_anything_else_is_none(text: str) -> None:
    assert link_problem(text) is not None


KEYS = {
    "server.about_legal_tos": "server: {{about_legal_tos: {}}}",
    "server.about_legal_privacy": "server: {{about_legal_privacy: {}}}",
    "server.scripts": "server: {{scripts: [{}]}}",
    "server.scripts entry": "server: {{scripts: [{{src: {}}}]}}",
    "multi_dataset.index": "multi_dataset: {{index: {}}}",
    "single_dataset.about": "single_dataset: {{about: {}}}",
}


@pytest.mark.parametrize("text", BAD)
@pytest.mark.parametrize("key", KEYS)
def test_a_configuration_with_another_link_is_refused(key: str, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(KEYS[key].format(json.dumps(text)), {})
    (sentence,) = caught.value.problems
    assert key.split(maxsplit=1)[0] in sentence
    assert "hush" not in sentence


@pytest.mark.parametrize("text", [*GOOD, "/static/cellxgene/deploy/tos.html"])
@pytest.mark.parametrize("key", KEYS)
def test_a_configuration_with_a_good_link_is_taken(key: str, text: str) -> None:
    assert load(KEYS[key].format(json.dumps(text)), {}).warnings == ()


def served_config(path: Path, tmp_path: Path) -> dict[str, Any]:
    config: dict[str, Any] = (
        serve(path.parent, tmp_path / "client").get(f"/d/{path.name}/api/v0.2/config").json["config"]
    )
    return config


def rewrite(path: Path, key: str, value: object) -> None:
    with tiledb.open(str(path / "cxg_group_metadata"), "w") as array:
        array.meta[key] = json.dumps(value)


@pytest.mark.parametrize("about", [*BAD, 5, ["https://example.org"]])
def test_a_link_in_a_dataset_is_left_out_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], about: object
) -> None:
    path = cxgs.build(tmp_path / "data" / "a.cxg", n_obs=5).path
    rewrite(path, "cxg_properties", {"title": "T", "about": about})
    assert served_config(path, tmp_path)["links"] == {"about-dataset": None}
    assert main(["inspect", str(path)]) == 0
    told = capsys.readouterr().out
    assert "The link 'about' is not a link to a web page and is left out" in told
    assert "hush" not in told


def test_a_good_link_in_a_dataset_is_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cxgs.build(tmp_path / "data" / "a.cxg", n_obs=5).path
    rewrite(path, "cxg_properties", {"title": "T", "about": GOOD[1]})
    assert served_config(path, tmp_path)["links"] == {"about-dataset": GOOD[1]}
    assert main(["inspect", str(path)]) == 0
    assert "left out" not in capsys.readouterr().out


CORPORA = {
    "title": "Scripts: javascript: the good parts of them",
    "organism": "Homo sapiens",
    "publication_doi": "10.1101/2020.11.20.391524",
    "preprint_doi": "https://doi.org/10.1101/1",
    "project_links": [{"link_name": "GEO: all", "link_type": "RAW_DATA", "link_url": "https://example.org/geo"}],
    "numbers": [1, None, True, 2.5],
}


def test_metadata_with_good_links_is_left_as_it_is() -> None:
    dropped: list[str] = []
    assert without_bad_links(CORPORA, dropped) == CORPORA
    assert dropped == []


@pytest.mark.parametrize(
    "text", ["javascript:alert(1)", " java\nscript:alert(1)", "//evil.example", "data:text/html,x"]
)
@pytest.mark.parametrize(
    "place",
    ["publication_doi", "project_links", "link_url", "contact_homepage", "links.paper", "deep.a.b.url", "url"],
)
def test_a_bad_link_in_the_metadata_is_dropped_wherever_it_is(place: str, text: str) -> None:
    value: Any = text
    for part in reversed(place.split(".")):
        value = {part: [value]}
    dropped: list[str] = []
    kept = json.dumps(without_bad_links({**CORPORA, "extra": value}, dropped))
    assert dropped == [f"extra.{place}"]
    assert json.dumps(text)[1:-1] not in kept
    assert "good parts" in kept


def test_portal_metadata_of_a_dataset_loses_its_bad_links(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = cxgs.build(tmp_path / "data" / "a.cxg", n_obs=5).path
    bad = {"link_name": "x", "link_url": "javascript:alert(1)"}
    rewrite(path, "corpora", {**CORPORA, "project_links": [bad], "notes": "JavaScript:alert(2)"})
    props = served_config(path, tmp_path)["corpora_props"]
    assert props == {**CORPORA, "project_links": [{"link_name": "x", "link_url": None}], "notes": None}
    assert main(["inspect", str(path)]) == 0
    assert "left out: project_links.link_url, notes." in capsys.readouterr().out
