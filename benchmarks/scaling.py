"""docs/scaling.md: what many visitors need, worked out from the measurements and stated assumptions.

Nothing here measures. ``python -m benchmarks.scaling`` writes the page from build/bench/results.json.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field

from benchmarks import goals
from benchmarks.datasets import FOLDER, ROOT
from benchmarks.questions import VISITED
from benchmarks.report import short, table
from benchmarks.results import FIRST, Results
from benchmarks.servers import OURS

_SECONDS_A_DAY = 86_400
_DAYS = 30.4
_HOURS = 730


@dataclass(frozen=True)
class Visit:
    """What one visitor does; assumptions, not measurements."""

    columns: int = len(VISITED) + 1
    embeddings: int = 2
    small: int = 5  # schema, config, colors, gene sets, the page
    genes: int = 60
    means: int = 2
    comparisons: int = 1
    client_mb: float = 1.2  # the web client's own files, compressed; kept by the browser for a year

    @property
    def requests(self) -> int:
        return self.columns + self.embeddings + self.small + self.genes + self.means + self.comparisons


@dataclass(frozen=True)
class Prices:
    """List prices in us-east-1, on demand, in dollars."""

    instance_hour: float = 0.10  # m7i.large: 2 processors, 8 GB
    fixed_month: float = 22 + 11 + 2 + 2 + 1  # load balancer, addresses, disk, data in S3, logs
    instance_disk_month: float = 2
    traffic_gb: float = 0.09  # out of the region to visitors
    cdn_gb: float = 0.085
    cdn_free_gb: float = 1000
    cdn_request: float = 1e-6
    traffic_free_gb: float = 100
    balancer_gb: float = 0.008  # a unit of the load balancer carries 1 GB


@dataclass(frozen=True)
class Load:
    """How visits spread over time, and what share of their requests is answered from a cache of ours."""

    peak: float = 4.0  # the busiest hour against the average hour
    usable: float = 0.6  # share of an instance's processors planned for
    processors: int = 2
    network_mb_s: float = 97.0  # what an m7i.large may send for hours, 0.78 Gbit/s
    found: float = 0.7  # of data requests, the share that was asked before
    at_the_edge: float = 0.9  # with a CDN: of data requests, the share answered there
    visits: tuple[int, ...] = field(default=(100, 10_000, 1_000_000))


@dataclass(frozen=True)
class Costs:
    """What one request costs, from the measurements: seconds of a processor, and bytes."""

    warm_s: float
    new_s: float
    compare_s: float
    visit_mb: float
    peak_per_s: float


def costs(results: Results, visit: Visit) -> Costs | None:
    """Costs per request; None while something that is needed was not measured."""
    warm, new = (_processor_s(results, row) for row in (goals.LOAD_8, goals.LOAD_NEW))
    compared = results.median(server=OURS, row=goals.random_row(10_000).key, when=FIRST)
    sizes = [
        results.size(server=OURS, row=row.key, encoding="browser", when=FIRST)
        for row in (goals.CATEGORICAL, goals.EMBEDDING, goals.GENE, goals.MEAN)
    ]
    rate = results.median(server=OURS, row=goals.LOAD_8.key)
    if warm is None or new is None or compared is None or rate is None or None in sizes:
        return None
    counts = (visit.columns, visit.embeddings, visit.genes, visit.means)
    data = sum(count * size for count, size in zip(counts, sizes, strict=True) if size is not None)
    # A comparison is timed alone on the machine and uses its processors (four at most): counted as if all of it did.
    processors = min(4, results.facts["machine"]["cpus"])
    return Costs(warm, new, processors * compared, data / 1e6 + visit.client_mb, rate)


def _processor_s(results: Results, row: goals.Row) -> float | None:
    found = results.find(server=OURS, row=row.key)
    if not found:
        return None
    return sum(record.extra["server_cpus"] / record.extra["per_s"] for record in found) / len(found)


def plan(cost: Costs, visit: Visit, load: Load, prices: Prices, *, cdn: bool) -> list[list[str]]:
    """One line for each number of visits a day: requests, processors, instances, traffic, dollars."""
    lines = []
    for visits in load.visits:
        peak = visits * load.peak / _SECONDS_A_DAY
        reaching = 1 - load.at_the_edge if cdn else 1.0
        data = visit.requests - visit.comparisons
        each = data * reaching * (load.found * cost.warm_s + (1 - load.found) * cost.new_s)
        processors = peak * (each + visit.comparisons * cost.compare_s)
        for_work = processors / (load.usable * load.processors)
        for_bytes = peak * cost.visit_mb * reaching / (load.usable * load.network_mb_s)
        instances = max(1 if visits < 1000 else 2, math.ceil(for_work), math.ceil(for_bytes))
        traffic_gb = visits * _DAYS * cost.visit_mb / 1000
        if cdn:
            traffic = max(0.0, traffic_gb - prices.cdn_free_gb) * prices.cdn_gb
            traffic += visits * _DAYS * visit.requests * prices.cdn_request
        else:
            traffic = max(0.0, traffic_gb - prices.traffic_free_gb) * prices.traffic_gb
        traffic += traffic_gb * reaching * prices.balancer_gb
        machines = instances * (prices.instance_hour * _HOURS + prices.instance_disk_month)
        lines.append(
            [
                f"{visits:,}",
                short(peak * visit.requests),
                short(processors),
                f"{instances:,}",
                f"{traffic_gb:,.0f}",
                f"{machines + prices.fixed_month:,.0f}",
                f"{traffic:,.0f}",
                f"{machines + prices.fixed_month + traffic:,.0f}",
            ]
        )
    return lines


_PAGE = """\
# Scaling

On paper: nothing on this page was run at this scale. The figures marked *measured* come from
[benchmarks.md](benchmarks.md) (a machine with {cpus} processors), the rest are assumptions, all of them in
`benchmarks/scaling.py`. `python -m benchmarks.scaling` works the page out again.

## What can be kept, and for how long

| answer | header | kept by | for |
|---|---|---|---|
| client files with a hash in their name | `public, max-age=31536000, immutable` | browser, CDN | a year |
| schema, obs and var columns, embeddings, genes, means (GET) | `public, no-cache`, ETag | browser, CDN \
| until the dataset changes; asked about each time (304, no body) |
| gene set means by POST, differential expression | `no-store` | nobody | – |
| `/health` | `no-store` | nobody | – |

No answer depends on who asks: there is no cookie, and `Vary` names `Accept-Encoding`, for gene sets `Accept` too. So
a CDN may share every GET. To let it answer without asking, give it a minimum lifetime of its own (60 s to an hour)
for `/d/*/api/*`: that is how long a replaced dataset may then be seen in its old form. A dataset published under a
new name needs no lifetime. ETags follow from the dataset's files, the configuration and the version, so all instances
send the same ones.

## Many instances

Instances share nothing but the bucket, so a load balancer may send any request to any of them; sessions that stick
are not needed. Each keeps its own encoded answers and its own decoded copies on local disk. A new instance is useful as
soon as it is healthy ({start} s, *measured*), and makes its caches as it is asked. Scale on processor use, not on
requests: a comparison costs as much as {ratio} warm requests.

## One visit

{requests} requests: {columns} obs and var columns, {embeddings} embeddings, {genes} genes, {means} gene set means,
{comparisons} comparison of 10,000 with 10,000 cells, {small} small ones; and {client_mb} MB of the web client's files,
as if no browser had kept them. With the sizes of *big* (100,000 cells), compressed: {visit_mb} MB.

| cost of one request | |
|---|---:|
| asked before (*measured*, all processors, 8 clients) | {warm_ms} ms |
| gene asked for the first time (*measured*, the same) | {new_ms} ms |
| comparison (*measured* alone, counted on all processors) | {compare_ms} ms |

## Requests, machines, dollars

Assumed: the busiest hour has {peak:.0f} times the visits of the average one; {found:.0%} of the data requests were
asked before; instances are planned to {usable:.0%} of their processors and of their network ({network:.0f} MB/s each,
sustained), whichever needs more of them; two of them from 1,000 visits a day, so that one may fail. Processors of the
instances are taken to be as fast as the ones that were measured.

List prices in us-east-1, on demand, without tax: m7i.large (2 processors, 8 GB) ${instance:.2f} an hour; load balancer,
addresses, disk, 100 GB in S3 and logs ${fixed:.0f} a month; traffic ${traffic:.2f} per GB, and ${balancer:.3f} per GB
through the load balancer. Traffic is at the price of the first 10 TB; from there list prices fall, to about half. Check
them before you rely on them.

{direct}
The same behind a CDN that answers {edge:.0%} of the GETs itself (${cdn:.3f} per GB, the first {free:,.0f} GB free,
${million:.2f} per million requests). That share needs a lifetime at the edge, see above:

{with_cdn}
What to see in it: at 100 visits a day one small machine idles, and the fixed parts are the bill. At 10,000 two
machines are there for safety more than for work. At a million, traffic is most of the cost, with or without a CDN: a
negotiated price for traffic saves money, and so does every per cent of compression. {share:.0%} of the processors are
then at work on comparisons, which no CDN answers; it saves the rest. Larger datasets move all of it in proportion to
the cells: ten times the cells are about ten times the bytes per answer.
"""

_HEAD = ["visits a day", "requests/s at the peak", "processors", "instances", "GB a month", "machines and fixed, $"]
_HEAD += ["traffic, $", "$ a month"]


def page(results: Results) -> str | None:
    """The document; None while something that is needed was not measured."""
    visit, load, prices = Visit(), Load(), Prices()
    cost = costs(results, visit)
    if cost is None:
        return None
    data_s = (visit.requests - visit.comparisons) * (load.found * cost.warm_s + (1 - load.found) * cost.new_s)
    compare_s = visit.comparisons * cost.compare_s
    tables = [table([_HEAD, *plan(cost, visit, load, prices, cdn=cdn)]) for cdn in (False, True)]
    return _PAGE.format(
        cpus=results.facts["machine"]["cpus"],
        start=short(results.median(server=OURS, row=goals.START.key) or 0.0),
        share=compare_s / (compare_s + data_s),
        ratio=f"{cost.compare_s / cost.warm_s:,.0f}",
        requests=visit.requests,
        columns=visit.columns,
        embeddings=visit.embeddings,
        genes=visit.genes,
        means=visit.means,
        comparisons=visit.comparisons,
        small=visit.small,
        visit_mb=short(cost.visit_mb),
        client_mb=visit.client_mb,
        network=load.network_mb_s,
        balancer=prices.balancer_gb,
        warm_ms=short(cost.warm_s * 1000),
        new_ms=short(cost.new_s * 1000),
        compare_ms=short(cost.compare_s * 1000),
        peak=load.peak,
        found=load.found,
        usable=load.usable,
        instance=prices.instance_hour,
        fixed=prices.fixed_month,
        traffic=prices.traffic_gb,
        edge=load.at_the_edge,
        cdn=prices.cdn_gb,
        free=prices.cdn_free_gb,
        million=prices.cdn_request * 1e6,
        direct=tables[0],
        with_cdn=tables[1],
    )


def main() -> int:
    """Write docs/scaling.md; the answer is the process's exit code."""
    stored = FOLDER / "results.json"
    text = page(Results.load(stored)) if stored.is_file() else None
    if text is None:
        sys.stderr.write("benchmarks: the measurements are not complete; run `make bench` first.\n")
        return 2
    (ROOT / "docs" / "scaling.md").write_text(text)
    sys.stdout.write("wrote docs/scaling.md\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
