"""Memory and processor time of processes, and the machine they run on, from /proc."""

from __future__ import annotations

import os
import platform
import re
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
MB = 1 << 20


def tree(root: int) -> list[int]:
    """A process and all its descendants."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            fields = _stat(int(folder.name))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


class Memory(NamedTuple):
    """Proportional set size in MB: shared pages are counted once.

    Attributes
    ----------
    mb : all of it
    anonymous_mb : what only this server can give back
    file_mb : pages of mapped files, which the operating system takes back when it needs them
    """

    mb: float
    anonymous_mb: float
    file_mb: float


def memory(root: int) -> Memory:
    """Memory of a process and its descendants."""
    kilobytes = dict.fromkeys(("Pss", "Pss_Anon", "Pss_File"), 0)
    for pid in tree(root):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        for name in kilobytes:
            match = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
            kilobytes[name] += int(match[1]) if match else 0
    return Memory(*(count * 1024 / MB for count in kilobytes.values()))


def cpu_s(root: int) -> float:
    """Processor time that a process and its descendants have used; what ended before is not in it."""
    return sum(float(fields[11]) + float(fields[12]) for fields in map(_stat, tree(root)) if fields) / _TICKS


def own_cpu_s() -> float:
    """Processor time of this process and all that it started, what ended before included."""
    return sum(sum(map(float, fields[11:15])) for fields in map(_stat, tree(os.getpid())) if fields) / _TICKS


def machine_busy_s() -> float:
    """Processor time that everything on this machine has used since it started."""
    numbers = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = numbers
    return (user + nice + system + irq + softirq + steal) / _TICKS


def machine() -> dict[str, Any]:
    """What this machine is: processor, how many, memory, kernel, Python."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model[1].strip() if model else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / (1 << 30), 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


class PeakWatch:
    """Looks at the memory of a process and its descendants at short intervals, in a thread of its own.

    Looking costs the watched process a little, so nothing is timed meanwhile.
    """

    def __init__(self, root: int, interval_s: float = 0.1) -> None:
        self._root, self._interval_s = root, interval_s
        self._stop = threading.Event()
        self.peak = Memory(0.0, 0.0, 0.0)  # the largest of each kind, not all at one moment
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.peak = Memory(*map(max, self.peak, memory(self._root)))
            self._stop.wait(self._interval_s)


def peak_resident_mb(pid: int) -> float:
    """Largest resident memory of a process so far; 0 when it has ended."""
    try:
        match = re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return int(match[1]) * 1024 / MB if match else 0.0


def is_running(pid: int) -> bool:
    """Whether a process is there and not a zombie."""
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z"


def wait_idle(root: int, quiet_s: float = 1.0, limit_s: float = 180.0) -> float:
    """Wait until a server has used less than 3 % of a processor for `quiet_s`; answers how long that took."""
    started = time.monotonic()
    since, used = started, cpu_s(root)
    while time.monotonic() - started < limit_s:
        time.sleep(0.1)
        now = cpu_s(root)
        if now - used > 0.03 * quiet_s:
            since, used = time.monotonic(), now
        elif time.monotonic() - since >= quiet_s:
            break
    return time.monotonic() - started


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat from the state on.

    [0] state, [1] parent; in ticks [11] user, [12] system time, [13], [14] the same of its ended children.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
