"""The list of files that go into a Docker build, and the folder they are staged in."""

import re
import subprocess
from pathlib import Path

import pytest

from assembly.context import plan_context, read_commit, read_version, stage_context
from assembly.errors import AssemblyError

ROOT = Path(__file__).resolve().parents[3]
GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]


@pytest.fixture
def project(tmp_path):
    """A small project of the right shape."""
    root = tmp_path / "project"
    for name in ("Dockerfile", "LICENSE", "build.py", "entrypoint.py", "assembly/one.py", "cxg/web/page.html"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "Dockerfile").write_text("FROM scratch\nARG VERSION=unknown\nARG COMMIT=unknown\nEXPOSE 8000\n")
    (root / "requirements.txt").write_text("flask==3.1.3\n")
    (root / "cxg" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (root / "customize").mkdir()
    return root


def staged(project, tmp_path):
    stage_context(plan_context(project, project / "customize"), tmp_path / "out")
    return {
        path.relative_to(tmp_path / "out").as_posix(): path
        for path in sorted((tmp_path / "out").rglob("*"))
        if path.is_file()
    }


def test_our_own_tree_has_no_unknown_file():
    files = {path.as_posix() for path in plan_context(ROOT, ROOT / "no such folder").files}
    assert {
        "Dockerfile",
        "requirements.txt",
        "entrypoint.py",
        "cxg/__init__.py",
        "cxg/web/start_page/templates/base.html",
    } <= files
    assert not [name for name in files if name.startswith(("tests", "docs", "benchmarks"))]


def test_staged_folder_holds_what_is_listed_and_knows_its_version(project, tmp_path):
    (project / "cxg" / "__pycache__").mkdir()
    (project / "cxg" / "__pycache__" / "a.pyc").write_bytes(b"")
    (project / "build.py").chmod(0o700)
    files = staged(project, tmp_path)
    assert set(files) == {
        *("Dockerfile", "LICENSE", "build.py", "entrypoint.py", "requirements.txt", "assembly/one.py"),
        *("cxg/__init__.py", "cxg/web/page.html", "customize/README.md"),
    }
    assert "ARG VERSION=1.2.3\nARG COMMIT=unknown\n" in files["Dockerfile"].read_text()
    assert {path.stat().st_mode & 0o777 for path in files.values()} == {0o644}


def test_a_client_goes_along_when_it_is_there(project, tmp_path):
    (project / "build" / "client" / "static").mkdir(parents=True)
    (project / "build" / "client" / "static" / "main.js").write_text("")
    (project / "build" / "sample").mkdir()
    (project / "build" / "sample" / "big").write_text("")
    files = staged(project, tmp_path)
    assert "build/client/static/main.js" in files
    assert "build/sample/big" not in files


def test_overlays_are_staged_with_the_commit_and_without_ebextensions(project, tmp_path):
    (project / "customize" / "plugins").mkdir()
    (project / "customize" / "plugins" / "a.py").write_text('BUILD = "__CELLXGENE_COMMIT__"\n')
    (project / "customize" / "ebextensions").mkdir()
    (project / "customize" / "ebextensions" / "90.config").write_text("a: 1\n")
    files = staged(project, tmp_path)
    assert files["customize/plugins/a.py"].read_text() == 'BUILD = "unknown"\n'
    assert "customize/ebextensions/90.config" not in files


@pytest.mark.parametrize("name", ["cxg/notes.txt", "cxg/web/.secret", "assembly/key.pem"])
def test_an_unknown_file_is_an_error_that_names_it(project, name):
    (project / name).write_text("")
    with pytest.raises(AssemblyError, match=f"{re.escape(name)}: not known"):
        plan_context(project, project / "customize")


def test_a_link_is_an_error(project):
    (project / "cxg" / "link.py").symlink_to("/etc/passwd")
    with pytest.raises(AssemblyError, match=r"cxg/link\.py: not known"):
        plan_context(project, project / "customize")


def test_a_missing_file_is_named(project):
    (project / "entrypoint.py").unlink()
    with pytest.raises(AssemblyError, match=r"lacks entrypoint\.py"):
        plan_context(project, project / "customize")


def test_commit_of_a_clean_and_of_a_changed_checkout(project):
    assert read_commit(project) == "unknown"
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*GIT, *arguments], cwd=project, check=True)
    commit = read_commit(project)
    assert re.fullmatch("[0-9a-f]{12}", commit)
    (project / "build.py").write_text("changed")
    assert read_commit(project) == f"{commit}-dirty"


def test_version_is_ours_and_must_be_there(project):
    assert re.fullmatch(r"\d+\.\d+\.\d+", read_version(ROOT))
    (project / "cxg" / "__init__.py").write_text("")
    with pytest.raises(AssemblyError, match="has no line __version__"):
        read_version(project)


def test_docker_ignores_all_but_the_same_list():
    """`docker build .` sends what .dockerignore lets through: the same files as the staged folder."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    planned = {path.as_posix() for path in plan_context(ROOT, ROOT / "no such folder").files}
    outside = {name for name in planned if not any(name == top or name.startswith(f"{top}/") for top in allowed)}
    assert outside <= {"Dockerfile"}
    tops = planned | {name.split("/")[0] for name in planned}
    assert allowed - {"customize", "build/client"} <= tops
