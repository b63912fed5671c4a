"""The command: make the data, measure each server in turn, write the report.

python -m benchmarks [--quick] [--ours-only] [--only SECTION,...] [--out FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks import datasets, document, goals
from benchmarks.connection import BROWSER, IDENTITY
from benchmarks.floor import answer_s, byte_server, comparison_s
from benchmarks.processes import machine, machine_busy_s
from benchmarks.results import FIRST, Results
from benchmarks.rounds import Run
from benchmarks.servers import OURS, REFERENCE, Kind, reference_python, running
from benchmarks.sizes import FULL, QUICK, Data, Sizes
from benchmarks.versions import versions

SECTIONS = ("convert", "latency", "diffexp", "busy", "load", "small", "memory", "floor")


class Bench:
    """One run of the command."""

    def __init__(self, sizes: Sizes, sections: frozenset[str], results: Results, port: int, *, ours_only: bool) -> None:
        self.sizes, self.sections, self.results = sizes, sections, results
        # A port that was just used may still be taken, so every server gets another one.
        self._ports = itertools.count(port) if port else itertools.repeat(0)
        self.ours = Kind(OURS)
        self.ours_only = ours_only

    def kinds(self, data: Data) -> list[Kind]:
        """Servers in the order they take turns."""
        theirs = [] if self.ours_only else [Kind(REFERENCE, form) for form in data.formats]
        return [self.ours, *theirs]

    def measure(self) -> None:
        """Everything, round by round, one server at a time."""
        for data in (self.sizes.big, self.sizes.small):
            for form in data.formats[: 1 if self.ours_only else None]:
                say(f"data: {data.name} {form}")
                datasets.make(data, form)
        for data in (self.sizes.big, self.sizes.small):
            again = "convert" in self.sections and data is self.sizes.big
            converted = datasets.convert(data, again=again)
            if converted and again:
                self.results.facts["convert"] = converted
        for number in range(self.sizes.rounds):
            self._round(number)
        if "diffexp" in self.sections:
            undecoded = Kind(OURS, environment=(("CXG_CACHE_MB", "0"),))
            with self._started(undecoded, self.sizes.big, 0) as run:
                run.prepare()
                run.diffexp(undecoded=True)
        if "memory" in self.sections:
            for kind in self.kinds(self.sizes.big):
                with self._started(kind, self.sizes.big, 0, "memory") as run:
                    run.memory()
        if "floor" in self.sections:
            self._floor()

    def _round(self, number: int) -> None:
        big = self.sizes.big
        for kind in self.kinds(big):
            if self.sections & {"latency", "diffexp", "busy", "load"}:
                with self._started(kind, big, number, fresh_cache=number == 0) as run:
                    self._browser(run)
            if kind is self.ours and self.sections & {"latency", "load"}:
                with self._started(kind, big, number, "plain answers") as run:
                    self._plain(run)
        if "small" in self.sections:
            for kind in self.kinds(self.sizes.small):
                with self._started(kind, self.sizes.small, number) as run:
                    run.prepare()
                    run.throughput(goals.LOAD_SMALL, 8)

    def _browser(self, run: Run) -> None:
        """Answers asked for as browsers do."""
        if "latency" in self.sections:
            run.start()
            run.latency(BROWSER)
        else:
            run.prepare()
        if "diffexp" in self.sections:
            run.diffexp()
        if "busy" in self.sections:
            run.busy()
        if "load" in self.sections:
            run.throughput(goals.LOAD_8, 8)
            run.throughput(goals.LOAD_64, 64)
            run.throughput(goals.LOAD_NEW, 8, again=False)

    def _plain(self, run: Run) -> None:
        """Uncompressed answers, which cellxgene 1.3.0 cannot send."""
        if "latency" in self.sections:
            run.start()
            run.latency(IDENTITY)
        else:
            run.prepare()
        if "load" in self.sections:
            run.throughput(goals.LOAD_PLAIN, 8, header=IDENTITY)

    @contextlib.contextmanager
    def _started(
        self, kind: Kind, data: Data, number: int, note: str = "", *, fresh_cache: bool = False
    ) -> Iterator[Run]:
        began = time.monotonic()
        with running(kind, data, next(self._ports), fresh_cache=fresh_cache and kind.name == OURS) as server:
            yield Run(server, self.sizes, self.results, number)
        say(f"round {number + 1}: {kind.label} on {data.name}{note and f', {note}'}: {time.monotonic() - began:.0f} s")

    def _floor(self) -> None:
        """What the bytes of our answers cost, and one pass over the values of two sets."""
        say("floor")
        with byte_server() as port:
            for row in goals.LATENCY:
                for encoding in ("browser", "identity"):
                    size = self.results.size(server=OURS, row=row.key, encoding=encoding, when=FIRST)
                    if size:
                        self.results.add("floor", "big", row.key, tuple(answer_s(port, int(size))), encoding=encoding)
        big = self.sizes.big
        if big.convert_from == "csr":
            cells = [size for size, _, _ in self.sizes.diffexp]
            for size, seconds in comparison_s(datasets.h5ad_path(big, "csr"), cells).items():
                self.results.add("floor", "big", goals.random_row(size).key, tuple(seconds), when=FIRST)


def say(text: str) -> None:
    """Tell how far it is, on standard error."""
    sys.stderr.write(f"benchmarks: {text}\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command; the answer is the process's exit code."""
    args = _arguments(argv)
    if not Path("/proc/self/smaps_rollup").exists():
        sys.stderr.write("benchmarks: memory is read from /proc, so this runs on Linux only.\n")
        return 2
    stored = datasets.FOLDER / ("quick.json" if args.quick else "results.json")
    out = args.out or (datasets.FOLDER / "quick.md" if args.quick else datasets.ROOT / "docs" / "benchmarks.md")
    if args.report:
        if not stored.is_file():
            sys.stderr.write("benchmarks: there are no results yet; run without --report first.\n")
            return 2
        results = Results.load(stored)
    else:
        results = _measure(args)
        results.save(stored)
    sizes = QUICK if args.quick else FULL
    text = document.quick(results, sizes) if args.quick else document.full(results, sizes)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text)
    sys.stdout.write(text if args.quick else f"wrote {out}\n")
    return 0


def _measure(args: argparse.Namespace) -> Results:
    sizes = QUICK if args.quick else FULL
    if args.rounds:
        sizes = replace(sizes, rounds=args.rounds)
    sections = frozenset(args.only or SECTIONS)
    python = None if args.ours_only else reference_python()
    facts = {
        "command": _command(args),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "versions": {OURS: versions(Path(sys.executable)), **({REFERENCE: versions(python)} if python else {})},
        "load_average_before": os.getloadavg()[0],
        "quick": args.quick,
    }
    datasets.FOLDER.mkdir(parents=True, exist_ok=True)
    results = Results(facts)
    busy, own, began = machine_busy_s(), _own_cpu_s(), time.monotonic()
    Bench(sizes, sections, results, args.port, ours_only=args.ours_only).measure()
    elapsed = time.monotonic() - began
    facts["minutes"] = round(elapsed / 60, 1)
    facts["other_programs_cpus"] = max(0.0, machine_busy_s() - busy - (_own_cpu_s() - own)) / elapsed
    return results


def _command(args: argparse.Namespace) -> str:
    """The command line that makes the same measurements; where it wrote is left out."""
    words = ["python", "-m", "benchmarks"]
    words += ["--quick"] * args.quick + ["--ours-only"] * args.ours_only
    words += ["--only", ",".join(args.only)] if args.only else []
    words += ["--rounds", str(args.rounds)] if args.rounds else []
    return " ".join(words)


def _own_cpu_s() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Compare with cellxgene 1.3.0.")
    parser.add_argument("--quick", action="store_true", help="small data, a minute or two, nothing judged")
    parser.add_argument("--ours-only", action="store_true", help="leave the published server out")
    parser.add_argument("--only", type=_sections, metavar="SECTION,...", help=f"some of: {', '.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, help="how often each server is started and measured")
    parser.add_argument(
        "--port", type=int, default=0, help="first of the ports the servers take (default: any free ones)"
    )
    parser.add_argument("--out", type=Path, help="where to write (default: docs/benchmarks.md)")
    parser.add_argument("--report", action="store_true", help="write the report again from the last results")
    return parser.parse_args(argv)


def _sections(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in SECTIONS]
    if unknown or not words:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'} is none of {', '.join(SECTIONS)}")
    return words


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (RuntimeError, OSError) as failure:
        sys.stderr.write(f"benchmarks: {failure}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
