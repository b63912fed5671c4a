"""Where this machine keeps what it made out of datasets, all on local disk: decoded cells, genes, columns and
embeddings (`cxg.decoded.cache`), and copies of small files from S3 (`cxg.storage.s3_copies`).

They are in a folder of their own, which is made inside the one that `CXG_CACHE_DIR` names, else
inside one in the system's temporary folder that belongs to this user alone. It is recognised by
the marker in it, and nothing outside it is ever written, measured or removed. It holds at most
`CXG_CACHE_MB`, else a quarter of the free space; a folder in memory is used only where
`CXG_CACHE_MB` says how much of it. 0 switches it off.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import logging
import os
import re
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from cxg.config.runtime import Runtime

log = logging.getLogger(__name__)

_FREE_SHARE = 0.25
_MB = 1 << 20
# https://docs.kernel.org/filesystems/proc.html#proc-pid-mountinfo-information-about-mounts; other systems have none.
MOUNTS = Path("/proc/self/mountinfo")
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
# Increase this when the content or its form changes: then the folders of both releases exist side by side.
_LAYOUT = 1
OWN_NAME = f"cellxgene-eb-copies-{_LAYOUT}"
# Backup programs know this file and leave its folder out: https://bford.info/cachedir/
MARKER = "CACHEDIR.TAG"
_MARK = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    f"# Copies made by cellxgene-eb, layout {_LAYOUT}. This folder may be removed at any time.\n"
).encode()
_NOT_OURS = f"what is called {OWN_NAME} in it has no {MARKER} of this program; rename or remove it"
_LOCK, _UNFINISHED = "lock", "partial-"
# Copies of files on S3 take a share of the room; decoded ones need more.
S3_PREFIX, S3_SHARE = "s3-", 0.25
_DECODED = re.compile(r"[0-9a-f]{32}-(columns|labels|obs|var)")


class CacheFolder:
    """The folder that belongs to this program alone.

    Parameters
    ----------
    path : Path
        Folder; `is_ready` makes it.
    budget_bytes : int
        Most bytes that everything in it may take.
    """

    def __init__(self, path: Path, budget_bytes: int) -> None:
        self.path, self.budget_bytes = path, budget_bytes

    def is_ready(self) -> bool:
        """Tell whether the folder is there and is ours; make it when it is gone.

        Ask before anything is written or removed inside: somebody may have put another folder in its place.
        """
        try:
            _make_own(self.path)
        except OSError:
            return False
        return _is_own(self.path)

    @contextlib.contextmanager
    def locked(self) -> Iterator[bool]:
        """Hold the lock between processes; False at once when another has it. It ends with its process."""
        file = _open_lock(self.path / _LOCK)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                yield False
                return
            yield True
        finally:
            os.close(file)

    @contextlib.contextmanager
    def unfinished(self) -> Iterator[Path]:
        """Make an empty folder to write in, and remove what is left of it in the end; the caller holds the lock.

        What a killed process left half done is removed first.
        """
        for item in self.path.iterdir():
            if item.name.startswith(_UNFINISHED):
                remove(item)
        folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.path))
        try:
            yield folder
        finally:
            remove(folder)

    def make_room(self, needed_bytes: int) -> None:
        """Remove the decoded copies unused for longest until `needed_bytes` fit; the caller holds the lock."""
        # All that is in the folder counts, but copies of files on S3 are removed by `s3_copies`, and may still grow.
        present = [item for item in self.path.iterdir() if not item.name.startswith(_UNFINISHED)]
        from_s3 = sum(folder_bytes(item) for item in present if item.name.startswith(S3_PREFIX))
        used = sum(map(folder_bytes, present))
        if from_s3:
            used += max(0, int(self.budget_bytes * S3_SHARE) - from_s3)
        kept = (item for item in self.path.iterdir() if _DECODED.fullmatch(item.name))
        for item in sorted(kept, key=changed_s):
            if used + needed_bytes <= self.budget_bytes:
                return
            used -= folder_bytes(item)
            self.discard(item)

    def discard(self, item: Path) -> None:
        """Remove a copy in one step, so that nobody finds half of it; the caller holds the lock."""
        gone = self.path / f"{_UNFINISHED}{uuid.uuid4().hex}"
        with contextlib.suppress(OSError):
            item.rename(gone)
        remove(gone if os.path.lexists(gone) else item)


def cache_folder(runtime: Runtime) -> CacheFolder | None:
    """Find the folder and its budget, as the environment says; None when there is no place for it.

    A folder that others can write to is not used: what is in it decides what users are shown.

    Raises
    ------
    ConfigError
        `CXG_CACHE_MB` is not a number.
    """
    asked_mb = runtime.cache_mb
    if asked_mb == 0:
        return None
    chosen = runtime.cache_dir
    try:
        # On a read-only file system there may be no temporary folder at all.
        base = Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"cellxgene-eb-{os.getuid()}"
        own = base / OWN_NAME
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfit = _unfit(base, asked_mb)
        if unfit is None:
            _make_own(own)
            unfit = _unfit(own, asked_mb) if _is_own(own) else _NOT_OURS
            free = shutil.disk_usage(base).free + folder_bytes(own)
    except OSError as error:
        unfit = str(error.strerror or error)
    if unfit is not None:
        if chosen:
            _warn(f"CXG_CACHE_DIR names {chosen}, which is not used, so that answers take longer: {unfit}.")
        return None
    budget_bytes = int(free * _FREE_SHARE) if asked_mb is None else asked_mb * _MB
    return CacheFolder(own, budget_bytes) if budget_bytes else None


def folder_bytes(folder: Path) -> int:
    """Return the size of a file or of all files below a folder; follows no link and passes over what vanishes."""
    total = 0
    if folder.is_symlink() or not folder.is_dir():
        return _file_bytes(folder)
    for below, _, files in os.walk(folder):
        total += sum(_file_bytes(Path(below, name)) for name in files)
    return total


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all in it; no link is followed, and what cannot be removed stays."""
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def changed_s(path: Path) -> float:
    """Tell when a file or folder was last changed, in seconds since 1970; 0 when it is gone."""
    try:
        return path.lstat().st_mtime
    except OSError:
        return 0.0


def _make_own(own: Path) -> None:
    """Make our folder and the marker in it in one step, unless something of that name is there."""
    if os.path.lexists(own):
        return
    own.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{own.name}-", dir=own.parent))
    try:
        with (new / MARKER).open("wb") as file:
            file.write(_MARK)
            file.flush()
            os.fsync(file.fileno())
        new.rename(own)
    except OSError:
        # Another process was faster.
        if not os.path.lexists(own):
            raise
    finally:
        remove(new)


def _is_own(own: Path) -> bool:
    """Whether a folder has our marker."""
    try:
        if not stat.S_ISDIR(own.lstat().st_mode) or not stat.S_ISREG((own / MARKER).lstat().st_mode):
            return False
        return (own / MARKER).read_bytes() == _MARK
    except OSError:
        return False


def _open_lock(path: Path) -> int:
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags, 0o600)
    except OSError:
        if stat.S_ISREG(path.lstat().st_mode):
            raise
        # A folder or a link.
        remove(path)
        return os.open(path, flags, 0o600)


def _unfit(folder: Path, asked_mb: int | None) -> str | None:
    """Say why a folder cannot be used, or None."""
    status = folder.lstat()
    if folder.is_symlink():
        return "it is a link; name the folder itself"
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        return "it must belong to the user of this process, and nobody else may write to it"
    if not os.access(folder, os.W_OK):
        return "it cannot be written to"
    if asked_mb is None and _is_in_memory(status.st_dev):
        return "it is in memory; say in CXG_CACHE_MB how many megabytes of it to take, or name a folder on disk"
    return None


def _is_in_memory(device: int) -> bool:
    """Whether a file system, by the number of its device, is memory."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return False
    found = (mount.partition(" - ")[2].split()[0] for mount in mounts if mount.split()[2] == number)
    return not _IN_MEMORY.isdisjoint(found)


def _file_bytes(path: Path) -> int:
    with contextlib.suppress(OSError):
        return path.lstat().st_size
    return 0


@functools.cache
def _warn(sentence: str) -> None:
    log.warning("%s", sentence)
