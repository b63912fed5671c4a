"""docs/benchmarks.md: the texts between the tables."""

from __future__ import annotations

from benchmarks.results import OURS, REFERENCE, Results
from benchmarks.sizes import Data, Sizes

_HEAD = """\
# Benchmarks

This page is written by `python -m benchmarks`. Do not edit it. Repeat it with `make bench`; `make bench-quick` does the same on small data.
Its parts can be measured one by one: [what was measured when](#what-was-measured-when) is at the end.

{machine}

*big* is {big}, with 15 obs columns and 2 embeddings; *small* is {small}, dense. Both are made by
`benchmarks/make_h5ad.py` with a fixed seed. *Ours* reads the CXG that `cxg convert` makes of it, from local disk, started by
`cxg launch` with its defaults. *1.3.0* is `cellxgene launch` 1.3.0 with the whole h5ad in memory, stored by rows (CSR) or by columns (CSC).

One server at a time is measured on loopback, in turn ({rounds} rounds), each started anew. Cells of the tables are medians over all rounds, with the 95th
percentile in brackets where there are at least 20 values; *ratio* says how many times better ours is than the better form of 1.3.0.

"""

_TEXTS = {
    "start": ("Start", ""),
    "latency": (
        "Answers, as browsers ask for them (`Accept-Encoding: gzip, deflate, br, zstd`)",
        """\
One request at a time on a connection that is kept, timed from the first byte sent to the last one received. *First* is a URL that this server process
was never asked before; the dataset is open, its files are in the operating system's page cache, and nothing of it is decoded yet. *Decoded* is the first
time too, some time after somebody opened the dataset: our server then has decoded it in the background and keeps that on local disk, for all its workers
and for the next start. *Repeat* is the same URL again. Ratios are those of *first* and of *repeat*.
""",
    ),
    "latency, uncompressed": (
        "Answers, uncompressed (`Accept-Encoding: identity`)",
        """\
1.3.0 is missing here: with the Werkzeug it is installed with, it announces the length of an uncompressed binary body and sends nothing.
""",
    ),
    "diffexp": (
        "Differential expression",
        """\
Each pair of sets is compared once. *Not decoded yet* is with decoding switched off (`CXG_CACHE_MB=0`); sets of neighbouring cells read less.
""",
    ),
    "busy": ("Beside a comparison", ""),
    "memory": (
        "Memory",
        """\
Proportional set size (PSS) over all processes of a server, looked at ten times a second in a run of its own in which everything on this page is asked,
64 clients included (of 1.3.0 by one visitor at a time, as more can make it take all memory). It also counts the pages of mapped files, which the operating
system takes back when it needs them.
""",
    ),
    "load": (
        "Many clients",
        """\
70 % genes, 20 % obs columns, 10 % embeddings. Each client asks again as soon as it has its answer, choosing among {popular} genes, {warm:.0f} s to warm up,
then {load:.0f} s measured. The clients are one process of [vegeta](https://github.com/tsenart/vegeta) on the same machine; what it and the server used is
stated in processors, so their sum shows when the machine was the limit. The dataset was decoded before.
""",
    ),
    "small": ("Many clients of a small dataset", ""),
    "convert": ("Conversion", ""),
    "many": (
        "Many datasets",
        """\
Our server with that many copies of *big* open, nothing decoded. Each copy was asked over 16 connections, so by every worker, for what the web client needs
at first, two genes, the mean of a gene set and a comparison.
""",
    ),
    "scale": (
        "Cost against cells",
        """\
Our server alone, one run, {genes:,} genes and the same share of values not zero each time. Answers for the first time, as browsers ask; *decoded* as above.
Memory is the largest PSS while every route of the API is asked, the dataset decoded meanwhile and 64 clients served.
""",
    ),
    "s3": (
        "On S3, with 30 ms added to each request",
        """\
Our server alone, reading *big* from an S3 server on the same machine, through a proxy that holds every request back for 30 ms, many at a time, and counts
it. Bandwidth is that of the machine. Each start has an empty cache folder; the server is up, but nobody has asked it for the dataset. *The first plot* is
the page, the schema, one embedding and all obs columns, six at a time as browsers ask; what opens the matrix is fetched ahead meanwhile and counted too. The
genes and comparisons after it are asked of servers whose workers have opened the dataset, with nothing decoded; *decoded* is some time after the page was
asked for.
""",
    ),
}


def document(results: Results, sizes: Sizes) -> str:
    """The page: every section that was measured."""
    parts = [
        _HEAD.format(
            machine=_machine(results), big=describe(sizes.big), small=describe(sizes.small), rounds=sizes.rounds
        )
    ]
    numbers = {"popular": sizes.popular, "warm": sizes.warm_s, "load": sizes.load_s, "genes": sizes.scale[-1].genes}
    for name, (title, text) in _TEXTS.items():
        if name in results.sections:
            notes = results.sections[name].get("notes", {}).values()
            body = [text.format(**numbers), results.table(name), *(f"{note}\n" for note in notes)]
            parts.append(f"## {title}\n\n" + "\n".join(part for part in body if part) + "\n")
    most = max(one["other_programs_cpus"] for one in results.sections.values())
    cpus = results.facts["machine"]["cpus"]
    parts.append(f"## What was measured when\n\n{results.about()}\nPrograms that had nothing to do with it used up to")
    parts.append(f" {most:.2f} of {cpus} processors meanwhile.\n\nAll values: `{'/'.join(results.path.parts[-3:])}`.\n")
    return "".join(parts)


def describe(data: Data) -> str:
    """One dataset in words."""
    return f"{data.cells:,} cells x {data.genes:,} genes, {data.density:.1%} of the values not zero"


def _machine(results: Results) -> str:
    found = results.facts["machine"]
    first = f"{found['processor']}, {found['cpus']} processors, {found['memory_gb']} GB of memory, {found['kernel']}"
    lines = [f"Machine: {first}."]
    for server in (OURS, REFERENCE):
        versions = results.facts["versions"].get(server, {})
        lines += [f"{server.capitalize()}: {', '.join(' '.join(pair) for pair in versions.items())}."] * bool(versions)
    return "\n".join(lines)
