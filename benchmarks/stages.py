"""Where the time of an answer that nobody asked for before goes: reading, decoding, encoding, compressing, HTTP.

The same URLs are asked of a server over a socket, and of the application inside a process of
its own (``python -m benchmarks.stages`` reads what to ask as JSON from standard input), where
the functions in `HOOKS` are timed. What the application spends elsewhere is *the rest*, what
only the socket's client sees is *HTTP*.
"""

from __future__ import annotations

import functools
import importlib
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from benchmarks import goals
from benchmarks.connection import BROWSER, Connection
from benchmarks.datasets import ROOT, dataroot
from benchmarks.questions import CATEGORICAL, EMBEDDINGS, FLOATS, GENES_PER_SET
from benchmarks.report import ms, table
from benchmarks.results import Results
from benchmarks.rounds import Run
from benchmarks.servers import OURS, Kind, environment, running
from benchmarks.sizes import Sizes

# Stage -> names timed as that stage, less what they spend in other stages.
HOOKS = {
    # Another thread reads for the one that waits here.
    "TileDB": ("cxg.format.matrix.query:read", "cxg.format.matrix.query:read_text"),
    "decoding": (
        "cxg.format.dataset:Dataset.read_X_columns",
        "cxg.format.dataset:Dataset.sum_X_columns",
        "cxg.format.dataset:Dataset.read_embedding",
        "cxg.format.annotations:Annotations.read",
    ),
    "encoding": (
        "cxg.compute.embedding:scale_embedding",
        "cxg.wire.json_array:json_labels",
        "cxg.wire.json_array:json_text",
        "cxg.wire.fbs:encode_matrix",
    ),
    "compression": ("cxg.web.answers.cache:_gzip",),
}
_KIND = Kind(OURS, environment=(("CXG_CACHE_MB", "0"),))
_ROWS = (goals.CATEGORICAL, goals.FLOAT, goals.EMBEDDING, goals.GENE, goals.MEAN)


class Clock:
    """Adds up the seconds that the thread which made it spends in each stage."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(HOOKS, 0.0)
        self.calls = dict.fromkeys(HOOKS, 0)
        self._thread = threading.get_ident()
        self._inner: list[float] = []

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed; what it spends in other timed functions is theirs."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() != self._thread:
                return function(*args, **kwargs)
            self._inner.append(0.0)
            began = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                elapsed = time.perf_counter() - began
                self.spent[stage] += elapsed - self._inner.pop()
                self.calls[stage] += 1
                if self._inner:
                    self._inner[-1] += elapsed

        return wrapper

    def hook(self, stage: str, name: str) -> None:
        """Time one function, wherever the application has imported it to.

        Raises
        ------
        RuntimeError
            There is no such function any more.
        """
        module_name, _, path = name.partition(":")
        *owners, last = path.split(".")
        try:
            owner = functools.reduce(getattr, owners, importlib.import_module(module_name))
            function = getattr(owner, last)
        except (ImportError, AttributeError):
            raise RuntimeError(f"profile: {name} is gone; correct HOOKS in benchmarks/stages.py.") from None
        timed = self.timed(stage, function)
        setattr(owner, last, timed)
        for module in [module for key, module in sys.modules.items() if key.startswith("cxg.")]:
            if getattr(module, last, None) is function:
                setattr(module, last, timed)


def inside(job: dict[str, Any]) -> list[dict[str, float]]:
    """Ask the application in this process: for each path the seconds of each stage and in `total`.

    Raises
    ------
    RuntimeError
        An answer is not 200, or a stage was never seen.
    """
    from werkzeug.test import create_environ

    from cxg.config.files import load_config
    from cxg.web.app import create_app

    app, clock = create_app(load_config()), Clock()
    for stage, names in HOOKS.items():
        for name in names:
            clock.hook(stage, name)
    seen = []
    for path in (*job["before"], *job["paths"]):
        environ = create_environ(path, headers={"Accept-Encoding": BROWSER})
        status: list[str] = []
        before, began = dict(clock.spent), time.perf_counter()
        body = b"".join(app(environ, lambda line, _headers, _failure=None, status=status: status.append(line)))
        spent = {"total": time.perf_counter() - began} | {stage: clock.spent[stage] - before[stage] for stage in HOOKS}
        if status != ["200 OK"] or not body:
            raise RuntimeError(f"profile: {path} was answered with {', '.join(status)}.")
        seen.append(spent)
    never = [stage for stage, calls in clock.calls.items() if not calls]
    if never:
        raise RuntimeError(f"profile: nothing was seen of {', '.join(never)}; correct HOOKS in benchmarks/stages.py.")
    return seen[len(job["before"]) :]


def measure(sizes: Sizes, port: int) -> dict[str, Any]:
    """Median seconds of every stage, for each kind of answer asked for the first time, X not decoded.

    Raises
    ------
    RuntimeError
        One of the functions in `HOOKS` is gone, or an answer is not 200.
    """
    with running(_KIND, sizes.big, port) as server:
        run = Run(server, sizes, Results(), 0)
        before = [f"{server.api}config", f"{server.api}schema"]
        run.prepare()
        ask = run.questions
        genes = ask.genes_in_order(9)
        sets = [genes[start : start + GENES_PER_SET] for start in range(0, sizes.sets * GENES_PER_SET, GENES_PER_SET)]
        paths = [(goals.CATEGORICAL.key, ask.column(name)) for name in CATEGORICAL]
        paths += [(goals.FLOAT.key, ask.column(name)) for name in FLOATS]
        paths += [(goals.EMBEDDING.key, ask.embedding(name)) for name in EMBEDDINGS]
        paths += [(goals.GENE.key, ask.gene(gene)) for gene in genes[-sizes.genes :]]
        paths += [(goals.MEAN.key, ask.mean(chosen)) for chosen in sets]
        with Connection(server.port, BROWSER) as connection:
            outside = [connection.ask(path).seconds for path in (*before, *(path for _, path in paths))][len(before) :]
    stages = _inside_apart({"before": before, "paths": [path for _, path in paths]}, sizes)
    found: dict[str, Any] = {}
    for row in _ROWS:
        chosen = [number for number, (key, _) in enumerate(paths) if key == row.key]
        lines = [{"client": outside[number]} | stages[number] for number in chosen]
        for line in lines:
            line["HTTP"] = line["client"] - line["total"]
            line["rest"] = line["total"] - sum(line[stage] for stage in HOOKS)
        found[row.key] = {stage: statistics.median(line[stage] for line in lines) for stage in lines[0]}
        found[row.key]["asked"] = len(lines)
    return found


def _inside_apart(job: dict[str, Any], sizes: Sizes) -> list[dict[str, float]]:
    env = {**environment(_KIND), "CXG_DATAROOT": str(dataroot(sizes.big)), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "benchmarks.stages"]
    done = subprocess.run(
        command, check=False, input=json.dumps(job), capture_output=True, text=True, timeout=600, cwd=ROOT, env=env
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-1000:])
    found: list[dict[str, float]] = json.loads(done.stdout)
    return found


def section(measured: dict[str, Any]) -> str:
    """The table: milliseconds of each stage."""
    parts = ["client", "HTTP", "rest", *HOOKS]
    lines = [["*big*, first time, ms", "asked", "seen by the client", "HTTP", "the rest", *HOOKS]]
    for row in _ROWS:
        seen = measured[row.key]
        lines.append([row.text.removesuffix(", ms"), str(seen["asked"]), *(ms(seen[part]) for part in parts)])
    return table(lines)


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(inside(json.load(sys.stdin))))
    except RuntimeError as failure:
        sys.stderr.write(f"{failure}\n")
        sys.exit(2)
