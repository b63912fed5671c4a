"""Folders that are either complete or not there: written beside their place, stamped, then moved."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assembly.errors import AssemblyError
from assembly.fetch import sha256_of

STAMP = "stamp.json"


@contextmanager
def staged_folder(target: Path, source: dict[str, str]) -> Iterator[Path]:
    """Give an empty folder to fill; on leaving without an error it becomes `target`, with a stamp of its contents.

    Parameters
    ----------
    target
        Where the folder goes. What is there is replaced, but only if it carries a stamp of ours.
    source
        Where the contents come from; kept in the stamp.

    Raises
    ------
    AssemblyError
        `target` holds something that was not made here.
    """
    if target.exists() and stamp_source(target) is None and any(target.iterdir()):
        raise AssemblyError(f"{target} holds files that were not put there by build.py: move them away or delete them")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as scratch:
        work = Path(scratch) / "new"
        work.mkdir()
        yield work
        stamp = {"source": source, "files": _hashes(work)}
        (work / STAMP).write_text(json.dumps(stamp, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        if target.exists():
            target.rename(Path(scratch) / "old")
        work.rename(target)


def stamp_source(folder: Path) -> dict[str, str] | None:
    """Tell where a stamped folder came from; None when it has no readable stamp."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        return dict(stamp["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def is_intact(folder: Path) -> bool:
    """Tell whether every file the stamp names is there with the bytes it had, and none was added."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        files = stamp["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return bool(files == _hashes(folder))


def copy_tree(source: Path, target: Path) -> None:
    """Copy plain files and folders; a link or special file is an error that names it.

    Raises
    ------
    AssemblyError
        `source` holds something that is neither a file nor a folder.
    """
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise AssemblyError(f"{path} is a link or special file; only plain files and folders are taken")
        if path.is_dir():
            copy_tree(path, target / path.name)
        else:
            shutil.copyfile(path, target / path.name)


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files if path != folder / STAMP}
