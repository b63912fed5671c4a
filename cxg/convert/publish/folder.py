"""Publishes a finished CXG on a file system, all of it or nothing.

The work is done in a folder ``.<name>.<random>.partial`` beside the target. Its name begins
with a dot, so no server takes it for a dataset, and it lies on the same file system, so the
result moves into place by one rename. A lock on a file inside tells a folder in use from
one whose process was killed: the kernel drops the lock with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from cxg.errors import ConversionError
from cxg.format import layout

_SUFFIX = ".partial"
_OWNER = "owner"
_NEW = "new"
_REPLACED = "replaced"
_SCRATCH = "scratch"
_SIGNED_WITHIN_S = 60.0


class Workplace:
    """A dot folder beside the target; make it with `workplace`.

    Attributes
    ----------
    new : Path
        Where the CXG is to be built; does not exist yet.
    scratch : Path
        An empty folder for temporary files.
    """

    def __init__(self, folder: Path, target: Path) -> None:
        self._folder, self._target = folder, target
        self.new = folder / _NEW
        self.scratch = folder / _SCRATCH

    def publish(self, overwrite: bool) -> None:
        """Move the finished CXG to the target.

        With `overwrite` an old CXG is put aside by a rename, so the target is absent for the
        moment between two renames; if the second fails the old one is put back.

        Raises
        ------
        ConversionError
            Something is at the target that may not be replaced.
        """
        flush(self.new)
        aside = self._folder / _REPLACED
        if os.path.lexists(self._target) and not overwrite:  # a rename would replace an empty folder without a word
            raise ConversionError(f"{self._target} appeared while the conversion ran; it was not touched.")
        try:
            if os.path.lexists(self._target):
                self._target.rename(aside)
            self.new.rename(self._target)
        except BaseException as error:
            if aside.exists() and not os.path.lexists(self._target):
                aside.rename(self._target)
            if isinstance(error, OSError):
                raise ConversionError(f"{self._target} cannot be put in place: {error.strerror}.") from error
            raise
        _flush_entry(self._target.parent)


def check_target(target: Path, overwrite: bool) -> None:
    """Refuse, before any work, a target that could not be published.

    What killed conversions of the same target left behind is swept up first.

    Raises
    ------
    ConversionError
        It exists, or its folder cannot be made or written to.
    """
    if target.name.startswith("."):
        raise ConversionError(
            f"{target}: a name that begins with a dot would never be listed as a dataset; choose another."
        )
    place = _nearest(target.parent)
    if not place.is_dir():
        raise ConversionError(f"{place} is not a folder, so {target} cannot be in it; choose another output.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConversionError(f"The folder {place} is not writable; choose another output.")
    remove_stale(target)
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise ConversionError(f"{target} exists already; use --overwrite to replace it, or choose another name.")
    if not is_cxg(target):
        raise ConversionError(f"{target} is not a CXG, so --overwrite does not replace it; choose another name.")


def is_cxg(path: Path) -> bool:
    """Tell whether `path` is a folder that looks like a CXG, whole or damaged, or is empty."""
    if not path.is_dir() or path.is_symlink():
        return False
    return not any(path.iterdir()) or any((path / mark).exists() for mark in layout.MARKS)


@contextlib.contextmanager
def workplace(target: Path) -> Iterator[Workplace]:
    """Make a work folder for `target` and remove it afterwards, also after an error.

    Folders above `target` that are missing are made, and removed again when the conversion fails.
    """
    missing = [parent for parent in target.parents if not os.path.lexists(parent)]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _work_folder(target) as place:
            yield place
    except BaseException:
        for parent in missing:  # the innermost first; one that somebody else uses by now is not empty
            with contextlib.suppress(OSError):
                parent.rmdir()
        raise


def _nearest(folder: Path) -> Path:
    """Return the folder itself, or its nearest parent that exists."""
    return next(place for place in (folder, *folder.parents) if os.path.lexists(place))


@contextlib.contextmanager
def _work_folder(target: Path) -> Iterator[Workplace]:
    folder = target.parent / f".{target.name}.{secrets.token_hex(4)}{_SUFFIX}"
    folder.mkdir(mode=0o755)
    owner = os.open(folder / _OWNER, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: the folder then stays after a kill
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.write(owner, socket.gethostname().encode())
        (folder / _SCRATCH).mkdir()
        yield Workplace(folder, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(owner)


def remove_stale(target: Path) -> None:
    """Remove work folders of `target` whose process is gone; restore what one of them had put aside."""
    for folder in target.parent.glob(f".{_escaped(target.name)}.*{_SUFFIX}"):
        random = folder.name.removesuffix(_SUFFIX).rsplit(".", 1)[-1]
        if folder.name == f".{target.name}.{random}{_SUFFIX}" and len(random) == 8 and _is_abandoned(folder):
            aside = folder / _REPLACED
            if aside.is_dir() and not os.path.lexists(target):
                aside.rename(target)
            shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    # The host is compared because a lock may not reach from one machine to another. A folder that nobody signed
    # is being made at this moment, or was left by a process that was killed while making it.
    try:
        owner = os.open(folder / _OWNER, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return _is_old(folder)
    except OSError:
        return False
    try:
        fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        host = os.read(owner, 256)
        return host == socket.gethostname().encode() if host else _is_old(folder)
    except OSError:
        return False
    finally:
        os.close(owner)


def _is_old(folder: Path) -> bool:
    try:
        return time.time() - folder.stat().st_mtime > _SIGNED_WITHIN_S
    except OSError:
        return False


def _escaped(name: str) -> str:
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


def flush(root: Path) -> None:
    """Bring every file to the disk, so that a power cut after the rename leaves no dataset with empty files."""
    for folder, _, files in os.walk(root):
        for name in files:
            _flush_entry(Path(folder, name))
        _flush_entry(Path(folder))


def _flush_entry(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:  # some network file systems know no fsync for folders
        if not path.is_dir():
            raise
    finally:
        os.close(handle)
