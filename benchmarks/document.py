"""The texts around the tables: docs/benchmarks.md, and what a quick run prints."""

from __future__ import annotations

from typing import Any

from benchmarks import goals, many, scale, stages
from benchmarks.report import Tables, short, table
from benchmarks.results import Results
from benchmarks.servers import OURS, REFERENCE
from benchmarks.sizes import Data, Sizes

_FULL = """\
# Benchmarks

This page is written by `python -m benchmarks`. Do not edit it. Repeat it with `make bench`; `make bench-quick` does the same on small data and
judges nothing. Its parts can be measured one by one: [what was measured when](#what-was-measured-when) is at the end.

{machine}

*big* is {big}, with 15 obs columns and 2 embeddings; *small* is {small}, dense. Both are made by
`benchmarks/make_h5ad.py` with a fixed seed. *Ours* reads the CXG that `cxg convert` makes of it, from local disk, started by
`cxg launch` with its defaults. *1.3.0* is `cellxgene launch` 1.3.0 with the whole h5ad in memory, stored by rows (CSR) or by columns (CSC).

How it is measured: one server at a time on loopback, in turn ({rounds} rounds; {turns}), each started anew. One request at a time on a
connection that is kept, timed from the first byte sent to the last one received. *First time* is a URL that this server process was never
asked before; the dataset is open, its files are in the operating system's page cache, and nothing of it is decoded yet. *Decoded* is the first time
too, some time after somebody opened the dataset: our server then has decoded it in the background and keeps that on local disk, for all its workers and
for the next start. *Repeat* is the same URL again. Values are medians over all
rounds, with the 95th percentile in brackets where there are at least 20. *Floor* is a memory copy of as many bytes and the same socket. Ratios compare with
the faster form of 1.3.0: first time / repeat. A goal is met when the median is within it;
*once decoded* means that only the decoded dataset is fast enough. {speed}

## Answers, as browsers ask for them (`Accept-Encoding: gzip, deflate, br, zstd`)

{browser}
## Answers, uncompressed (`Accept-Encoding: identity`)

1.3.0 is missing here: with the Werkzeug it is installed with, it announces the length of an uncompressed binary body and sends nothing.

{identity}
## Differential expression

Seconds, medians. Each pair of sets is compared once. *Not decoded yet* is with decoding switched off (`CXG_CACHE_MB=0`). The floor is one thread of numpy over the same
cells' values, held in memory, without the t-test; sets of neighbouring cells read less.

{comparisons}
## Start and memory

Memory is the proportional set size (PSS) over all processes of a server, looked at ten times a second in a run of its own in which everything on
this page is asked, 64 clients included (of 1.3.0 by one visitor at a time, as more can make it take all memory). It also counts the pages of mapped files, which the operating system takes back when it needs them.

{start}
{plan}

## Many clients

Each client asks again as soon as it has its answer, choosing among {popular} genes, {warm:.0f} s to warm up, then {load:.0f} s measured. The clients are one
process on the same machine; what it and the server used is stated in processors, so their sum shows when the machine was the limit. The dataset was decoded before.

{throughput}
## Conversion

{convert}
{more}
## What was measured when

{sections}
{noise}
All values of all rounds: `build/bench/results.json`.
"""

_PROFILE = """
## Where the time goes

Our server, *big*, each URL for the first time, nothing decoded; milliseconds, medians of each stage, so they need not add up. *Seen by the client* is through
a socket. The other columns are of the same URLs asked of the application inside one process: *TileDB* reads and decompresses, *decoding* makes numpy arrays of it
(for genes it scatters the values over all cells), *encoding* makes the FlatBuffer or JSON, *compression* is gzip, *the rest* is routing and bookkeeping.
*HTTP* is what the client sees beyond that: gunicorn, the socket, handing over between threads.

{table}
A goal that is met only once decoded is missed before for what the CXG holds. An embedding is 0.7 MB of zstd for 0.8 MB of coordinates, whose last bits are noise. Twenty
genes lie in about forty tiles of 8,192 values, of which three buffers each are decompressed, 4 MB in all, to use under half of the values; both take two processors.
Decoded, some seconds after the first visitor opened the dataset, neither is read again. What might be tried next: an embedding stored uncompressed (a
tenth less to read, for a seventh more to fetch from S3), and the two halves of a large answer compressed side by side.
"""

_MANY = """
## Many datasets

Our server with that many copies of *big* open, nothing decoded. Each copy was asked over 16 connections, so by every worker, for what the web client needs at first,
two genes, the mean of a gene set and a comparison.

{table}"""

_SCALE = """
## Cost against cells

Our server alone, one run, {genes:,} genes and the same share of values not zero each time. First-time medians as browsers ask; *decoded* as above.
Memory is the largest PSS while everything is asked, the dataset decoded meanwhile and 64 clients served, beside what the server plans and prints at start (all workers
at most); {routes} routes of the API were asked, and all answered.

{table}"""


def full(results: Results, sizes: Sizes) -> str:
    """The document docs/benchmarks.md."""
    tables, facts = Tables(results, sizes, judged=True), results.facts
    theirs = ", ".join(tables.theirs)
    return _FULL.format(
        machine=_machine(facts),
        noise=_noise(facts),
        big=describe(sizes.big),
        small=describe(sizes.small),
        rounds=1 + max((record.round for record in results.records), default=0),
        speed=_speed(tables),
        turns=f"ours, {theirs}, ours, ...",
        browser=tables.latency("browser"),
        identity=tables.latency("identity"),
        comparisons=tables.comparisons(),
        start=tables.start_and_memory(),
        plan=_plan(results),
        popular=sizes.popular,
        warm=sizes.warm_s,
        load=sizes.load_s,
        throughput=tables.throughput() + _fallen(facts),
        convert=_conversion(facts.get("convert")),
        more=_more(facts, sizes),
        sections=_sections(facts),
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
        _more(results.facts, sizes),
        _sections(results.facts),
    ]
    return "\n".join(parts)


def describe(data: Data) -> str:
    """One dataset in words."""
    return f"{data.cells:,} cells x {data.genes:,} genes, {data.density:.1%} of the values not zero"


def _speed(tables: Tables) -> str:
    """How fast the machine was, beside the day when the goals were set."""
    then, slower = goals.REFERENCE_SMALL, tables.slowdown
    if slower is None:
        return ""
    text = (
        f"The goals were set on a machine of this class where 1.3.0 answered {then:.0f} requests/s on *small*; in this run it "
        f"answered {then / slower:.0f}"
    )
    if slower <= 1:
        return text + "."
    return (
        text
        + f", so the machine was {slower:.1f} times slower; *slow machine* marks a time that is missed by less than that."
    )


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


def _more(facts: dict[str, Any], sizes: Sizes) -> str:
    """The sections that have a chapter of their own, where they were measured."""
    parts = []
    if "profile" in facts:
        parts.append(_PROFILE.format(table=stages.section(facts["profile"])))
    if "many" in facts:
        parts.append(_MANY.format(table=many.section(facts["many"])))
    if facts.get("scale"):
        largest = facts["scale"][-1]
        parts.append(
            _SCALE.format(
                genes=largest["genes"], routes=largest["values"]["routes"], table=scale.section(facts["scale"], sizes)
            )
        )
    if "s3" in facts:
        # Loaded here: it needs packages that only the integration tests bring.
        from benchmarks import s3

        parts.append("\n" + s3.section(facts["s3"]))
    return "".join(parts)


def _sections(facts: dict[str, Any]) -> str:
    lines = [["section", "begun, UTC", "minutes", "other programs, processors", "command"]]
    for name, about in facts.get("sections", {}).items():
        note = "" if about["finished"] else ", **stopped before its end**"
        minutes, others = f"{about['minutes']:.1f}{note}", f"{about['other_programs_cpus']:.2f}"
        lines.append([name, about["date"], minutes, others, f"`{about['command']}`"])
    return table(lines)


def _noise(facts: dict[str, Any]) -> str:
    most = max((about["other_programs_cpus"] for about in facts.get("sections", {}).values()), default=0.0)
    text = f"Programs that had nothing to do with it used up to {most:.2f} of {facts['machine']['cpus']} processors meanwhile"
    return text + (": read the figures with that in mind.\n" if most > 0.1 else ".\n")


def _fallen(facts: dict[str, Any]) -> str:
    """Servers that did not survive a load."""
    return "".join(f"\n{sentence}, having taken all memory of the machine.\n" for sentence in facts.get("fallen", ()))


def _plan(results: Results) -> str:
    """Peak memory beside the plan that our server prints."""
    found = results.find(server=OURS, row=goals.PSS_PEAK.key)
    if not found or "plan" not in found[-1].extra:
        return "(the plan of memory: not measured)"
    extra, plan = found[-1].extra, found[-1].extra["plan"]
    crowd = results.median(server=OURS, row=goals.PSS_64.key)
    return (
        f"Our server planned {plan['mb']:,} MB for its {plan['workers']} workers at most (of {plan['total_mb']:,} MB), and prints that at start. Its peak was "
        f"{extra['mb']:,.0f} MB, {crowd or 0:,.0f} MB with 64 clients; at most {extra['anonymous_mb']:,.0f} MB was anonymous and at most "
        f"{extra['file_mb']:,.0f} MB pages of mapped files."
    )


def _conversion(found: dict[str, Any] | None) -> str:
    if not found:
        return "(not measured)"
    return (
        f"`cxg convert` of *{found['data']}* ({short(found['h5ad_bytes'] / 1e6)} MB of h5ad): {found['seconds']:.0f} s (goal 60), "
        f"peak resident memory {found['peak_mb']:,.0f} MB (goal 1,500); the CXG has {short(found['cxg_bytes'] / 1e6)} MB (goal 700) "
        f"in {found['cxg_files']} files."
    )
