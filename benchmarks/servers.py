"""Either server as a process of its own on loopback, started and ended here."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.connection import Connection
from benchmarks.datasets import FOLDER, ROOT, cxg_name, dataroot, h5ad_path
from benchmarks.results import OURS
from benchmarks.sizes import Data
from cxg.config.runtime import Runtime
from cxg.memory import plan

_POLL_S = 0.005
_START_LIMIT_S = 300.0


@dataclass(frozen=True)
class Kind:
    """A server to measure: ours, or the published one with the h5ad in one form."""

    name: str
    form: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    place: str = ""  # dataroot, where it is not the usual folder

    @property
    def label(self) -> str:
        return f"{self.name} {self.form}".strip()


@dataclass(frozen=True)
class Running:
    """A started server.

    Attributes
    ----------
    api : path of the API, with a slash at the end
    healthy_s : from the start of the process to its first healthy answer
    """

    kind: Kind
    data: Data
    pid: int
    port: int
    api: str
    healthy_s: float


def reference_python() -> Path:
    """Interpreter of the published server's environment, made now if it is missing."""
    from tests.reference.env import ensure

    return ensure()


def environment(kind: Kind) -> dict[str, str]:
    """Environment of a server of ours; nothing of the caller's own configuration may change what is measured."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("CXG_") or name == "CXG_CLIENT_DIR"
    }
    ours = {"CXG_CACHE_DIR": str(FOLDER / "cache"), "AWS_EC2_METADATA_DISABLED": "true"}
    return {**kept, **ours, **dict(kind.environment)}


def planned(kind: Kind) -> dict[str, int]:
    """What a server of ours prints as its memory plan: all workers at most, in MB, how many, and of how much."""
    shares = plan(Runtime.of(environment(kind)))
    return {"mb": shares.workers * shares.worker_mb, "workers": shares.workers, "total_mb": shares.total_mb}


@contextlib.contextmanager
def running(kind: Kind, data: Data, port: int = 0, *, fresh_cache: bool = False) -> Iterator[Running]:
    """Start a server, wait until it is healthy, end it with the block.

    Parameters
    ----------
    port : 0 takes a free one
    fresh_cache : remove what earlier servers of ours left decoded on disk

    Raises
    ------
    RuntimeError
        It ended by itself, or was not healthy in time; the text holds the end of its log.
    """
    if fresh_cache:
        shutil.rmtree(FOLDER / "cache", ignore_errors=True)
    port = port or _free_port()
    command, env, api = _ours(kind, data, port) if kind.name == OURS else _theirs(kind, data, port)
    log = FOLDER / f"{kind.name}.log"
    with log.open("wb") as out:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=ROOT, start_new_session=True
        )
    try:
        healthy_s = _wait_healthy(process, port, started, log)
        yield Running(kind, data, process.pid, port, api, healthy_s)
    finally:
        _end(process)


def _ours(kind: Kind, data: Data, port: int) -> tuple[list[str], dict[str, str], str]:
    command = [
        sys.executable,
        "-m",
        "cxg.cli.main",
        "launch",
        kind.place or str(dataroot(data)),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    return command, environment(kind), f"/d/{cxg_name(data)}/api/v0.2/"


def _theirs(kind: Kind, data: Data, port: int) -> tuple[list[str], dict[str, str], str]:
    program = reference_python().parent / "cellxgene"
    options = ["--host", "127.0.0.1", "--port", str(port), "--disable-annotations", "--disable-gene-sets-save"]
    command = [str(program), "--no-upgrade-check", "launch", str(h5ad_path(data, kind.form)), *options]
    home = FOLDER / "home"
    home.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, "PYTHONPATH": "", "HOME": str(home), "AWS_EC2_METADATA_DISABLED": "true"}
    return command, env, "/api/v0.2/"


def _wait_healthy(process: subprocess.Popen[bytes], port: int, started: float, log: Path) -> float:
    while time.perf_counter() - started < _START_LIMIT_S and process.poll() is None:
        with contextlib.suppress(OSError), Connection(port, timeout_s=30) as connection:
            if connection.ask("/health").status == 200:
                return time.perf_counter() - started
        time.sleep(_POLL_S)
    raise RuntimeError(f"The server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process, then whatever is left of its session, which was started here."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
