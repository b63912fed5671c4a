"""Many visitors at once, by vegeta (github.com/tsenart/vegeta): each asks again when it has its answer."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.connection import BROWSER
from benchmarks.datasets import FOLDER
from benchmarks.processes import cpu_s

_SOURCE = "github.com/tsenart/vegeta/v12@v12.12.0"
_ANSWER_LIMIT_S = 120
_ACCEPT = "application/octet-stream, */*;q=0.5"


def program() -> Path | None:
    """The load generator: of the path, else built now where Go is installed; None where neither is there."""
    found, own = shutil.which("vegeta"), FOLDER / "bin" / "vegeta"
    if found or own.is_file():
        return Path(found or own)
    go = shutil.which("go")
    if go is None:
        return None
    done = subprocess.run([go, "install", _SOURCE], check=False, env={**os.environ, "GOBIN": str(own.parent)})
    return own if done.returncode == 0 else None


def run(
    vegeta: Path,
    port: int,
    server_pid: int,
    paths: list[str],
    clients: int,
    warm_s: float,
    load_s: float,
    *,
    again: bool = True,
    encoding: str = BROWSER,
) -> dict[str, float]:
    """Put a load on a server, and tell what came of it after the first `warm_s` seconds.

    Parameters
    ----------
    paths : asked in this order
    again : start over after the last one; else each is asked once, and then the load ends

    Raises
    ------
    RuntimeError
        A request was not answered with 200; the text counts the answers by status.
    """
    targets, results = FOLDER / "targets.txt", FOLDER / "targets.bin"
    command = [str(vegeta), "attack", f"-targets={targets}", f"-output={results}", "-rate=0", "-http2=false"]
    command += [f"-workers={clients}", f"-max-workers={clients}", f"-timeout={_ANSWER_LIMIT_S}s", "-max-body=0"]
    command += [f"-header=Accept-Encoding: {encoding}", f"-header=Accept: {_ACCEPT}", *["-lazy"] * (not again)]

    def attack(asked: list[str], seconds: float) -> None:
        targets.write_text("".join(f"GET http://127.0.0.1:{port}{path}\n" for path in asked))
        subprocess.run([*command, f"-duration={seconds}s"], check=True)

    warming = len(paths) // 4
    attack(paths[:warming], warm_s)
    began, own, server = time.perf_counter(), _children_s(), cpu_s(server_pid)
    attack(paths if again else paths[warming:], load_s)
    elapsed, own, server = time.perf_counter() - began, _children_s() - own, cpu_s(server_pid) - server
    report = subprocess.run([str(vegeta), "report", "-type=json", str(results)], check=True, capture_output=True)
    seen = json.loads(report.stdout)
    if set(seen["status_codes"]) != {"200"}:
        raise RuntimeError(f"{clients} clients: answers by status {seen['status_codes']}, {seen['errors'][:3]}")
    return {
        "per_s": seen["throughput"],
        "median_s": seen["latencies"]["50th"] / 1e9,
        "p95_s": seen["latencies"]["95th"] / 1e9,
        "client_cpus": own / elapsed,
        "server_cpus": server / elapsed,
    }


def _children_s() -> float:
    """Processor time of processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
