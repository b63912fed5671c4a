"""What goes into a Docker build: an explicit list of files, staged in a folder of their own.

The list is the same as that of `.dockerignore`, which `docker build .` obeys. Here, a file that no
rule knows is an error: a forgotten rule would otherwise leave it out, and a stray secret come along.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assembly.client import CLIENT_DIR
from assembly.errors import AssemblyError
from assembly.overlays import Overlays, read_overlays, stage_overlays

UNKNOWN = "unknown"
_FILES = ("Dockerfile", "LICENSE", "build.py", "entrypoint.py", "requirements.txt")
# Folder: the endings of its files.
_FOLDERS = {
    "assembly": (".py", ".txt"),
    "cxg": (".py", ".fbs", ".html", ".css", ".js", ".svg"),
    CLIENT_DIR.as_posix(): ("",),
}
_LEFT_BEHIND = frozenset({"__pycache__", ".DS_Store"})
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


@dataclass(frozen=True)
class BuildContext:
    """The inputs of a Docker build.

    root : the project.
    files : paths relative to it, sorted; without the site's own.
    overlays : the site's own, from `customize/`.
    version : of the package.
    commit : of the project's git repository, or "unknown".
    """

    root: Path
    files: tuple[Path, ...]
    overlays: Overlays
    version: str
    commit: str


def plan_context(root: Path, customize: Path) -> BuildContext:
    """Collect everything the build needs, without writing.

    Raises
    ------
    AssemblyError
        A file is missing or unknown, or `customize/` has faults; all are named.
    """
    missing = [name for name in _FILES if not (root / name).is_file()]
    if missing:
        raise AssemblyError(f"{root} lacks {', '.join(missing)}: is it a complete checkout?")
    files = [Path(name) for name in _FILES]
    unknown = []
    for folder, endings in _FOLDERS.items():
        for path in _walk(root / folder):
            relative = path.relative_to(root)
            if path.is_symlink() or not path.is_file() or not path.name.endswith(endings):
                unknown.append(relative.as_posix())
            files.append(relative)
    if unknown:
        rules = "; ".join(
            f"{folder}/ takes {' '.join(endings).strip() or 'any file'}" for folder, endings in _FOLDERS.items()
        )
        raise AssemblyError(f"{', '.join(unknown)}: not known to the build, remove or rename ({rules}; no links)")
    overlays = read_overlays(customize, root / "requirements.txt")
    return BuildContext(root, tuple(sorted(files)), overlays, read_version(root), read_commit(root))


def stage_context(context: BuildContext, target: Path) -> None:
    """Write the build's folder: files with equal rights, the site's own, version and commit in the Dockerfile."""
    for path in context.files:
        destination = target / path
        destination.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(context.root / path, destination)
        destination.chmod(0o644)
    stage_overlays(context.overlays, target / "customize", context.commit)
    # Docker copies no folder that is not there, and a zip keeps no empty one.
    (target / "customize" / "README.md").write_text("The site's own files, see docs/deploy.md.\n", encoding="utf-8")
    dockerfile = target / "Dockerfile"
    text = dockerfile.read_text(encoding="utf-8")
    for name, value in (("VERSION", context.version), ("COMMIT", context.commit)):
        text = text.replace(f"ARG {name}={UNKNOWN}\n", f"ARG {name}={value}\n")
    dockerfile.write_text(text, encoding="utf-8")


def read_version(root: Path) -> str:
    """Return the version of the package, read without importing it.

    Raises
    ------
    AssemblyError
        There is none.
    """
    path = root / "cxg" / "__init__.py"
    found = _VERSION.search(path.read_text(encoding="utf-8"))
    if found is None:
        raise AssemblyError(f'{path} has no line __version__ = "..."')
    return found[1]


def read_commit(root: Path) -> str:
    """Return 12 digits of the commit, with `-dirty` when files differ from it; "unknown" outside a repository."""
    commit = _git(root, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return UNKNOWN
    return f"{commit}-dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],  # noqa: S607 - whichever git the user has
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _walk(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return  # the web client may be left for the build to fetch
    for path in sorted(folder.iterdir()):
        if path.name in _LEFT_BEHIND:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)
        else:
            yield path
