"""Looks at a server while it runs: memory, processes, files, threads, the cache folder, its health."""

from __future__ import annotations

import contextlib
import http.client
import math
import re
import threading
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.processes import memory
from cxg.storage.cache_folder import folder_bytes
from tests.integration.launched import Launched
from tests.soak.client import Client
from tests.soak.limits import Limit
from tests.soak.places import FOREIGN, Disturbed

LOOK_S, PROBE_S, HEALTH_LIMIT_S = 2.0, 0.5, 1.0
_MB = 1 << 20

RESTART, ENDED = "a worker was replaced", "the server ended"
HEALTH = f"/health/live not answered within {HEALTH_LIMIT_S:.0f} s"
PLAN, LIMIT, KILLED = "memory beyond the plan", "memory beyond the limit", "ended by the kernel for want of memory"
DISK, SPOILED, LOG = (
    "cache folder larger than CXG_CACHE_MB",
    "files of the operator touched",
    "traceback or crash in the log",
)
LEAK = "files or threads pile up"
_CRASH = re.compile(r"^(?:Traceback.*|.*\[(?:CRITICAL|ERROR)\].*|.*Worker .* was sent .*)$", re.MULTILINE)


class Look(NamedTuple):
    """What was seen at one moment; memory in MB, as proportional set size."""

    at_s: float
    used_mb: float
    anonymous_mb: float
    files: int
    threads: int
    cache_mb: float


class Seen(NamedTuple):
    """Something wrong that was seen at a moment."""

    sort: str
    at_s: float
    text: str


class Watch:
    """Watches one server in two threads, from `start` to `stop`.

    Attributes
    ----------
    looks : list of Look
    faults : list of Seen
    health_s : list of float
        How long each answer of `/health/live` took.
    ended_s : float
        When the server ended by itself; what was asked of it afterwards is not judged.
    """

    def __init__(self, server: Launched, limit: Limit, limit_mb: int, cache_mb: int, disturbed: Disturbed) -> None:
        self._server, self._limit, self._disturbed = server, limit, disturbed
        self._limit_mb, self._cache_mb = limit_mb, cache_mb
        self.planned_mb = server.planned_bytes() / _MB
        self.looks: list[Look] = []
        self.faults: list[Seen] = []
        self.health_s: list[float] = []
        self.ended_s = math.inf
        self._workers, self._kills = server.workers(), 0
        self._spoiled: set[str] = set()
        self._over: set[str] = set()
        self._done = threading.Event()
        self._threads = [threading.Thread(target=task, daemon=True) for task in (self._watch, self._probe)]

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, and read the log."""
        self._done.set()
        for thread in self._threads:
            thread.join()
        for line in _CRASH.findall(self._server.log())[:20]:
            self._note(LOG, line[:200])
        first, last = self.looks[0], self.looks[-1]
        if last.files > 2 * first.files + 20 or last.threads > 2 * first.threads + 20:
            self._note(LEAK, f"{first.files} files and {first.threads} threads, now {last.files} and {last.threads}")

    def _note(self, sort: str, text: str) -> None:
        self.faults.append(Seen(sort, time.monotonic(), text))

    def _note_once(self, sort: str, value: float, most: float) -> None:
        """Note the first time that a bound is passed; the report has the largest value."""
        if value > most and sort not in self._over:
            self._over.add(sort)
            self._note(sort, f"{value:,.0f} MB, at most {most:,.0f} MB wanted")

    def _watch(self) -> None:
        while True:
            self.look()
            if self._done.wait(LOOK_S) or self.ended_s < math.inf:
                return

    def look(self) -> None:
        if self._server.process.poll() is not None:
            self.ended_s = time.monotonic()
            self._note(ENDED, f"exit code {self._server.process.returncode}; {self._limit.kills()} killed for memory")
            return
        workers = self._server.workers()
        if workers != self._workers:
            self._note(RESTART, f"processes {self._workers} are now {workers}")
            self._workers = workers
        if (kills := self._limit.kills()) > self._kills:
            self._note(KILLED, f"{kills} processes so far")
            self._kills = kills
        found = memory(self._server.process.pid)
        own = sum(len(content) for content in FOREIGN.values())
        cache_mb = (folder_bytes(self._disturbed.cache) - own) / _MB
        pids = (self._server.process.pid, *workers)
        files, threads = (sum(_count(pid, what) for pid in pids) for what in ("fd", "task"))
        self.looks.append(Look(time.monotonic(), found.mb, found.anonymous_mb, files, threads, cache_mb))
        self._note_once(PLAN, found.mb, self.planned_mb)
        self._note_once(LIMIT, found.mb, self._limit_mb)
        self._note_once(DISK, cache_mb, self._cache_mb)
        spoiled = set(self._disturbed.spoiled()) - self._spoiled
        self._spoiled |= spoiled
        for path in sorted(spoiled):
            self._note(SPOILED, path)

    def _probe(self) -> None:
        """Ask for the health from an address of its own, each time over a new connection."""
        while not self._done.wait(PROBE_S) and self.ended_s == math.inf:
            client, began_s, status = Client(self._server.port, "", HEALTH_LIMIT_S), time.monotonic(), 0
            with contextlib.suppress(OSError, http.client.HTTPException):
                status = client.ask("/health/live")[0]
            client.close()
            took_s = time.monotonic() - began_s
            self.health_s.append(took_s)
            if status != 200 or took_s > HEALTH_LIMIT_S:
                self._note(HEALTH, f"status {status or 'none'} after {took_s:.1f} s")


def _count(pid: int, what: str) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{pid}/{what}").iterdir())
    except OSError:
        return 0
