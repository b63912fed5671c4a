"""`cxg inspect`: what a CXG holds, and what is wrong with it."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from cxg import config
from cxg.cli.descriptions import inspect_description
from cxg.config.runtime import Runtime
from cxg.convert.report import plain
from cxg.errors import DatasetNotFound
from cxg.format.inspection.inspect import Inspection, inspect_dataset
from cxg.format.memory_size import too_large
from cxg.memory import plan
from cxg.memory_bounds import MB
from cxg.storage.listing import is_s3
from cxg.storage.storage import Storage

_HDF5_SUFFIXES = (".h5ad", ".h5")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command's arguments."""
    parser.add_argument("dataset", metavar="PATH|URI", help="folder of a CXG, or s3://bucket/prefix/NAME.cxg")
    parser.add_argument(
        "--quick", action="store_true", help="read one gene of X, not every value: for very large datasets"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print what is there.

    Returns
    -------
    0 when no error was found, 1 when one was; 2 (raised as an error of ours) when there is nothing to inspect.
    """
    uri = args.dataset if is_s3(args.dataset) else str(Path(args.dataset).resolve())
    if not is_s3(uri) and Path(uri).is_file():
        way = f"; make a CXG of it: cxg convert {args.dataset}" if uri.endswith(_HDF5_SUFFIXES) else ""
        raise DatasetNotFound(f"{args.dataset} is a file, not the folder of a CXG{way}.")
    name = uri.rstrip("/").rsplit("/", 1)[-1]
    runtime = Runtime.of(os.environ)
    storage = Storage(config.default(), runtime)
    found = inspect_dataset(storage, uri.rstrip("/"), name, quick=args.quick)
    problem = too_large(found.needed_bytes, plan(runtime).dataset_mb * MB)
    if problem is not None:
        found.warn("memory", problem.replace("this server has", "a server with this machine's memory has"))
    inspect_description(storage, uri.rstrip("/"), found)
    text = json.dumps(found.as_dict(), ensure_ascii=False, indent=2) if args.json else as_text(found)
    sys.stdout.write(text + "\n")
    return 0 if found.ok else 1


def as_text(found: Inspection) -> str:
    """Lay out an inspection for a terminal."""
    width = max(map(len, found.facts))
    lines = []
    for key, value in found.facts.items():
        label = key.replace("_", " ")
        if key.endswith("_columns"):
            lines += [f"{label}", *(f"  {column}" for column in value)]
        else:
            lines.append(f"{label:<{width}}  {plain(value)}")
    for level, title in (("error", "Wrong"), ("warning", "Odd")):
        chosen = [item for item in found.findings if item.level == level]
        if chosen:
            lines += ["", f"{title}:", *(f"  {item.subject}: {item.text}" for item in chosen)]
    return "\n".join(lines if found.findings else [*lines, "", "Nothing is wrong."])
