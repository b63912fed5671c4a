"""Our server alone: memory with many datasets open, and what a hundred times the cells cost.

The largest dataset takes some 30 GB of disk while it is measured; what was made is removed afterwards.
"""

from __future__ import annotations

import http.client
import math
import os
import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import datasets
from benchmarks.connection import BROWSER, Connection
from benchmarks.processes import MB, memory
from benchmarks.questions import CATEGORICAL, EMBEDDINGS, GENES_PER_SET, Questions, diffexp_body, random_sets
from benchmarks.results import OURS, Results
from benchmarks.run import Run
from benchmarks.servers import Kind, Running, planned, running
from benchmarks.sizes import Data, Sizes

_CACHE, _MANY = datasets.FOLDER / "scale-cache", datasets.FOLDER / "many"
# So many that each worker is asked.
_CONNECTIONS = 16
_COMPARED = 200
# Bytes for each value that is not zero: as the generator writes it, in the CXG, in the
# converter's scratch files, and decoded by cell and by gene.
_H5AD, _CXG, _SCRATCH, _DECODED = 8.3, 4.5, 8.0, 14.0
_MORE_THAN_ASKED = 1.05  # the generator writes a little more than it was asked for
_ROOM_LEFT_BYTES = 2 << 30


def many(sizes: Sizes, results: Results) -> None:
    """Open one copy of the dataset after the other, and look at the memory meanwhile; nothing is timed."""
    kind = Kind(OURS, environment=(("CXG_CACHE_MB", "0"),), place=str(_MANY))
    shutil.rmtree(_MANY, ignore_errors=True)
    try:
        for number in range(1, max(sizes.many) + 1):
            source = datasets.dataroot(sizes.big) / datasets.cxg_name(sizes.big)
            shutil.copytree(source, _MANY / f"{number}.cxg", copy_function=os.link)
        with running(kind, sizes.big) as server, ExitStack() as stack:
            visitors = [stack.enter_context(Connection(server.port)) for _ in range(_CONNECTIONS)]
            for number in range(1, max(sizes.many) + 1):
                for visitor in visitors:
                    _visit(visitor, f"/d/{number}.cxg/api/v0.2/", sizes.big)
                if number in sizes.many:
                    results.add(f"memory (PSS) with {number} open, MB", OURS, [memory(server.pid).mb])
        results.add("memory planned, MB", OURS, [planned(kind)["mb"]])
    finally:
        shutil.rmtree(_MANY, ignore_errors=True)


def _visit(visitor: Connection, api: str, data: Data) -> None:
    """What the web client asks at first, two genes, the mean of a gene set, a comparison."""
    ask = Questions(api, "name_0", data.cells, data.genes)
    urls = [f"{api}config", f"{api}schema", ask.embedding(EMBEDDINGS[0]), ask.column(CATEGORICAL[0])]
    urls += [ask.gene(5), ask.gene(6), ask.mean(list(range(7, 7 + GENES_PER_SET)))]
    body = diffexp_body(*random_sets(data.cells, min(_COMPARED, data.cells // 2), 1))
    for url, sent in [*((url, None) for url in urls), (f"{api}diffexp/obs", body)]:
        status = visitor.ask(url, sent).status
        if status != 200:
            raise RuntimeError(f"many: {url} was answered with status {status}.")


def check_room(scale: tuple[Data, ...]) -> None:
    """See that the largest dataset fits, before anything is measured.

    Raises
    ------
    RuntimeError
        It does not.
    """
    datasets.FOLDER.mkdir(parents=True, exist_ok=True)
    most = max(scale, key=_values)
    # The h5ad and the scratch files are gone when X is decoded.
    needed = int(_values(most) * (_CXG + max(_H5AD + _SCRATCH, _DECODED))) + _ROOM_LEFT_BYTES
    free = shutil.disk_usage(datasets.FOLDER).free
    if free < needed:
        raise RuntimeError(
            f"scale: {most.cells:,} cells need {needed / 1e9:.0f} GB in {datasets.FOLDER}, where {free / 1e9:.0f} GB "
            "are free: make room, or leave it out (--only)."
        )


def _values(data: Data) -> float:
    """About how many values of X are not zero."""
    return data.cells * data.genes * data.density * _MORE_THAN_ASKED


def scale(data: Data, sizes: Sizes, results: Results, vegeta: Path | None, *, keep: bool) -> None:
    """Make, convert and serve one dataset: first without decoded copies, then with, then looking at the memory."""
    column = f"{data.cells:,} cells"
    fitting = tuple((size, 3, 1) for size in sizes.scale_sets if 2 * size <= data.cells)
    sizes = replace(sizes, diffexp=fitting, contiguous=(), rest=())
    # One copy may take half of what the cache is allowed, which is not what it takes.
    cache_mb = math.ceil(2 * _values(data) * _DECODED / MB) + 64
    undecoded, decoded = (_kind(megabytes) for megabytes in (0, cache_mb))
    try:
        for row, value in (datasets.convert(data, again=True) or {}).items():
            results.add(row, column, [value])
        if not keep:
            datasets.forget(data)
        with running(undecoded, data) as server:
            run = Run(server, sizes, results, 0, column)
            run.start()
            run.latency(BROWSER, repeats=0)
            run.diffexp(decoded=False)
        shutil.rmtree(_CACHE, ignore_errors=True)
        with running(decoded, data) as server:
            run = Run(server, sizes, results, 1, column)
            run.prepare()
            seconds, taken = run.decode(), sum(item.stat().st_size for item in _CACHE.rglob("*") if item.is_file())
            if not taken:
                raise RuntimeError(f"scale: {data.cells:,} cells were not decoded; there is nothing in {_CACHE}.")
            results.add("until X is decoded, s", column, [seconds])
            results.add("decoded X on disk, MB", column, [taken / 1e6])
            run.latency_decoded(BROWSER)
            run.diffexp(column=f"{column}, decoded")
        shutil.rmtree(_CACHE, ignore_errors=True)
        with running(decoded, data) as server:
            run = Run(server, sizes, results, 2, column)
            run.prepare()
            run.memory(vegeta, lambda: ask_every_route(server, run.questions))
    finally:
        shutil.rmtree(_CACHE, ignore_errors=True)
        if not keep:
            datasets.forget(data)
            shutil.rmtree(datasets.dataroot(data), ignore_errors=True)


def _kind(cache_mb: int) -> Kind:
    return Kind(OURS, environment=(("CXG_CACHE_DIR", str(_CACHE)), ("CXG_CACHE_MB", str(cache_mb))))


def ask_every_route(server: Running, ask: Questions) -> None:
    """Ask every route of the API once, beside diffexp.

    Raises
    ------
    RuntimeError
        One did not answer as it should.
    """
    api, gene, page = ask.api, urlsplit(ask.gene(1)).query, ask.api.removesuffix("api/v0.2/")
    body = '{"filter": {"var": {"index": [2]}}}'
    asked: list[tuple[str, str, str | None, str]] = [
        *(("GET", path, None, "") for path in ("/", "/health", "/health/live", "/health/ready", page)),
        *(("GET", f"{api}{name}", None, "") for name in ("schema", "config", "colors", "genesets")),
        *(("GET", f"{api}{name}", None, "") for name in ("annotations/var", "layout/obs")),
        *(("GET", path, None, "") for path in (ask.column(CATEGORICAL[0]), ask.embedding(EMBEDDINGS[0]), ask.gene(0))),
        ("GET", ask.mean([3, 4]), None, ""),
        ("PUT", f"{api}data/var", body, "application/json"),
        ("POST", f"{api}summarize/var", f"method=mean&{gene}", "application/x-www-form-urlencoded"),
    ]
    for method, path, sent, kind in asked:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        connection.request(method, path, sent, {"Accept-Encoding": "gzip", **({"Content-Type": kind} if kind else {})})
        answer = connection.getresponse()
        length = len(answer.read())
        connection.close()
        if answer.status != 200 or not length:
            raise RuntimeError(f"scale: {method} {path} was answered with status {answer.status}, {length} bytes.")
