"""How the memory of the machine or container is shared out between the workers of a server.

The plan is made once, before the workers fork, and printed; every bounded structure takes
its size from it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cxg.config.runtime import NO_VARIABLES, Runtime
from cxg.memory_bounds import (
    ANSWERS_MAX_MB,
    ANSWERS_MIN_MB,
    CONNECTIONS_MB,
    LIST_MB,
    MAKING_MB,
    MB,
    OPEN_MB,
    PROGRAM_MB,
    SCAN_MB,
)

# Left to the operating system's page cache, which serves every read from disk.
PAGE_CACHE_SHARE = 0.35
CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
CGROUP_CPU = "/sys/fs/cgroup/cpu.max"


@dataclass(frozen=True)
class MemoryPlan:
    """Shares of memory, in MB (2**20 bytes).

    Attributes
    ----------
    total_mb : int
        Memory of the container or machine, or `CXG_MEMORY_MB`.
    workers, threads : int
        Gunicorn processes, and threads in each.
    answers_mb : int
        Encoded answers kept by each worker.
    open_mb : int
        What each worker knows of the datasets that are open.
    making_mb : int
        Answers that a worker is making.
    scan_mb : int
        The one long read that each worker does at a time (differential expression, gene set means).
    list_mb : int
        The list of datasets and its pictures.
    connections_mb : int
        Requests being received and answers that wait for slow clients, of each worker.
    """

    total_mb: int
    workers: int
    threads: int
    answers_mb: int
    open_mb: int = OPEN_MB
    making_mb: int = MAKING_MB
    scan_mb: int = SCAN_MB
    list_mb: int = LIST_MB
    connections_mb: int = CONNECTIONS_MB

    @property
    def worker_mb(self) -> int:
        """Return the most that one worker uses, in MB."""
        fixed_mb = PROGRAM_MB + self.open_mb + self.making_mb + self.scan_mb + self.list_mb + self.connections_mb
        return fixed_mb + self.answers_mb

    @property
    def dataset_mb(self) -> int:
        """Return the most that a single answer of one dataset may take, in MB, made while nothing else is made.

        That is what answers being made have, and of what is left to the page cache a share for each worker.
        """
        return self.making_mb + max(0, self.total_mb - self.workers * self.worker_mb) // self.workers

    def table(self) -> str:
        """Return the plan as the lines that a server prints at start."""
        rows = [
            ("memory of this container or machine", f"{self.total_mb:,} MB"),
            ("workers x threads", f"{self.workers} x {self.threads}"),
            ("each worker: program", f"{PROGRAM_MB} MB"),
            ("each worker: what is known of open datasets", f"{self.open_mb} MB"),
            ("each worker: encoded answers kept", f"{self.answers_mb} MB"),
            ("each worker: answers being made", f"{self.making_mb} MB"),
            ("each worker: one long read at a time", f"{self.scan_mb} MB"),
            ("each worker: list of datasets and its pictures", f"{self.list_mb} MB"),
            ("each worker: requests and answers on their way", f"{self.connections_mb} MB"),
            ("all workers at most", f"{self.workers * self.worker_mb:,} MB"),
        ]
        width = max(len(label) for label, _ in rows)
        return "\n".join(f"  {label:<{width}}  {value:>10}" for label, value in rows)


def plan(runtime: Runtime = NO_VARIABLES) -> MemoryPlan:
    """Share out what there is.

    Parameters
    ----------
    runtime : Runtime
        Its `memory_mb`, `workers` and `threads` replace what is found.

    Raises
    ------
    ConfigError
        One of them is not such a number.
    """
    total_mb = runtime.memory_mb or available_bytes() // MB
    cpus = available_cpus()
    shared_mb = int(total_mb * (1 - PAGE_CACHE_SHARE))
    fixed_mb = PROGRAM_MB + OPEN_MB + MAKING_MB + SCAN_MB + LIST_MB + CONNECTIONS_MB
    fits = max(1, shared_mb // (fixed_mb + ANSWERS_MIN_MB))
    workers = runtime.workers or min(cpus, fits, 8)
    threads = runtime.threads or 8
    answers_mb = min(ANSWERS_MAX_MB, max(ANSWERS_MIN_MB, shared_mb // workers - fixed_mb))
    return MemoryPlan(total_mb, workers, threads, answers_mb)


def available_bytes(limits: Sequence[str] = CGROUP_LIMITS) -> int:
    """Return the memory this process may use, in bytes: the container's limit, as a file says, else the machine's."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in limits:
        text = _read(path)
        if text.isdigit():
            return min(machine, int(text))
    return machine


def available_cpus(quota_file: str = CGROUP_CPU) -> int:
    """Return the number of processors this process may use: its affinity, cut by the container's quota."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    quota, _, period = _read(quota_file).partition(" ")
    if quota.isdigit() and period.isdigit() and int(period):
        cpus = min(cpus, max(1, round(int(quota) / int(period))))
    return cpus


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
