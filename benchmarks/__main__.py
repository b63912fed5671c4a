"""The command: make the data, measure each server in turn, write the tables.

python -m benchmarks [--quick] [--ours-only] [--only SECTION,...] [--out FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import alone, datasets, load
from benchmarks.connection import BROWSER, IDENTITY
from benchmarks.document import document
from benchmarks.processes import machine
from benchmarks.results import OURS, REFERENCE, Results, say
from benchmarks.run import Run, ServerEnded
from benchmarks.servers import Kind, reference_python, running
from benchmarks.sizes import FULL, QUICK, Data
from benchmarks.versions import versions

# In these our server takes turns with the published one.
COMPARED = ("latency", "diffexp", "busy", "load", "small", "memory")
SECTIONS = ("convert", *COMPARED, "many", "scale", "s3")


class Bench:
    """Measures the sections asked for, one server at a time."""

    def __init__(self, args: argparse.Namespace, wanted: frozenset[str], results: Results) -> None:
        sizes = QUICK if args.quick else FULL
        self.sizes = replace(sizes, rounds=args.rounds) if args.rounds else sizes
        self.wanted, self.results, self.args = wanted, results, args
        self.vegeta = load.program() if wanted & {"load", "small", "memory", "scale"} else None
        if wanted & {"load", "small"} and self.vegeta is None:
            say("load and small are left out: there is no `vegeta`, and no `go` that could install it.")
            self.wanted -= {"load", "small"}

    def measure(self) -> None:
        """Everything, round by round.

        Raises
        ------
        RuntimeError, OSError
            A part failed; what was measured before it is saved.
        """
        big = self.sizes.big
        if "scale" in self.wanted:
            alone.check_room(self.sizes.scale)
        self._data()
        for number in range(self.sizes.rounds):
            self._round(number)
        if "diffexp" in self.wanted:
            kind = Kind(OURS, environment=(("CXG_CACHE_MB", "0"),))
            with self._started(kind, big, 0, "rows not decoded") as run, self.results.measuring("diffexp"):
                run.diffexp(decoded=False, column=f"{OURS}, not decoded yet")
        if "memory" in self.wanted:
            # Either form of the published server holds the whole matrix: one is enough.
            for kind in self._kinds(big)[:2]:
                with self._started(kind, big, 0, "memory") as run, self.results.measuring("memory"):
                    run.memory(self.vegeta)
        if "many" in self.wanted:
            with self.results.measuring("many"):
                alone.many(self.sizes, self.results)
        for data in self.sizes.scale if "scale" in self.wanted else ():
            say(f"scale: {data.cells:,} cells")
            with self.results.measuring("scale"):
                alone.scale(data, self.sizes, self.results, self.vegeta, keep=self.args.keep or data == big)
        if "s3" in self.wanted:
            # Loaded here: it needs packages that only the integration tests bring, and Docker.
            from benchmarks import s3

            with self.results.measuring("s3"):
                s3.measure(big, self.results)

    def _kinds(self, data: Data) -> list[Kind]:
        """Servers in the order they take turns."""
        return [Kind(OURS), *(() if self.args.ours_only else (Kind(REFERENCE, form) for form in data.formats))]

    def _data(self) -> None:
        """Make and convert what is needed of the two datasets."""
        small = self.wanted & {"small"}
        for data, used in ((self.sizes.big, self.wanted - small - {"scale"}), (self.sizes.small, small)):
            theirs = bool(used & set(COMPARED)) and not self.args.ours_only
            for form in data.formats[: None if theirs else 1] if used else ():
                say(f"data: {data.name} {form}")
                datasets.make(data, form)
            if "convert" in used:
                with self.results.measuring("convert"):
                    for row, value in (datasets.convert(data, again=True) or {}).items():
                        self.results.add(row, f"*{data.name}*", [value])
            elif used:
                datasets.convert(data, again=False)

    def _round(self, number: int) -> None:
        big = self.sizes.big
        for kind in self._kinds(big) if self.wanted & {"latency", "diffexp", "busy", "load"} else ():
            with self._started(kind, big, number) as run:
                self._asked_as_browsers_do(run)
            if kind.name == OURS and self.sizes.plain and self.wanted & {"latency", "load"}:
                with self._started(kind, big, number, "plain answers") as run:
                    self._asked_for_plain_answers(run)
        for kind in self._kinds(self.sizes.small) if "small" in self.wanted else ():
            with self._started(kind, self.sizes.small, number) as run:
                run.prepare()
                run.column = kind.name
                self._load(run, "small", "*small*, 8 clients, requests/s", 8)

    def _asked_as_browsers_do(self, run: Run) -> None:
        if "latency" in self.wanted:
            with self.results.measuring("start"):
                run.start()
            with self.results.measuring("latency"):
                run.latency(BROWSER)
                if run.ours:
                    run.latency_decoded(BROWSER)
        else:
            run.prepare()
        # All that follows is measured as on a server that has been in use for a while.
        run.decode()
        if "diffexp" in self.wanted:
            with self.results.measuring("diffexp"):
                run.diffexp()
        if "busy" in self.wanted:
            with self.results.measuring("busy"):
                run.busy()
        if "load" in self.wanted:
            with contextlib.suppress(ServerEnded):
                self._load(run, "load", "8 clients, requests/s", 8)
                self._load(run, "load", "64 clients, requests/s", 64)
                self._load(run, "load", "8 clients, every gene a new one, requests/s", 8, again=False)

    def _asked_for_plain_answers(self, run: Run) -> None:
        """Uncompressed answers, which cellxgene 1.3.0 cannot send."""
        if "latency" in self.wanted:
            with self.results.measuring("latency, uncompressed"):
                run.latency(IDENTITY)
                run.latency_decoded(IDENTITY)
        else:
            run.prepare()
        run.decode()
        if "load" in self.wanted:
            self._load(run, "load", "8 clients, uncompressed answers, requests/s", 8, header=IDENTITY)

    def _load(self, run: Run, section: str, row: str, clients: int, **more: Any) -> None:
        if self.vegeta is None:
            return
        with self.results.measuring(section):
            try:
                run.throughput(self.vegeta, row, clients, **more)
            except ServerEnded as ended:
                say(f"{ended}")
                self.results.sections[section].setdefault("notes", {})[run.column] = f"{ended}."
                self.results.sections[section]["stopped"] = False
                raise

    @contextlib.contextmanager
    def _started(self, kind: Kind, data: Data, number: int, note: str = "") -> Iterator[Run]:
        """A server that was never used: ours has nothing decoded on disk."""
        began = time.monotonic()
        with running(kind, data, fresh_cache=kind.name == OURS) as server:
            yield Run(server, self.sizes, self.results, number)
        say(f"round {number + 1}: {kind.label} on {data.name}{note and f', {note}'}: {time.monotonic() - began:.0f} s")


def main(argv: list[str] | None = None) -> int:
    """Run the command; the answer is the process's exit code."""
    args = _arguments(argv)
    if not Path("/proc/self/smaps_rollup").exists():
        say("memory is read from /proc, so this runs on Linux only.")
        return 2
    stored = datasets.FOLDER / ("quick.json" if args.quick else "results.json")
    out = args.out or (datasets.FOLDER / "quick.md" if args.quick else datasets.ROOT / "docs" / "benchmarks.md")
    failure = None
    if args.report:
        results = Results(stored)
    else:
        wanted = choose_sections(args.only, args.quick)
        datasets.FOLDER.mkdir(parents=True, exist_ok=True)
        results = Results(stored, _facts(args), _command(args))
        try:
            Bench(args, wanted, results).measure()
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            failure = error
    if results.sections:
        text = document(results, QUICK if args.quick else FULL)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
        sys.stdout.write(text if args.quick else f"wrote {out}\n")
    elif failure is None:
        failure = RuntimeError("there are no results yet; run without --report first.")
    if failure is not None:
        say(f"{failure}")
    return 2 if failure else 0


def choose_sections(only: list[str] | None, quick: bool, problem: Any = None) -> frozenset[str]:
    """Sections to measure. `s3` is left out of a quick run and where it cannot be measured, unless it is named.

    Raises
    ------
    RuntimeError
        It is named, and cannot be measured.
    """
    wanted = frozenset(only or SECTIONS) - ({"s3"} if quick and not only else frozenset())
    why = (problem or _s3_problem)() if "s3" in wanted else None
    if why and only:
        raise RuntimeError(f"s3 cannot be measured: {why}")
    if why:
        say(f"s3 is left out: {why}")
    return wanted - ({"s3"} if why else frozenset())


def _s3_problem() -> str | None:
    """Why nothing can be measured on S3, which runs in Docker; None when it can."""
    try:
        importlib.import_module("benchmarks.s3")
    except ImportError as error:
        return f"{error}; install requirements-integration.txt beside the rest."
    program = shutil.which("docker")
    if program is None:
        return "there is no `docker` command here, and the S3 server runs in a container."
    try:
        done = subprocess.run([program, "info"], capture_output=True, check=False, timeout=30)
    except subprocess.TimeoutExpired:
        return "`docker info` did not answer within 30 s; is the Docker engine well?"
    return "`docker info` failed: start the Docker engine first." if done.returncode else None


def _facts(args: argparse.Namespace) -> dict[str, Any]:
    """What is true of the run as a whole: the machine, and the versions of what is measured."""
    theirs = not args.ours_only and (not args.only or set(args.only) & set(COMPARED))
    found = {OURS: versions(Path(sys.executable))}
    return {"machine": machine(), "versions": found | ({REFERENCE: versions(reference_python())} if theirs else {})}


def _command(args: argparse.Namespace) -> str:
    """The command line that makes the same measurements; where it wrote is left out."""
    words = ["python", "-m", "benchmarks"]
    words += ["--quick"] * args.quick + ["--ours-only"] * args.ours_only
    words += ["--only", ",".join(args.only)] if args.only else []
    words += ["--rounds", str(args.rounds)] if args.rounds else []
    return " ".join(words)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Compare with cellxgene 1.3.0. Sections that are measured replace those of earlier runs.",
    )
    parser.add_argument("--quick", action="store_true", help="small data, a minute or two")
    parser.add_argument("--ours-only", action="store_true", help="leave the published server out")
    parser.add_argument("--only", type=_sections, metavar="SECTION,...", help=f"some of: {', '.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, help="how often each server is started and measured")
    parser.add_argument("--keep", action="store_true", help="keep the large files that `scale` makes")
    parser.add_argument("--out", type=Path, help="where to write (default: docs/benchmarks.md)")
    parser.add_argument("--report", action="store_true", help="write the tables again from the last results")
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
    except (RuntimeError, OSError) as failed:
        say(f"{failed}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
