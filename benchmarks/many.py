"""What our server keeps in memory when visitors have many datasets open."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from typing import Any

from benchmarks import datasets
from benchmarks.connection import Connection
from benchmarks.processes import memory
from benchmarks.questions import CATEGORICAL, EMBEDDINGS, GENES_PER_SET, Questions, diffexp_body, random_sets
from benchmarks.report import table, whole
from benchmarks.servers import OURS, Kind, planned, running
from benchmarks.sizes import Sizes

ROOT = datasets.FOLDER / "many"
# So many that each worker is asked.
_CONNECTIONS = 16
_COMPARED = 200


def measure(sizes: Sizes, port: int) -> dict[str, Any]:
    """Open one copy of the dataset after the other, and look at the memory meanwhile; nothing is timed.

    Returns
    -------
    `plan-mb`, and `open`: for each number of datasets the memory (PSS) of all processes in MB

    Raises
    ------
    RuntimeError
        A request was not answered with 200.
    """
    kind = Kind(OURS, environment=(("CXG_CACHE_MB", "0"),), place=str(ROOT))
    found: dict[str, float] = {}
    shutil.rmtree(ROOT, ignore_errors=True)
    try:
        for number in range(1, max(sizes.many) + 1):
            source = datasets.dataroot(sizes.big) / datasets.cxg_name(sizes.big)
            shutil.copytree(source, ROOT / f"{number}.cxg", copy_function=os.link)
        with running(kind, sizes.big, port) as server, ExitStack() as stack:
            visitors = [stack.enter_context(Connection(server.port)) for _ in range(_CONNECTIONS)]
            for number in range(1, max(sizes.many) + 1):
                for visitor in visitors:
                    _visit(visitor, f"/d/{number}.cxg/api/v0.2/", sizes)
                if number in sizes.many:
                    found[str(number)] = memory(server.pid).mb
    finally:
        shutil.rmtree(ROOT, ignore_errors=True)
    return {"plan-mb": planned(kind)["mb"], "open": found}


def _visit(visitor: Connection, api: str, sizes: Sizes) -> None:
    """What the web client asks at first, two genes, the mean of a gene set, a comparison."""
    ask = Questions(api, "name_0", sizes.big.cells, sizes.big.genes)
    urls = [f"{api}config", f"{api}schema", ask.embedding(EMBEDDINGS[0]), ask.column(CATEGORICAL[0])]
    urls += [ask.gene(5), ask.gene(6), ask.mean(list(range(7, 7 + GENES_PER_SET)))]
    for url in urls:
        _require(visitor.ask(url).status, url)
    size = min(_COMPARED, sizes.big.cells // 2)
    body = diffexp_body(*random_sets(sizes.big.cells, size, 1))
    _require(visitor.ask(f"{api}diffexp/obs", body).status, f"{api}diffexp/obs")


def _require(status: int, url: str) -> None:
    if status != 200:
        raise RuntimeError(f"many: {url} was answered with status {status}.")


def section(found: dict[str, Any]) -> str:
    """The table, and a line that says what was planned."""
    lines = [["datasets open", "memory (PSS), MB"], *([number, whole(mb)] for number, mb in found["open"].items())]
    return f"{table(lines)}\nPlanned were {found['plan-mb']:,} MB for all workers.\n"
