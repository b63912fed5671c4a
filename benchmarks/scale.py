"""What our server costs with a hundred times the cells: conversion, answers, comparisons, memory.

The largest dataset takes some 30 GB of disk while it is measured; what was made is removed afterwards.
"""

from __future__ import annotations

import http.client
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from benchmarks import datasets, goals
from benchmarks.connection import BROWSER
from benchmarks.processes import MB, PeakWatch
from benchmarks.questions import CATEGORICAL, EMBEDDINGS, Questions
from benchmarks.report import ms, seconds, short, table, times, whole
from benchmarks.results import DECODED, FIRST, UNDECODED, Results
from benchmarks.rounds import Run
from benchmarks.servers import OURS, Kind, Running, planned, running
from benchmarks.sizes import Data, Sizes

CACHE = datasets.FOLDER / "scale-cache"
# Bytes for each value that is not zero: as the generator writes it, in the CXG, in the
# converter's scratch files, and decoded by cell and by gene.
_H5AD, _CXG, _SCRATCH, _DECODED = 8.3, 4.5, 8.0, 14.0
_MORE_THAN_ASKED = 1.05  # the generator writes a little more than it was asked for
_ROOM_LEFT_BYTES = 2 << 30


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


def measure(data: Data, sizes: Sizes, ports: Iterator[int], *, keep: bool) -> dict[str, Any]:
    """Make, convert and serve one dataset.

    Parameters
    ----------
    ports : the servers take one each
    keep : leave h5ad and CXG where they are

    Returns
    -------
    `cells`, `genes`, and `values`: figures by the keys of the table's rows, seconds, bytes or MB

    Raises
    ------
    RuntimeError
        Something failed, or a route did not answer.
    """
    fitting = tuple((size, 3, 1) for size in sizes.scale_sets if 2 * size <= data.cells)
    sizes = replace(sizes, diffexp=fitting, contiguous=(), rest=())
    try:
        converted = datasets.convert(data, again=True) or {}
        if not keep:
            datasets.forget(data)
        values = {f"convert-{key}": value for key, value in converted.items() if key != "data"}
        values |= _timed(data, sizes, ports)
        values |= _watched(data, sizes, next(ports))
    finally:
        shutil.rmtree(CACHE, ignore_errors=True)
        if not keep:
            datasets.forget(data)
            shutil.rmtree(datasets.dataroot(data), ignore_errors=True)
    return {"cells": data.cells, "genes": data.genes, "values": values}


def _values(data: Data) -> float:
    """About how many values of X are not zero."""
    return data.cells * data.genes * data.density * _MORE_THAN_ASKED


def _kind(data: Data, *, decoded: bool = True) -> Kind:
    # One copy may take half of what the cache is allowed, which is not what it takes.
    cache_mb = math.ceil(2 * _values(data) * _DECODED / MB) + 64 if decoded else 0
    environment = (("CXG_CACHE_DIR", str(CACHE)), ("CXG_CACHE_MB", str(cache_mb)))
    return Kind(OURS, environment=environment)


def _timed(data: Data, sizes: Sizes, ports: Iterator[int]) -> dict[str, float | None]:
    """One server without decoded copies, then one that makes them."""
    results = Results()
    values: dict[str, float | None] = {}
    with running(_kind(data, decoded=False), data, next(ports)) as server:
        run = Run(server, sizes, results, 0)
        run.start()
        run.latency(BROWSER)
        run.diffexp(undecoded=True)
    shutil.rmtree(CACHE, ignore_errors=True)
    with running(_kind(data), data, next(ports)) as server:
        run = Run(server, sizes, results, 1)
        run.prepare()
        values["decode-seconds"] = run.decode()
        values["decode-bytes"] = sum(item.stat().st_size for item in CACHE.rglob("*") if item.is_file())
        if not values["decode-bytes"]:
            raise RuntimeError(f"scale: {data.cells:,} cells were not decoded; there is nothing in {CACHE}.")
        run.latency_decoded(BROWSER)
        run.diffexp()
    for row in (goals.START, goals.PSS_START):
        values[row.key] = results.median(row=row.key)
    for row in goals.LATENCY:
        values[row.key] = results.median(row=row.key, when=FIRST)
        values[f"{row.key}-{DECODED}"] = results.median(row=row.key, when=DECODED)
        values[f"{row.key}-bytes"] = results.size(row=row.key, when=FIRST)
    for size in sizes.scale_sets:
        key = goals.random_row(size).key
        values[key] = results.median(row=key, when=FIRST)
        values[f"{key}-{UNDECODED}"] = results.median(row=key, when=UNDECODED)
    return values


def _watched(data: Data, sizes: Sizes, port: int) -> dict[str, float]:
    """Largest memory over everything, decoding included, beside the plan; nothing is timed."""
    shutil.rmtree(CACHE, ignore_errors=True)
    kind = _kind(data)
    with running(kind, data, port) as server:
        run = Run(server, sizes, Results(), 2)
        with PeakWatch(server.pid) as watch:
            run.latency(BROWSER)
            run.diffexp(undecoded=True)
            run.diffexp()
            run.latency_decoded(BROWSER)
            run.throughput(goals.LOAD_64, 64)
            routes = _every_route(server, run.questions)
    return {
        "plan-mb": planned(kind)["mb"],
        "peak-mb": watch.peak.mb,
        "peak-anonymous-mb": watch.peak.anonymous_mb,
        "peak-file-mb": watch.peak.file_mb,
        "routes": routes,
    }


def _every_route(server: Running, ask: Questions) -> int:
    """Ask every route of the API once; answers how many there were.

    Raises
    ------
    RuntimeError
        One did not answer as it should.
    """
    api, gene, page = ask.api, urlsplit(ask.gene(1)).query, ask.api.removesuffix("api/v0.2/")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    asked: list[tuple[str, str, str | None, dict[str, str]]] = [
        *(("GET", path, None, {}) for path in ("/", "/health", "/health/live", "/health/ready", page)),
        *(("GET", f"{api}{name}", None, {}) for name in ("schema", "config", "colors", "genesets")),
        ("GET", ask.column(CATEGORICAL[0]), None, {}),
        ("GET", f"{api}annotations/var", None, {}),
        ("GET", ask.embedding(EMBEDDINGS[0]), None, {}),
        ("GET", f"{api}layout/obs", None, {}),
        ("GET", ask.gene(0), None, {}),
        ("PUT", f"{api}data/var", '{"filter": {"var": {"index": [2]}}}', {"Content-Type": "application/json"}),
        ("GET", ask.mean([3, 4]), None, {}),
        ("POST", f"{api}summarize/var", f"method=mean&{gene}", form),
    ]
    for method, path, body, headers in asked:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
        connection.request(method, path, body, {"Accept-Encoding": "gzip", **headers})
        answer = connection.getresponse()
        length = len(answer.read())
        connection.close()
        if answer.status != 200 or not length:
            raise RuntimeError(f"scale: {method} {path} was answered with status {answer.status}, {length} bytes.")
    return len(asked) + 1  # and diffexp


def _megabytes(value: float | None) -> str:
    return whole(None if value is None else value / 1e6)


def _rows(sizes: Sizes) -> list[tuple[str, str, Any]]:
    rows: list[tuple[str, str, Any]] = [
        ("convert-h5ad_bytes", "h5ad, MB", _megabytes),
        ("convert-cxg_bytes", "CXG, MB", _megabytes),
        ("convert-seconds", "conversion, s", seconds),
        ("convert-peak_mb", "conversion, peak resident memory, MB", whole),
        (goals.START.key, goals.START.text, seconds),
        (goals.PSS_START.key, goals.PSS_START.text, whole),
    ]
    for row in goals.LATENCY:
        rows.append((row.key, row.text, ms))
        if row in (goals.GENE, goals.MEAN):
            rows.append((f"{row.key}-{DECODED}", f"{row.text}, decoded", ms))
    rows.append((f"{goals.GENE.key}-bytes", "bytes of one gene, kB", lambda value: short(value / 1000)))
    for size in sizes.scale_sets:
        row = goals.random_row(size)
        rows.append((f"{row.key}-{UNDECODED}", row.text, seconds))
        rows.append((row.key, f"{row.text}, decoded", seconds))
    rows.append(("decode-seconds", "until X is decoded, s", seconds))
    rows.append(("decode-bytes", "decoded X on disk, MB", _megabytes))
    return [
        *rows,
        ("plan-mb", "memory planned, MB", whole),
        ("peak-mb", "peak memory, MB", whole),
        ("peak-anonymous-mb", "of it anonymous, at most, MB", whole),
    ]


def section(measured: list[dict[str, Any]], sizes: Sizes) -> str:
    """The table: cost against cells, and between two neighbours how many times as much."""
    head = [""]
    for number, found in enumerate(measured):
        head += ["growth"] * bool(number) + [f"{found['cells']:,} cells"]
    cells = ["cells"]
    for number, found in enumerate(measured):
        cells += [times(found["cells"], measured[number - 1]["cells"])] * bool(number) + [f"{found['cells']:,}"]
    lines = [head, cells]
    for key, text, shown in _rows(sizes):
        line, before = [text], None
        for number, found in enumerate(measured):
            value = found["values"].get(key)
            line += [times(value, before)] * bool(number)
            line.append("–" if value is None else shown(value))
            before = value
        if any(word != "–" for word in line[1:]):
            lines.append(line)
    return table(lines)
