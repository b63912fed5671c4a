"""The report in Markdown: ours beside the published server, ratios, goals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import goals
from benchmarks.goals import Row
from benchmarks.results import DECODED, FIRST, REPEAT, UNDECODED, Results
from benchmarks.servers import OURS, REFERENCE
from benchmarks.sizes import Sizes

_NONE = "–"
_MET, _MISSED, _SLOW, _DECODED = "yes", "**no**", "slow machine", "once decoded"


class Tables:
    """Makes the tables out of one set of results; without goals where nothing is judged."""

    def __init__(self, results: Results, sizes: Sizes, *, judged: bool) -> None:
        self.results, self.sizes, self._judged = results, sizes, judged
        self.theirs = [f"{REFERENCE} {form}" for form in sizes.big.formats]
        rate = results.median(server=f"{REFERENCE} {sizes.small.formats[0]}", row=goals.LOAD_SMALL.key)
        # How many times as long as on the day of the goals the published server took, in the same run.
        self.slowdown = goals.REFERENCE_SMALL / rate if rate else None

    def latency(self, encoding: str) -> str:
        """Answers of every kind, first-time and repeated."""
        compare = encoding == "browser"
        head = ["*big*", "floor", "ours, first time", "the same, decoded", "ours, repeat", "kB"]
        head += [name for name in self._named(self.theirs) for name in (f"{name}, first", "repeat")] if compare else []
        head += ["kB", "ratio"] if compare else []
        lines = [[*head, "goal", "met"]]
        for row in goals.LATENCY:
            ours = {"server": OURS, "data": "big", "row": row.key, "encoding": encoding}
            if not self.results.find(**ours):
                continue
            floor = self.results.median(server="floor", row=row.key, encoding=encoding)
            line = [row.text, ms(floor), *(self._spread(ours | {"when": when}) for when in (FIRST, DECODED, REPEAT))]
            line.append(kb(self.results.size(**ours)))
            if compare:
                for server in self.theirs:
                    line += [self._spread(ours | {"server": server, "when": when}) for when in (FIRST, REPEAT)]
                line += [kb(self._their_size(row)), self._ratios(row, ours)]
            lines.append([*line, _limits(row), self._met(row, ours)])
        return self._table(lines)

    def comparisons(self) -> str:
        """Differential expression."""
        head = ["diffexp on *big*", "floor", "ours, decoded", "ours, not decoded yet"]
        lines = [[*head, *self._named(self.theirs), "ratio", "goal", "met"]]
        rows = [goals.random_row(cells) for cells, _, _ in self.sizes.diffexp]
        rows += [goals.contiguous_row(cells) for cells in self.sizes.contiguous]
        rows += [goals.rest_row(cells) for cells in self.sizes.rest]
        for row in rows:
            ours = {"server": OURS, "data": "big", "row": row.key, "when": FIRST}
            median = self.results.median(**ours)
            if median is None:
                continue
            line = [row.text, seconds(self.results.median(server="floor", row=row.key))]
            line += [seconds(median), seconds(self.results.median(**ours | {"when": UNDECODED}))]
            line += [seconds(self.results.median(**ours | {"server": server})) for server in self.theirs]
            met = self._judge(median, row.first)
            lines.append([*line, times(self._best(ours), median), seconds(row.first), met])
        return self._table(lines)

    def start_and_memory(self) -> str:
        """Start, PSS, and the schema beside a comparison."""
        lines = [["*big*", "ours", *self._named(self.theirs), "ratio", "goal", "met"]]
        for row, show, again in (
            (goals.START, seconds, "start"),
            (goals.PSS_START, whole, ""),
            (goals.PSS_PEAK, whole, ""),
            (goals.PSS_ANONYMOUS, whole, ""),
            (goals.PSS_64, whole, ""),
            (goals.PSS_LOAD, whole, ""),
            (goals.BUSY, None, "busy"),
        ):
            ours = {"server": OURS, "data": "big", "row": row.key}
            median = self.results.median(**ours)
            if median is None:
                continue
            spread = self._spread if show is None else lambda which, show=show: show(self.results.median(**which))
            line = [row.text, spread(ours), *(spread(ours | {"server": server}) for server in self.theirs)]
            goal = ms(row.first) if again == "busy" else (show or ms)(row.first)
            met = self._judge(median, row.first, is_time=row not in goals.MEMORY)
            lines.append([*line, times(self._best(ours), median), goal, met])
        return self._table(lines)

    def throughput(self) -> str:
        """Many visitors at once."""
        small = [f"{REFERENCE} {form}" for form in self.sizes.small.formats]
        head = ["70 % genes, 20 % obs columns, 10 % embeddings", "ours", "median, ms", "p95, ms", "MB/s"]
        head += ["server, CPUs", "clients, CPUs", *self._named(self.theirs), "ratio", "goal", "met"]
        lines = [head]
        for row in goals.LOAD:
            which = {"server": OURS, "row": row.key}
            median = self.results.median(**which)
            if median is None:
                continue
            extra = _typical(self.results, which)
            line = [row.text, whole(median), ms(extra["median_s"]), ms(extra["p95_s"]), whole(extra["mb_per_s"])]
            line += [f"{extra['server_cpus']:.2f}", f"{extra['client_cpus']:.2f}"]
            names = small if row is goals.LOAD_SMALL else self.theirs
            rates = [self.results.median(**which | {"server": name}) for name in names]
            cells = [_NONE if rate is None else f"{rate:,.1f}" for rate in rates]
            line += (cells + [_NONE] * len(self.theirs))[: len(self.theirs)]
            best = max((rate for rate in rates if rate), default=None)
            goal = _NONE if row.at_least is None else f"{row.at_least:,.0f}"
            met = self._judge(1 / median, row.at_least and 1 / row.at_least)
            lines.append([*line, times(median, best), goal, met])
        return self._table(lines)

    def _table(self, lines: list[list[str]]) -> str:
        return table(lines if self._judged else [line[:-2] for line in lines])

    def _named(self, servers: Sequence[str]) -> list[str]:
        return [server.replace(" csr", " CSR").replace(" csc", " CSC") for server in servers]

    def _spread(self, which: dict[str, Any]) -> str:
        """Median in ms, and the 95th percentile where there are enough values."""
        p95 = self.results.p95(**which)
        median = ms(self.results.median(**which))
        return median if p95 is None else f"{median} ({ms(p95)})"

    def _their_size(self, row: Row) -> float | None:
        sizes = [self.results.size(server=name, row=row.key, encoding="browser", when=FIRST) for name in self.theirs]
        return next((size for size in sizes if size), None)

    def _best(self, ours: dict[str, Any]) -> float | None:
        """The better median of the published server's forms; less is better."""
        found = (self.results.median(**ours | {"server": server}) for server in self.theirs)
        return min((median for median in found if median is not None), default=None)

    def _ratios(self, row: Row, ours: dict[str, Any]) -> str:
        """How many times faster we are, first time and repeated, against the better form of the other."""
        parts = [
            times(self._best(ours | {"when": when}), self.results.median(**ours | {"when": when}))
            for when in (FIRST, REPEAT)
        ]
        return " / ".join(part for part in parts if part != _NONE) or _NONE

    def _met(self, row: Row, ours: dict[str, Any]) -> str:
        first, decoded, again = (self.results.median(**ours | {"when": when}) for when in (FIRST, DECODED, REPEAT))
        pairs = ((first, row.first), (again, row.again))
        verdicts = [self._judge(value, goal) for value, goal in pairs if goal is not None]
        later = self._judge(decoded, row.first)
        if verdicts and verdicts[0] != _MET and later == _MET:
            verdicts[0] = _DECODED
        elif verdicts and verdicts[0] == _MISSED and later == _SLOW:
            verdicts[0] = f"{_DECODED}, {_SLOW}"
        return " / ".join(verdicts) or _NONE

    def _judge(self, value: float | None, goal: float | None, *, is_time: bool = True) -> str:
        """Whether a value is within its goal, or a time would be on a machine as fast as when the goals were set."""
        if goal is None or value is None:
            return _NONE
        return _MET if value <= goal else _SLOW if is_time and value <= goal * (self.slowdown or 1) else _MISSED


def _typical(results: Results, which: dict[str, Any]) -> dict[str, Any]:
    """What was seen in the round with the median rate."""
    records = sorted(results.find(**which), key=lambda record: record.values[0])
    return records[len(records) // 2].extra


def _limits(row: Row) -> str:
    return " / ".join(ms(limit) for limit in (row.first, row.again) if limit is not None) or _NONE


def ms(value: float | None) -> str:
    """Seconds as milliseconds with three significant figures at most."""
    return _NONE if value is None else short(value * 1000)


def seconds(value: float | None) -> str:
    return _NONE if value is None else short(value)


def whole(value: float | None) -> str:
    return _NONE if value is None else f"{value:,.0f}"


def kb(value: float | None) -> str:
    return _NONE if value is None else short(value / 1000)


def times(above: float | None, below: float | None) -> str:
    """A ratio, as ×12."""
    return _NONE if above is None or not below else f"×{short(above / below)}"


def short(value: float) -> str:
    """A number with about three significant figures."""
    digits = 3 if value < 0.1 else 2 if value < 10 else 1 if value < 100 else 0
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first line is its head."""
    if len(lines) < 2:
        return "(not measured)\n"
    head, *body = lines
    rows = [head, ["---", *["---:"] * (len(head) - 1)], *body]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
