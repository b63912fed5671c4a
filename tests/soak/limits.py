"""A bound on the memory of a server, by a control group where this machine lets us make one."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_V1, _V2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
# Enters the group named first, then becomes the command that follows.
_ENTER = ("sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"')


class Limit(NamedTuple):
    """A bound that is in force.

    Attributes
    ----------
    within : tuple of str
        Put before a command; empty where nothing enforces the bound.
    how : str
        For the report.
    group : Path, or None
        The control group.
    """

    within: tuple[str, ...]
    how: str
    group: Path | None = None

    def kills(self) -> int:
        """Processes that the kernel ended for want of memory."""
        return (
            0 if self.group is None else _number(r"oom_kill (\d+)", self.group, "memory.oom_control", "memory.events")
        )

    def peak_mb(self) -> int:
        """Most that the group used, pages of files included; 0 where it is not known."""
        files = ("memory.max_usage_in_bytes", "memory.peak")
        return 0 if self.group is None else _number(r"(\d+)", self.group, *files) >> 20


def _number(pattern: str, group: Path, *files: str) -> int:
    for file in files:
        with contextlib.suppress(OSError):
            found = re.search(pattern, (group / file).read_text())
            return int(found[1]) if found else 0
    return 0


@contextlib.contextmanager
def limited(name: str, limit_mb: int) -> Iterator[Limit]:
    """Make a group of at most `limit_mb` until the block ends, in the first way that works here.

    Root makes it in the file system of control groups, of version 1 or 2; others ask systemd for it.
    """
    group = make_group(f"soak-{os.getpid()}-{name}", limit_mb)
    if group is not None:
        try:
            yield Limit((*_ENTER, str(group)), f"a control group of {limit_mb} MB", group)
        finally:
            with contextlib.suppress(OSError):  # a process may still be ending in it
                group.rmdir()
        return
    scope = ("systemd-run", "--user", "--scope", "--quiet", "-p", f"MemoryMax={limit_mb}M", "-p", "MemorySwapMax=0")
    if shutil.which(scope[0]) and works(*scope, "true"):
        yield Limit(scope, f"a scope of systemd of {limit_mb} MB")
    else:
        yield Limit(
            (), f"NOT ENFORCED, as no control group can be made here; held to {limit_mb} MB by measurement only"
        )


def make_group(name: str, limit_mb: int) -> Path | None:
    for top, file in ((_V1, "memory.limit_in_bytes"), (_V2, "memory.max")):
        group = top / name
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / file).write_text(str(limit_mb << 20))
            with contextlib.suppress(OSError):
                (group / "memory.swap.max").write_text("0")
            if works(*_ENTER, str(group), "true"):
                return group
        except OSError:
            pass
        group.rmdir()
    return None


def works(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True, timeout=30).returncode == 0
