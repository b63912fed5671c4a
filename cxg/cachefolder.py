"""Where this machine keeps what it made out of datasets: decoded rows, and copies of small files from S3.

The folder is named in `CXG_CACHE_DIR`, else one in the system's temporary folder that
belongs to this user alone. It holds at most `CXG_CACHE_MB`, else a quarter of the free
space. 0 switches it off.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

_FREE_SHARE = 0.25
_MB = 1 << 20


def cache_folder(env: Mapping[str, str]) -> tuple[Path | None, int]:
    """Folder and budget in bytes from the environment; (None, 0) when there is no place for it.

    A folder that others can write to is not used: what is in it decides what users are shown.
    """
    asked = env.get("CXG_CACHE_MB", "")
    if asked == "0":
        return None, 0
    chosen = env.get("CXG_CACHE_DIR")
    try:
        # On a read-only file system there may be no temporary folder at all.
        folder = Path(chosen) if chosen else Path(tempfile.gettempdir()) / f"cellxgene-eb-{os.getuid()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
        private = status.st_uid == os.getuid() and not status.st_mode & 0o022 and folder.is_dir()
        if not private or folder.is_symlink() or not os.access(folder, os.W_OK):
            return None, 0
        free = shutil.disk_usage(folder).free + folder_bytes(folder)
    except OSError:
        return None, 0
    return folder, int(asked) * _MB if asked.isdigit() else int(free * _FREE_SHARE)


def folder_bytes(folder: Path) -> int:
    """Size of all files below a folder; those that vanish meanwhile count nothing."""
    total = 0
    for item in folder.rglob("*"):
        with contextlib.suppress(OSError):
            if item.is_file():
                total += item.stat().st_size
    return total
