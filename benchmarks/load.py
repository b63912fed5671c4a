"""Many visitors at once: each keeps one connection and asks again as soon as it has its answer.

A process of its own, so that its processor time is known: ``python -m benchmarks.load`` reads
what to do as JSON from standard input and writes what it saw as JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.connection import BROWSER, connect, parse_head, request_bytes
from benchmarks.datasets import ROOT
from benchmarks.processes import cpu_s
from benchmarks.results import percentile

_BUFFER = memoryview(bytearray(1 << 18))
_SILENCE_S = 120.0


class Visitor:
    """One connection with one request under way."""

    def __init__(self, port: int, encoding: str, questions: Iterator[tuple[str, str]]) -> None:
        self._port, self._encoding, self._questions = port, encoding, questions
        self.sock: socket.socket = connect(port, None)
        self.kind = ""
        self._head = b""
        self._missing: int | None = 0
        self._closes = False
        self.started, self.size, self.status = 0.0, 0, 0

    def ask(self) -> bool:
        """Send the next request; False when there is none left."""
        question = next(self._questions, None)
        if question is None:
            return False
        self.kind, path = question
        self._head, self._missing, self.size = b"", None, 0
        sent = request_bytes(path, self._encoding)
        self.started = time.perf_counter()
        self.sock.sendall(sent)
        return True

    def receive(self) -> bool:
        """Take what has arrived; True when the answer is complete.

        Raises
        ------
        OSError
            The connection ended in the middle of an answer.
        """
        count = self.sock.recv_into(_BUFFER)
        if count == 0:
            raise OSError("The connection ended in the middle of an answer.")
        if self._missing is None:
            self._head += _BUFFER[:count]
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return False
            head = parse_head(self._head[:end])
            self.status, self._closes = head.status, head.closes
            if head.length is None:
                raise OSError("The answer does not say how long it is.")
            count = len(self._head) - end - 4
            self._missing = head.length
        self.size += count
        self._missing -= count
        return self._missing <= 0

    def reconnect_if_closed(self) -> bool:
        if not self._closes:
            return False
        self.sock.close()
        self.sock = connect(self._port, None)
        return True


class Tally:
    """Answers inside the measured window."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self.bytes = self.failed = 0

    def add(self, visitor: Visitor, now: float) -> None:
        if visitor.status == 200:
            self.seconds.setdefault(visitor.kind, []).append(now - visitor.started)
            self.bytes += visitor.size
        else:
            self.failed += 1


def drive(job: dict[str, Any]) -> dict[str, Any]:
    """Do one job: `port`, `clients`, `encoding`, `warm_s`, `load_s`, `server_pid`, `questions`, `again`."""
    listed = [(kind, path) for kind, path in job["questions"]]
    questions = itertools.cycle(listed) if job["again"] else iter(listed)
    selector = selectors.DefaultSelector()
    for _ in range(job["clients"]):
        visitor = Visitor(job["port"], job["encoding"], questions)
        selector.register(visitor.sock, selectors.EVENT_READ, visitor)
        visitor.ask()
    begun = time.perf_counter()
    _run(selector, begun + job["warm_s"], Tally())
    tally = Tally()
    marks = (time.perf_counter(), time.process_time(), cpu_s(job["server_pid"]))
    ended_by_itself = _run(selector, marks[0] + job["load_s"], tally)
    elapsed, own, server = (
        now - then
        for now, then in zip((time.perf_counter(), time.process_time(), cpu_s(job["server_pid"])), marks, strict=True)
    )
    for key in list(selector.get_map().values()):
        key.data.sock.close()
    return _summary(tally, elapsed, own, server) | {"ran_out": ended_by_itself}


def _run(selector: selectors.BaseSelector, until: float, tally: Tally) -> bool:
    """Answer events until the time is up; True when the questions ran out before."""
    while (now := time.perf_counter()) < until:
        if not selector.get_map():
            return True
        ready = selector.select(min(_SILENCE_S, until - now))
        for key, _ in ready:
            visitor: Visitor = key.data
            if not visitor.receive():
                continue
            tally.add(visitor, time.perf_counter())
            closed = visitor.reconnect_if_closed()
            if closed:
                selector.unregister(key.fileobj)
            if visitor.ask():
                if closed:
                    selector.register(visitor.sock, selectors.EVENT_READ, visitor)
            else:
                if not closed:
                    selector.unregister(key.fileobj)
                visitor.sock.close()
    return False


def _summary(tally: Tally, elapsed: float, own_s: float, server_s: float) -> dict[str, Any]:
    everything = sorted(itertools.chain.from_iterable(tally.seconds.values()))
    count = len(everything)
    return {
        "per_s": count / elapsed,
        "requests": count,
        "failed": tally.failed,
        "mb_per_s": tally.bytes / elapsed / 1e6,
        "median_s": percentile(everything, 0.5) if count else None,
        "p95_s": percentile(everything, 0.95) if count else None,
        "max_s": everything[-1] if count else None,
        "by_kind_median_s": {kind: percentile(values, 0.5) for kind, values in sorted(tally.seconds.items())},
        "client_cpus": own_s / elapsed,
        "server_cpus": server_s / elapsed,
    }


def run(
    port: int,
    server_pid: int,
    questions: list[tuple[str, str]],
    clients: int,
    warm_s: float,
    load_s: float,
    *,
    again: bool = True,
    encoding: str = BROWSER,
) -> dict[str, Any]:
    """Put a load on a server, from a process of its own.

    Raises
    ------
    RuntimeError
        That process failed; the text holds the end of what it said.
    """
    job = {
        "port": port,
        "server_pid": server_pid,
        "questions": questions,
        "clients": clients,
        "warm_s": warm_s,
        "load_s": load_s,
        "again": again,
        "encoding": encoding,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        check=False,
        input=json.dumps(job).encode(),
        capture_output=True,
        timeout=warm_s + load_s + 2 * _SILENCE_S,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    if done.returncode:
        raise RuntimeError(f"the load generator failed:\n{done.stderr.decode(errors='replace')[-2000:]}")
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


if __name__ == "__main__":
    sys.stdout.write(json.dumps(drive(json.load(sys.stdin))))
