"""What users can type, set or call is described where they would look."""

import ast
import re
from pathlib import Path

import pytest

import build
import cxg
from cxg import config, plugins
from cxg.cli import main as cli
from cxg.descriptions.keys import KEYS

ROOT = Path(__file__).resolve().parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "customize.example").glob("*.md")])


def page(name):
    return (ROOT / name).read_text(encoding="utf-8")


def constants(*folders):
    """Every string literal of the code that is the name of an environment variable of ours."""
    for folder in folders:
        paths = [ROOT / folder] if folder.endswith(".py") else sorted((ROOT / folder).rglob("*.py"))
        for path in paths:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and re.fullmatch(r"CXG_[A-Z0-9_]*[A-Z0-9]", str(node.value)):
                    yield node.value


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    """The URL rules of the real app, many datasets and one."""
    from cxg.config.runtime import Runtime
    from cxg.web.app import create_app  # the only test here that needs Flask

    folder = tmp_path_factory.mktemp("client")
    (folder / "index.html").write_text("<html></html>")
    (folder / "static").mkdir()
    (folder / "deploy").mkdir()
    env = {"CXG_CLIENT_DIR": str(folder), "CXG_DEPLOY_DIR": str(folder / "deploy")}
    found = []
    for name in ("CXG_DATAROOT", "CXG_DATAPATH"):
        loaded = config.load("server:\n  port: 5005\n", {name: str(folder)})
        found.extend(create_app(loaded.config, runtime=Runtime.of(env)).url_map.iter_rules())
    return found


def test_every_route_is_in_api_md(rules):
    text = page("docs/api.md")
    for rule in rules:
        path = rule.rule.removeprefix("/d/<dataset>").removeprefix("/api/v0.2") or "/d/<dataset>"
        path = re.sub(r"<any\(obs, var\):axis>", "obs", re.sub(r"<path:file>", "<file>", path))
        assert f"{path}`" in text, f"docs/api.md does not describe {path}"


def test_every_environment_variable_is_described():
    text = "".join(page(f"docs/{name}.md") for name in ("config", "customize", "deploy"))
    names = set(constants("cxg", "assembly", "entrypoint.py", "build.py"))
    assert "CXG_DATAROOT" in names
    missing = sorted(name for name in names if f"`{name}`" not in text and f"{name}=" not in text)
    assert not missing


@pytest.mark.parametrize("hook", plugins.HOOKS)
def test_every_hook_is_in_customize_md(hook):
    assert f"`{hook}" in page("docs/customize.md") or f"def {hook}(" in page("docs/customize.md")


@pytest.mark.parametrize("key", KEYS)
def test_every_key_of_a_description_is_in_describe_md(key):
    assert re.search(rf"^\| .*`{key}`.* \| .*\|$", page("docs/describe.md"), flags=re.M)


@pytest.mark.parametrize("verb", cli.COMMANDS)
def test_every_command_is_shown(verb):
    assert any(f"cxg {verb}" in path.read_text(encoding="utf-8") for path in PAGES)


def test_every_build_verb_has_a_make_target(capsys):
    with pytest.raises(SystemExit):
        build.main(["--help"])
    listed = re.findall(r"^    ?([a-z-]+)  ", capsys.readouterr().out, flags=re.M)
    verbs = [verb for verb in listed if verb != "VERB"]
    assert "client" in verbs
    text = page("Makefile") + page("docs/deploy.md")
    assert not [verb for verb in verbs if f"build.py {verb}" not in text]


def test_every_make_target_is_described():
    targets = re.findall(r"^([a-z-]+):.*##", page("Makefile"), flags=re.M)
    assert {"run", "test", "build-client"} <= set(targets)
    text = page("CONTRIBUTING.md") + "make help"
    assert not [target for target in targets if f"make {target}" not in text]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (path.parent / target).exists(), f"{path.name} links to {target}, which is not there"


def test_changelog_and_version_agree():
    headings = re.findall(r"^## \[([^\]]+)\]", page("CHANGELOG.md"), flags=re.M)
    assert headings[0] == "Unreleased"
    assert headings[1:2] in ([], [cxg.__version__])


def test_the_picture_is_small():
    assert 0 < (ROOT / "docs/screenshot.png").stat().st_size < 200_000
