"""A server as `cxg launch` starts it: its address, its workers, its memory, its log."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import requests

from tests.integration.registry import free_port
from tests.served import stand_in_client

ROOT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 30
STOP_LIMIT_S = 40
_MB = 1 << 20


class Launched:
    """A running `cxg launch`; after the start its process is gunicorn's master."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self._log = process, port, log
        self.url = f"http://127.0.0.1:{port}"

    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace")

    def workers(self) -> tuple[int, ...]:
        """Process ids of the workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return tuple(sorted(int(pid) for pid in children.split()))

    def planned_bytes(self) -> int:
        """Most that all workers may use, as printed at the start."""
        found = re.search(r"all workers at most\s+([\d,]+) MB", self.log())
        assert found is not None, self.log()
        return int(found[1].replace(",", "")) * _MB

    def is_complete(self) -> bool:
        """Whether it answers and all its workers are there."""
        found = re.search(r"workers x threads\s+(\d+) x", self.log())
        return found is not None and _answers(f"{self.url}/health/live") and len(self.workers()) == int(found[1])

    def used_bytes(self) -> int:
        """Memory of master and workers, shared pages counted in part (PSS)."""
        return sum(_pss_bytes(pid) for pid in (self.process.pid, *self.workers()))

    def get(self, path: str, **options: object) -> requests.Response:
        """GET of a path, over a connection of its own, so that any worker may answer."""
        return requests.get(self.url + path, timeout=60, **options)  # type: ignore[arg-type]


@contextlib.contextmanager
def launched(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
    within: Sequence[str] = (),
) -> Iterator[Launched]:
    """Run `cxg launch` with a stand-in for the web client until the block ends.

    Parameters
    ----------
    folder : for the client, decoded rows and the log; made if need be
    arguments : of the command, the dataroot first
    environment : added to a clean one
    within : a command that becomes the one given to it, such as one that bounds its memory
    """
    folder.mkdir(parents=True, exist_ok=True)
    port, log = free_port(), folder / "log"
    settings = {
        **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        "HOME": str(folder),
        "PYTHONPATH": str(ROOT),
        "AWS_EC2_METADATA_DISABLED": "true",
        "CXG_CACHE_DIR": str(folder / "rows"),
        **(environment or {}),
    }
    options = ("--host", host, "--port", str(port), "--client", str(stand_in_client(folder / "client")))
    command = [*within, sys.executable, "-m", "cxg.cli.main", "launch", *arguments, *options]
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=settings, cwd=folder, stdout=output, stderr=output)
    server = Launched(process, port, log)
    try:
        wait_until(lambda: process.poll() is not None or server.is_complete(), START_LIMIT_S, server)
        assert process.poll() is None, f"it ended with {process.returncode}:\n{server.log()}"
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT_S)
        finally:
            process.kill()


def wait_until(holds: Callable[[], bool], limit_s: float, server: Launched) -> None:
    """Return once it holds; fail with the server's log when it does not in time."""
    deadline = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"not so within {limit_s} s; the server's log:\n{server.log()[-5000:]}")
        time.sleep(0.05)


def _answers(url: str) -> bool:
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=5).status_code == 200
    return False


def _pss_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):  # it may have just ended
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
