"""The `convert` command: from its arguments to an exit code."""

from __future__ import annotations

import argparse
import errno
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from cxg.convert.options import Options
from cxg.convert.progress import bar
from cxg.convert.report import Report
from cxg.errors import ConversionError
from cxg.links import link_problem

EXIT_INPUT = 2
# The web client reads the expression of all genes of a set that is opened.
MOST_MARKERS = 200
_FULL = re.compile(r"no space left|disk quota|file too large", re.IGNORECASE)


class Interrupted(BaseException):
    """The process was asked to end; like KeyboardInterrupt, nothing but cleaning up catches it."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(signal.Signals(number).name)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.description = "Convert an .h5ad file to a CXG, the form that the server reads."
    add = parser.add_argument
    add("input", metavar="IN.h5ad", help="AnnData file with at least one embedding in obsm")
    add(
        "output", metavar="OUT.cxg", nargs="?", help="folder or s3://bucket/prefix/NAME.cxg (default: beside the input)"
    )
    add("--title", help="title shown by the web client (default: uns['title'], or the file's name)")
    add("--about", metavar="URL", help="web page about the dataset, an absolute URL")
    add("--obs-names", metavar="COLUMN", help="column of obs to use as the names of the cells")
    add("--var-names", metavar="COLUMN", help="column of var to use as the names of the genes")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--layer", metavar="NAME", help="take the expression from this layer instead of X")
    source.add_argument("--raw", action="store_true", help="take the expression and the genes from raw")
    add("--make-unique", action="store_true", help="number repeated names of cells or genes instead of refusing them")
    add("--disable-custom-colors", action="store_true", help="leave out the category colours in uns")
    add(
        "--sparse-threshold",
        metavar="PERCENT",
        type=_percent,
        default=100.0,
        help="write X as one dense array if at least this much of it is non-zero (default: 100, never)",
    )
    add(
        "--gene-sets",
        metavar="FILE",
        type=Path,
        help="gene sets to store: .csv with the columns gene_set_name, gene_set_description, gene_symbol, "
        "gene_description, or .gmt",
    )
    add(
        "--markers",
        metavar="N",
        type=_count,
        default=Options.markers,
        help="first N genes of each group in uns['rank_genes_groups'], as gene sets (default: %(default)s; 0: none)",
    )
    add("--check", action="store_true", help="read everything and report, but write no CXG")
    add("--overwrite", action="store_true", help="replace an existing CXG")
    add("--report", metavar="FILE", type=Path, help="write the report as JSON to this file")
    add("--backed", action="store_true", help="accepted for old scripts; the input is always read piece by piece")


def run(args: argparse.Namespace) -> int:
    """Convert.

    Returns
    -------
    0 when done, 2 when the input or an argument is at fault, 128 and its number after a signal.
    """
    report = Report()
    try:
        convert(args, report)
        if args.report is not None:
            _write_report(args.report, report)
    except Interrupted as stop:
        what = "after the CXG was complete" if "output" in report.facts else "nothing was written"
        _say(f"cxg convert: stopped by {stop}; {what}.")
        return 128 + stop.number
    except ConversionError as error:
        _say(f"cxg convert: {error}")
        return EXIT_INPUT
    head = "Checked" if args.check else "Converted"
    sys.stdout.write(f"{head} {args.input}\n{report.as_text()}\n")
    return 0


def convert(args: argparse.Namespace, report: Report | None = None) -> Report:
    """Convert as the arguments say, and return the report; `report` gets its notes while the conversion runs.

    Raises
    ------
    ConversionError
        The input or an argument is at fault, or the CXG cannot be written.
    Interrupted
        A signal asked the process to end.
    """
    report, began = Report() if report is None else report, time.monotonic()
    with _signals(), _plain_errors():
        _check_arguments(args)
        _convert(args, report)
    report.facts["seconds"] = round(time.monotonic() - began, 1)
    return report


def _convert(args: argparse.Namespace, report: Report) -> None:
    # numpy, h5py, scipy and TileDB take half a second to load, which --help should not.
    from cxg.convert.publish import folder as publish
    from cxg.convert.publish.bucket import Bucket
    from cxg.convert.read.h5ad import open_h5ad
    from cxg.convert.write.writer import Conversion

    source, options = Path(args.input), _options(args)
    output = args.output or str(source.with_suffix(".cxg"))
    report.facts["input"] = str(source)
    with ExitStack() as stack:
        step = stack.enter_context(bar())
        h5ad = stack.enter_context(open_h5ad(source, options))
        conversion = Conversion(h5ad, options, source.stem, report, step)
        if args.check:
            conversion.check()
            return
        if output.startswith("s3://"):
            bucket = Bucket(output)
            bucket.check_target(args.overwrite)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cxg-")))
            scratch = folder / "scratch"
            scratch.mkdir()
            conversion.write(folder / "new", scratch)
            shutil.rmtree(scratch)
            bucket.publish(folder / "new", args.overwrite, step)
            report.facts["output"] = bucket.uri
            return
        target = Path(os.path.abspath(output))  # noqa: PTH100  (resolve() would follow a link that is to be refused)
        publish.check_target(target, args.overwrite)
        place = stack.enter_context(publish.workplace(target))
        conversion.write(place.new, place.scratch)
        place.publish(args.overwrite)
        report.facts["output"] = str(target)


def _options(args: argparse.Namespace) -> Options:
    return Options(
        title=args.title,
        about=args.about,
        obs_names=args.obs_names,
        var_names=args.var_names,
        layer=args.layer,
        raw=args.raw,
        make_unique=args.make_unique,
        custom_colors=not args.disable_custom_colors,
        sparse_threshold=args.sparse_threshold,
        gene_sets=args.gene_sets,
        markers=args.markers,
    )


def _check_arguments(args: argparse.Namespace) -> None:
    for name, value in vars(args).items():
        # Python hands bytes that are not UTF-8 on as surrogates, which neither TileDB nor JSON takes.
        if isinstance(value, str | Path) and str(value) != str(value).encode("utf-8", "replace").decode("utf-8"):
            what = name if name in ("input", "output") else f"--{name.replace('_', '-')}"
            raise ConversionError(f"{what}: {str(value)!r} is not valid UTF-8; use another name.")
    if not Path(args.input).name:
        raise ConversionError(f"{args.input!r} is not a file; an .h5ad file is needed.")
    if "://" in args.input:
        raise ConversionError(f"{args.input} is not a file on this machine; download it first.")
    if args.about is not None and link_problem(args.about) is not None:
        raise ConversionError(
            f"--about: {args.about!r} is not an absolute URL such as https://example.org/study: "
            f"{link_problem(args.about)}."
        )
    if args.output is not None and "://" in args.output and not args.output.startswith("s3://"):
        raise ConversionError(f"{args.output}: only folders and s3:// are possible outputs.")
    if args.report is not None and not args.report.absolute().parent.is_dir():
        raise ConversionError(f"--report: the folder {args.report.absolute().parent} does not exist.")


def _count(text: str) -> int:
    value = int(text)
    if not 0 <= value <= MOST_MARKERS:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to {MOST_MARKERS} is needed")
    return value


def _percent(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 100:
        raise argparse.ArgumentTypeError("a number from 0 to 100 is needed")
    return value


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Turn what the disk and TileDB say into one sentence."""
    from tiledb import TileDBError

    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise _disk_full() from error
        where = f"{error.filename}: " if error.filename else ""
        raise ConversionError(f"{where}{error.strerror or error}.") from error
    except TileDBError as error:
        if _FULL.search(str(error)):
            raise _disk_full() from error
        raise ConversionError(f"The CXG cannot be written: {str(error).strip().splitlines()[0]}") from error


def _disk_full() -> ConversionError:
    return ConversionError(
        "The disk is full: a conversion needs room for the CXG and, while it runs, eight bytes or more per non-zero; "
        "nothing was written."
    )


@contextmanager
def _signals() -> Iterator[None]:
    """Let signals to end do it in order, so that the work folder is removed; one that is ignored (nohup) stays so."""

    def stop(number: int, frame: FrameType | None) -> None:
        for each in before:  # a second signal must not cut the cleaning short
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    before: dict[int, Any] = {}
    try:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(each) != signal.SIG_IGN:
                before[each] = signal.signal(each, stop)
    except ValueError:  # not the main thread: the caller handles signals
        pass
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_report(path: Path, report: Report) -> None:
    try:
        path.write_text(
            json.dumps(report.as_dict(), ensure_ascii=False, indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )
    except OSError as error:
        raise ConversionError(
            f"--report: {path} cannot be written ({error.strerror}); the CXG itself is complete."
        ) from error


def _say(text: str) -> None:
    with suppress(OSError):  # after SIGHUP the terminal may be gone
        sys.stderr.write(text + "\n")
