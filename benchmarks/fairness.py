"""What a visitor waits for while clients of another address ask for comparisons without a pause.

    python -m benchmarks.fairness CXG [--rounds N] [--seconds S]

Serves one CXG with two workers, without decoded copies, and asks from 127.0.0.2 while nobody, one client or
sixteen clients of 127.0.0.1 compare all cells over and over; whoever is refused asks again at once. The states are
measured in turn, in rounds. Everything that asks is one process, whose processor time is told too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from benchmarks.connection import IDENTITY, parse_head, request_bytes
from benchmarks.processes import cpu_s
from benchmarks.questions import contiguous_sets, diffexp_body
from benchmarks.results import percentile
from cxg.startup.gunicorn import gunicorn_command

LOOPS = (0, 1, 16)
_ANSWER_LIMIT_S, _START_LIMIT_S = 120.0, 30.0


class Client:
    """One connection from an address of loopback, with at most one request under way."""

    def __init__(self, port: int, source: str) -> None:
        self._port, self._source = port, source
        self._connect()

    def _connect(self) -> None:
        self.sock = socket.create_connection(("127.0.0.1", self._port), source_address=(self._source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, raw: bytes) -> None:
        self._received, self._closes = bytearray(), False
        self.sock.sendall(raw)

    def receive(self) -> int:
        """Status of the answer when it is complete, else 0."""
        part = self.sock.recv(1 << 20)
        if not part:
            raise OSError("The connection ended in the middle of an answer.")
        self._received += part
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return 0
        head = parse_head(bytes(self._received[:end]))
        if len(self._received) < end + 4 + (head.length or 0):
            return 0
        self._closes = head.closes
        return head.status

    def reopen_if_closed(self) -> bool:
        """Whether the server asked for a new connection."""
        if self._closes:
            self.sock.close()
            self._connect()
        return self._closes


class Crowd:
    """Clients of one address that repeat one request."""

    def __init__(self, port: int, count: int, raw: bytes) -> None:
        self._raw, self.statuses = raw, Counter[int]()
        self.selector = selectors.DefaultSelector()
        self._clients = [Client(port, "127.0.0.1") for _ in range(count)]
        for client in self._clients:
            client.ask(raw)
            self.selector.register(client.sock, selectors.EVENT_READ, client)

    def handle(self, client: Client) -> None:
        status = client.receive()
        if not status:
            return
        self.statuses[status] += 1
        old = client.sock
        if client.reopen_if_closed():
            self.selector.unregister(old)
            self.selector.register(client.sock, selectors.EVENT_READ, client)
        client.ask(self._raw)

    def run(self, seconds: float, visitor: Client | None = None) -> int:
        """Keep asking, until the visitor has its answer, whose status it gives, or for some time."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > 0:
            for key, _ in self.selector.select(left):
                if visitor is None or key.data is not visitor:
                    self.handle(key.data)
                elif status := visitor.receive():
                    return status
        return 0

    def close(self) -> None:
        for client in self._clients:
            client.sock.close()
        self.selector.close()


def measure(port: int, loop: int, looped: bytes, asked: dict[str, bytes], seconds: float) -> dict[str, list[float]]:
    """Seconds of each kind of request that the visitor makes in turn for some time, refusals as infinity."""
    crowd = Crowd(port, loop, looped)
    times: dict[str, list[float]] = defaultdict(list)
    crowd.run(1.0 if loop else 0.0)
    marks, until = (time.perf_counter(), time.process_time()), time.perf_counter() + seconds
    before = crowd.statuses.copy()
    while time.perf_counter() < until:
        for kind, raw in asked.items():
            # A connection each time: which worker gets it is left to chance, as for a visitor.
            visitor = Client(port, "127.0.0.2")
            crowd.selector.register(visitor.sock, selectors.EVENT_READ, visitor)
            started = time.perf_counter()
            visitor.ask(raw)
            status = crowd.run(_ANSWER_LIMIT_S, visitor)
            times[kind].append(time.perf_counter() - started if status == 200 else float("inf"))
            crowd.selector.unregister(visitor.sock)
            visitor.sock.close()
            crowd.run(0.02)
    took = time.perf_counter() - marks[0]
    counts = ", ".join(f"{(crowd.statuses - before)[status] / took:.1f}/s of {status}" for status in crowd.statuses)
    own = (time.process_time() - marks[1]) / took
    sys.stdout.write(f"  x{loop}: loop {counts or 'none'}; asking took {own:.3f} processors\n")
    sys.stdout.flush()
    crowd.close()
    return times


@contextlib.contextmanager
def serving(cxg: Path, workers: int) -> Iterator[tuple[int, int]]:
    """Port and process id of a server for one CXG."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        kept = ("CXG_CLIENT_DIR",)
        env = {name: value for name, value in os.environ.items() if not name.startswith("CXG_") or name in kept}
        env |= {"CXG_DATAROOT": str(cxg.parent), "CXG_CACHE_MB": "0", "CXG_CACHE_DIR": folder}
        env |= {"CXG_WORKERS": str(workers), "AWS_EC2_METADATA_DISABLED": "true"}
        process = subprocess.Popen(gunicorn_command("127.0.0.1", port, workers, 8), env=env)
        try:
            until = time.monotonic() + _START_LIMIT_S
            while time.monotonic() < until:
                with contextlib.suppress(OSError):
                    Client(port, "127.0.0.2").sock.close()
                    break
                time.sleep(0.05)
            yield port, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def main(argv: list[str] | None = None) -> int:
    """Run the command; the answer is the process's exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cxg", type=Path)
    parser.add_argument("--cells", type=int, default=40_000)
    parser.add_argument("--gene", default="GENE7")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)
    api = f"/d/{args.cxg.name}/api/v0.2/"
    few, most = (diffexp_body(*contiguous_sets(args.cells, size, 1)) for size in (150, args.cells // 2 - 1))
    asked = {
        "schema": request_bytes(f"{api}schema", IDENTITY, accept="*/*"),
        "gene": request_bytes(f"{api}data/var?var:name_0={args.gene}", IDENTITY),
        "150+150 cells": request_bytes(f"{api}diffexp/obs", IDENTITY, few, "application/json"),
        "all cells": request_bytes(f"{api}diffexp/obs", IDENTITY, most, "application/json"),
    }
    times: dict[tuple[int, str], list[float]] = defaultdict(list)
    with serving(args.cxg, args.workers) as (port, pid):
        measure(port, 0, asked["all cells"], asked, 3.0)  # opens it in both workers
        for _ in range(args.rounds):
            for loop in LOOPS:
                server = cpu_s(pid)
                for kind, found in measure(port, loop, asked["all cells"], asked, args.seconds).items():
                    times[loop, kind] += found
                sys.stdout.write(f"  the server took {cpu_s(pid) - server:.1f} s of processors\n")
    sys.stdout.write("p50 / max in ms, answers\n")
    for kind in asked:
        found = [sorted(times[loop, kind]) for loop in LOOPS]
        cells = [f"{percentile(one, 0.5) * 1e3:.0f} / {one[-1] * 1e3:.0f}, {len(one)}" for one in found]
        sys.stdout.write(f"| {kind} | {' | '.join(cells)} |\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
