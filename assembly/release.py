"""The verb `release`: a version with its heading in the changelog, its number in the code, a commit and a tag."""

from __future__ import annotations

import argparse
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

from assembly import Say
from assembly.errors import AssemblyError

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG, CODE = Path("CHANGELOG.md"), Path("cxg/__init__.py")
_UNRELEASED = "## [Unreleased]\n"
_HEADING = re.compile(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)\n", re.MULTILINE)
_NUMBER = re.compile(r'^__version__ = "([^"]*)"$', re.MULTILINE)
_VERSION = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")


def add_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `release` to the verbs of `build.py`."""
    parser = verbs.add_parser("release", help="give the changes since the last release a version, a commit and a tag")
    parser.add_argument("version", metavar="X.Y.Z", help="a version higher than the last one")
    parser.add_argument("--check", action="store_true", help="only check that changelog and code have this version")
    parser.add_argument("--notes", type=Path, metavar="FILE", help="with --check: write the version's entries there")
    parser.set_defaults(run=_run)


def with_heading(changelog: str, version: str, day: date) -> str:
    """Put the entries under *Unreleased* below a heading for a version, and leave *Unreleased* empty.

    Raises
    ------
    AssemblyError
        There are no entries, or the version is not higher than the last one.
    """
    _check_version(version)
    before, found, after = changelog.partition(_UNRELEASED)
    entries = _HEADING.split(after)[0]
    if not found or not entries.strip():
        raise AssemblyError(f"{CHANGELOG} has no entries under [Unreleased]; say there what changed")
    last = _HEADING.search(after)
    if last is not None and _parts(version) <= _parts(last[1]):
        raise AssemblyError(f"{version} is not higher than {last[1]}, the last release in {CHANGELOG}")
    return f"{before}{_UNRELEASED}\n## [{version}] - {day.isoformat()}\n{after}"


def notes_of(changelog: str, version: str) -> str:
    """Return the entries of a version.

    Raises
    ------
    AssemblyError
        The newest heading with a version names another one, or there is none.
    """
    newest = _HEADING.search(changelog)
    if newest is None or newest[1] != version:
        found = "no version" if newest is None else newest[1]
        raise AssemblyError(f"{CHANGELOG} has {found} in its newest heading, not {version}; `build.py release` sets it")
    following = _HEADING.search(changelog, newest.end())
    return changelog[newest.end() : following.start() if following else None].strip() + "\n"


def version_in(code: str) -> str:
    """Return the version that `cxg/__init__.py` states.

    Raises
    ------
    AssemblyError
        It states none.
    """
    found = _NUMBER.search(code)
    if found is None:
        raise AssemblyError(f'{CODE} has no line __version__ = "X.Y.Z"')
    return found[1]


def check(root: Path, version: str) -> str:
    """Check that changelog and code have a version; return its entries.

    Raises
    ------
    AssemblyError
        One of them has another version.
    """
    _check_version(version)
    stated = version_in((root / CODE).read_text(encoding="utf-8"))
    if stated != version:
        raise AssemblyError(f"{CODE} has version {stated}, not {version}; `build.py release` sets it")
    return notes_of((root / CHANGELOG).read_text(encoding="utf-8"), version)


def release(root: Path, version: str, day: date, say: Say) -> None:
    """Write the version into changelog and code, commit both, and tag the commit; nothing is sent anywhere.

    Raises
    ------
    AssemblyError
        Files differ from the last commit, the tag exists, or the changelog does not fit. Nothing is changed then.
    """
    changelog = with_heading((root / CHANGELOG).read_text(encoding="utf-8"), version, day)
    code = (root / CODE).read_text(encoding="utf-8")
    version_in(code)
    tag = f"v{version}"
    if _git(root, "status", "--porcelain"):
        raise AssemblyError("files differ from the last commit; commit or remove them (`git status` lists them)")
    if _git(root, "tag", "--list", tag):
        raise AssemblyError(f"the tag {tag} exists; a release is never made twice, so take the next version")
    (root / CHANGELOG).write_text(changelog, encoding="utf-8")
    (root / CODE).write_text(_NUMBER.sub(f'__version__ = "{version}"', code), encoding="utf-8")
    _git(root, "commit", "--quiet", "--message", f"Release {version}", str(CHANGELOG), str(CODE))
    _git(root, "tag", "--annotate", tag, "--message", f"Release {version}")
    say(f"release: committed and tagged {tag}; `git push --follow-tags` publishes it")


def _run(options: argparse.Namespace, say: Say, today: Callable[[], date] = lambda: datetime.now(UTC).date()) -> None:
    if not options.check:
        if options.notes is not None:
            raise AssemblyError("--notes goes with --check")
        release(ROOT, options.version, today(), say)
        return
    notes = check(ROOT, options.version)
    if options.notes is not None:
        options.notes.parent.mkdir(parents=True, exist_ok=True)
        options.notes.write_text(notes, encoding="utf-8")
    say(f"release: changelog and code have version {options.version}")


def _check_version(version: str) -> None:
    if not _VERSION.fullmatch(version):
        raise AssemblyError(f"{version} is not a valid version; use three numbers, such as 1.2.0, without a v")


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError as fault:
        raise AssemblyError("git is not installed; a release is a commit and a tag") from fault
    if done.returncode:
        raise AssemblyError(f"git {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()
