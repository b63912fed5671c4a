"""A release: changelog, version, commit and tag go together."""

from __future__ import annotations

import re
import subprocess
from datetime import date
from pathlib import Path

import pytest

import build
from assembly.errors import AssemblyError
from assembly.release import check, notes_of, release, version_in, with_heading

PROJECT = Path(__file__).parents[3]
DAY = date(2026, 12, 1)
CHANGELOG = """# Changelog

## [Unreleased]

### Added

- A thing.

## [1.2.0] - 2026-11-01

- Older.
"""


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository of version 1.2.0 with an entry that is not released."""
    for name, value in {"NAME": "t", "EMAIL": "t@example.org"}.items():
        for who in ("AUTHOR", "COMMITTER"):
            monkeypatch.setenv(f"GIT_{who}_{name}", value)
    (tmp_path / "cxg").mkdir()
    (tmp_path / "cxg" / "__init__.py").write_text('"""A package."""\n\n__version__ = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "one")
    return tmp_path


def test_a_release_is_one_commit_with_a_tag(checkout: Path) -> None:
    said: list[str] = []
    release(checkout, "1.3.0", DAY, said.append)
    assert (
        "## [Unreleased]\n\n## [1.3.0] - 2026-12-01\n\n### Added\n\n- A thing."
        in (checkout / "CHANGELOG.md").read_text()
    )
    assert version_in((checkout / "cxg" / "__init__.py").read_text()) == "1.3.0"
    assert git(checkout, "log", "-1", "--format=%s %D").split(",")[0].strip() == "Release 1.3.0 HEAD -> main"
    assert git(checkout, "describe", "--exact-match").strip() == "v1.3.0"
    assert git(checkout, "status", "--porcelain") == ""
    assert "git push --follow-tags" in said[0]
    assert check(checkout, "1.3.0") == "### Added\n\n- A thing.\n"


@pytest.mark.parametrize(
    "version, sentence",
    [
        ("1.2.0", "not higher than 1.2.0"),
        ("1.1.9", "not higher than 1.2.0"),
        ("v1.3.0", "not a valid version"),
        ("1.3", "not a valid version"),
        ("01.3.0", "not a valid version"),
        ("1.3.0rc1", "not a valid version"),
    ],
)
def test_a_version_that_does_not_follow_is_refused(checkout: Path, version: str, sentence: str) -> None:
    with pytest.raises(AssemblyError, match=sentence):
        release(checkout, version, DAY, print)
    assert git(checkout, "status", "--porcelain") == ""


def test_ten_follows_nine() -> None:
    assert "## [1.10.0]" in with_heading(CHANGELOG.replace("1.2.0", "1.9.0"), "1.10.0", DAY)


def test_files_that_are_not_committed_stop_a_release(checkout: Path) -> None:
    (checkout / "new.txt").write_text("x")
    with pytest.raises(AssemblyError, match="differ from the last commit"):
        release(checkout, "1.3.0", DAY, print)
    assert (checkout / "CHANGELOG.md").read_text() == CHANGELOG


def test_a_release_is_not_made_twice(checkout: Path) -> None:
    git(checkout, "tag", "v1.3.0")
    with pytest.raises(AssemblyError, match=r"the tag v1\.3\.0 exists"):
        release(checkout, "1.3.0", DAY, print)
    assert (checkout / "CHANGELOG.md").read_text() == CHANGELOG


@pytest.mark.parametrize("text", [CHANGELOG.replace("### Added\n\n- A thing.\n", ""), "# Changelog\n"])
def test_a_release_of_nothing_is_refused(text: str) -> None:
    with pytest.raises(AssemblyError, match="no entries under"):
        with_heading(text, "1.3.0", DAY)


def test_changelog_and_code_must_agree(checkout: Path) -> None:
    with pytest.raises(AssemblyError, match=r"has version 1\.2\.0, not 1\.3\.0"):
        check(checkout, "1.3.0")
    with pytest.raises(AssemblyError, match=r"has 1\.2\.0 in its newest heading, not 1\.3\.0"):
        notes_of(CHANGELOG, "1.3.0")
    with pytest.raises(AssemblyError, match="has no version in its"):
        notes_of("# Changelog\n", "1.3.0")


def test_a_folder_without_git_is_named(tmp_path: Path) -> None:
    (tmp_path / "cxg").mkdir()
    (tmp_path / "cxg" / "__init__.py").write_text('__version__ = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    with pytest.raises(AssemblyError, match=r"git status failed: .*not a git repository"):
        release(tmp_path, "1.3.0", DAY, print)


def test_this_project_has_the_version_of_its_newest_heading() -> None:
    text, code = ((PROJECT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "cxg/__init__.py"))
    assert "## [Unreleased]\n" in text
    headings = re.findall(r"^## \[(\d.*)\]", text, re.MULTILINE)
    assert headings[:1] in ([], [version_in(code)])


def test_the_verb_reports_a_bad_version_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["release", "1.x"]) == 2
    assert capsys.readouterr().err.startswith("build.py release: 1.x is not a valid version")
