"""Where this machine keeps what it made out of datasets, all on local disk: decoded cells, genes, columns and
embeddings (`cxg.decoded`), and copies of small files from S3 (`cxg.copies`).

The folder is named in `CXG_CACHE_DIR`, else one in the system's temporary folder that
belongs to this user alone. It holds at most `CXG_CACHE_MB`, else a quarter of the free
space; a folder in memory is used only where `CXG_CACHE_MB` says how much of it. 0 switches it off.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cxg.config.environment import read_number

log = logging.getLogger(__name__)

_FREE_SHARE = 0.25
_MB = 1 << 20
# https://docs.kernel.org/filesystems/proc.html#proc-pid-mountinfo-information-about-mounts; other systems have none.
_MOUNTS = Path("/proc/self/mountinfo")
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})


def cache_folder(env: Mapping[str, str]) -> tuple[Path | None, int]:
    """Folder and budget in bytes from the environment; (None, 0) when there is no place for it.

    A folder that others can write to is not used: what is in it decides what users are shown.

    Raises
    ------
    ConfigError
        `CXG_CACHE_MB` is no number.
    """
    asked_mb = read_number(env, "CXG_CACHE_MB", 0, "megabytes")
    if asked_mb == 0:
        return None, 0
    chosen = env.get("CXG_CACHE_DIR")
    try:
        # On a read-only file system there may be no temporary folder at all.
        folder = Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"cellxgene-eb-{os.getuid()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfit = _unfit(folder, asked_mb)
        free = shutil.disk_usage(folder).free + folder_bytes(folder)
    except OSError as error:
        unfit = str(error.strerror or error)
    if unfit is not None:
        if chosen:
            _warn(f"CXG_CACHE_DIR names {chosen}, which is not used, so that answers take longer: {unfit}.")
        return None, 0
    return folder, int(free * _FREE_SHARE) if asked_mb is None else asked_mb * _MB


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
        mounts = _MOUNTS.read_text(errors="replace").splitlines()
    except OSError:
        return False
    found = (mount.partition(" - ")[2].split()[0] for mount in mounts if mount.split()[2] == number)
    return not _IN_MEMORY.isdisjoint(found)


@functools.cache
def _warn(sentence: str) -> None:
    log.warning("%s", sentence)


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder; those that vanish meanwhile count nothing."""
    total = 0
    for item in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if item.is_file():
                total += item.stat().st_size
    return total
