"""The command: make the data, measure each server in turn, write the report.

python -m benchmarks [--quick] [--ours-only] [--only SECTION,...] [--out FILE]
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import datasets, document
from benchmarks.bench import COMPARED, SECTIONS, Bench
from benchmarks.processes import machine
from benchmarks.results import Results
from benchmarks.sections import Sections, say
from benchmarks.servers import OURS, REFERENCE, reference_python
from benchmarks.sizes import FULL, QUICK
from benchmarks.versions import versions


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
        results = _earlier(stored, None)
        if not results.facts.get("sections"):
            say("there are no results yet; run without --report first.")
            return 2
    else:
        wanted = _wanted(args)
        datasets.FOLDER.mkdir(parents=True, exist_ok=True)
        results = _earlier(stored, _facts(args))
        try:
            _bench(args, wanted, results, stored).measure()
        except (RuntimeError, OSError) as error:
            failure = error
    sizes = QUICK if args.quick else FULL
    if results.facts.get("sections"):
        text = document.quick(results, sizes) if args.quick else document.full(results, sizes)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text)
        sys.stdout.write(text if args.quick else f"wrote {out}\n")
    if failure is not None:
        say(f"{failure}")
        return 2
    return 0


def _bench(args: argparse.Namespace, wanted: frozenset[str], results: Results, stored: Path) -> Bench:
    sizes = QUICK if args.quick else FULL
    if args.rounds:
        sizes = replace(sizes, rounds=args.rounds)
    sections = Sections(results, stored, _command(args))
    return Bench(sizes, wanted, results, sections, port=args.port, ours_only=args.ours_only, keep=args.keep)


def _wanted(args: argparse.Namespace) -> frozenset[str]:
    """Sections to measure. `s3` is left out of a quick run and where it cannot be measured, unless it is named.

    Raises
    ------
    RuntimeError
        It is named, and cannot be measured.
    """
    wanted = frozenset(args.only or SECTIONS) - ({"s3"} if args.quick and not args.only else frozenset())
    problem = _s3_problem() if "s3" in wanted else None
    if problem and args.only:
        raise RuntimeError(f"s3 cannot be measured: {problem}")
    if problem:
        say(f"s3 is left out: {problem}")
    return wanted - ({"s3"} if problem else frozenset())


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
    python = None if args.ours_only or _alone(args) else reference_python()
    found = {OURS: versions(Path(sys.executable)), **({REFERENCE: versions(python)} if python else {})}
    return {"machine": machine(), "versions": found, "quick": args.quick}


def _alone(args: argparse.Namespace) -> bool:
    """Whether the published server takes no part in the sections that are named."""
    return bool(args.only) and not set(args.only) & set(COMPARED)


def _earlier(stored: Path, facts: dict[str, Any] | None) -> Results:
    """Results of earlier runs, to which those of this one are added.

    Parameters
    ----------
    facts : of this run; where machine or versions are others, the earlier results are put aside and it begins anew.
        None takes what is there.
    """
    if not stored.is_file():
        return Results(facts)
    earlier = Results.load(stored)
    if facts is None:
        return earlier
    then = earlier.facts
    same = "sections" in then and then["machine"] == facts["machine"]
    same = same and all(facts["versions"].get(name, found) == found for name, found in then["versions"].items())
    if not same:
        aside = stored.with_suffix(".old.json")
        stored.replace(aside)
        say(f"earlier results are of another machine, other versions or an older form; they are now in {aside.name}.")
        return Results(facts)
    earlier.facts |= facts | {"versions": then["versions"] | facts["versions"]}
    return earlier


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
    parser.add_argument("--quick", action="store_true", help="small data, a minute or two, nothing judged")
    parser.add_argument("--ours-only", action="store_true", help="leave the published server out")
    parser.add_argument("--only", type=_sections, metavar="SECTION,...", help=f"some of: {', '.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, help="how often each server is started and measured")
    parser.add_argument(
        "--port", type=int, default=0, help="first of the ports the servers take (default: any free ones)"
    )
    parser.add_argument("--keep", action="store_true", help="keep the large files that `scale` makes")
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
    except (RuntimeError, OSError) as failed:
        say(f"{failed}")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
