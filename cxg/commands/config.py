"""`cxg config`: check a configuration file, print the reference."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from cxg.config.commands import check_file, docs_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `check FILE` and `docs`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("check", help="report everything that is wrong in a file")
    check.add_argument("file", type=Path, metavar="FILE")
    verbs.add_parser("docs", help="print docs/config.md")


def run(args: argparse.Namespace) -> int:
    """Carry out one of the verbs; 2 when the file is not usable."""
    if args.verb == "docs":
        sys.stdout.write(docs_text())
        return 0
    checked = check_file(args.file, os.environ)
    stream = sys.stdout if checked.exit_code == 0 else sys.stderr
    stream.write("".join(f"{line}\n" for line in checked.lines))
    return checked.exit_code
