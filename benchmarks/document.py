"""The texts around the tables: docs/benchmarks.md, and what a quick run prints."""

from __future__ import annotations

from typing import Any

from benchmarks.report import Tables, short
from benchmarks.results import Results
from benchmarks.servers import OURS, REFERENCE
from benchmarks.sizes import Data, Sizes

_FULL = """\
# Benchmarks

This page is written by `{command}` ({date}, {minutes} minutes). Do not edit it.
Repeat it with `make bench`; `make bench-quick` does the same on small data and judges nothing.

{machine}

{noise}

*big* is {big}, with 15 obs columns and 2 embeddings; *small* is {small}, dense. Both are made by
`benchmarks/make_h5ad.py` with a fixed seed. *Ours* reads the CXG that `cxg convert` makes of it, from local disk, started by
`cxg launch` with its defaults. *1.3.0* is `cellxgene launch` 1.3.0 with the whole h5ad in memory, stored by rows (CSR) or by columns (CSC).

How it is measured: one server at a time on loopback, in turn ({rounds} rounds; {turns}), each started anew. One request at a time on a
connection that is kept, timed from the first byte sent to the last one received. *First time* is a URL that this server process was never
asked before; the dataset is open and its files are in the operating system's page cache. *Repeat* is the same URL again. Values are medians over all
rounds, with the 95th percentile in brackets where there are at least 20. *Floor* is a memory copy of as many bytes and the same socket. Ratios compare with
the faster form of 1.3.0: first time / repeat. A goal is met when the median is within it.

## Answers, as browsers ask for them (`Accept-Encoding: gzip, deflate, br, zstd`)

{browser}
## Answers, uncompressed (`Accept-Encoding: identity`)

1.3.0 is missing here: with the Werkzeug it is installed with, it announces the length of an uncompressed binary body and sends nothing.

{identity}
## Differential expression

Seconds, medians. Each pair of sets is compared once. Some seconds after the first comparison our server has decoded the rows in the background
and keeps them on local disk; the third column is with that switched off (`CXG_CACHE_MB=0`). The floor is one thread of numpy over the same
cells' values, held in memory, without the t-test; sets of neighbouring cells read less.

{comparisons}
## Start and memory

Memory is the proportional set size (PSS) over all processes of a server, looked at ten times a second in a run of its own in which everything on
this page is asked, 64 clients included.

{start}
## Many clients

Each client asks again as soon as it has its answer, choosing among {popular} genes, {warm:.0f} s to warm up, then {load:.0f} s measured. The clients are one
process on the same machine; what it and the server used is stated in processors, so their sum shows when the machine was the limit.

{throughput}
## Conversion

{convert}

All values of all rounds: `build/bench/results.json`.
"""


def full(results: Results, sizes: Sizes) -> str:
    """The document docs/benchmarks.md."""
    tables, facts = Tables(results, sizes, judged=True), results.facts
    theirs = ", ".join(tables.theirs)
    return _FULL.format(
        command=facts["command"],
        date=facts["date"],
        minutes=facts.get("minutes", "?"),
        machine=_machine(facts),
        noise=_noise(facts),
        big=describe(sizes.big),
        small=describe(sizes.small),
        rounds=1 + max((record.round for record in results.records), default=0),
        turns=f"ours, {theirs}, ours, ...",
        browser=tables.latency("browser"),
        identity=tables.latency("identity"),
        comparisons=tables.comparisons(),
        start=tables.start_and_memory(),
        popular=sizes.popular,
        warm=sizes.warm_s,
        load=sizes.load_s,
        throughput=tables.throughput(),
        convert=_conversion(facts.get("convert")),
    )


def quick(results: Results, sizes: Sizes) -> str:
    """The short report: ratios, nothing judged."""
    tables = Tables(results, sizes, judged=False)
    parts = [
        f"Quick run on {describe(sizes.big)}: too small for verdicts.\n",
        tables.latency("browser"),
        tables.comparisons(),
        tables.start_and_memory(),
        tables.throughput(),
    ]
    return "\n".join(parts)


def describe(data: Data) -> str:
    """One dataset in words."""
    return f"{data.cells:,} cells x {data.genes:,} genes, {data.density:.1%} of the values not zero"


def _machine(facts: dict[str, Any]) -> str:
    machine = facts["machine"]
    lines = [
        f"Machine: {machine['processor']}, {machine['cpus']} processors, {machine['memory_gb']} GB of memory, {machine['kernel']}."
    ]
    for server in (OURS, REFERENCE):
        found = facts["versions"].get(server)
        if found:
            lines.append(f"{server.capitalize()}: " + ", ".join(f"{name} {found[name]}" for name in found) + ".")
    return "\n".join(lines)


def _noise(facts: dict[str, Any]) -> str:
    others = facts.get("other_programs_cpus", 0.0)
    text = (
        f"Programs that had nothing to do with it used {others:.2f} of {facts['machine']['cpus']} processors meanwhile"
    )
    return text + (": read the figures with that in mind." if others > 0.1 else ".")


def _conversion(found: dict[str, Any] | None) -> str:
    if not found:
        return "(not measured)"
    return (
        f"`cxg convert` of *{found['data']}* ({short(found['h5ad_bytes'] / 1e6)} MB of h5ad): {found['seconds']:.0f} s (goal 60), "
        f"peak resident memory {found['peak_mb']:,.0f} MB (goal 1,500); the CXG has {short(found['cxg_bytes'] / 1e6)} MB (goal 700) "
        f"in {found['cxg_files']} files."
    )
