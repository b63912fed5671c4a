"""`cxg config`: check a configuration file, print the reference."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from cxg.config import load
from cxg.config.files import read_config_file
from cxg.config.render import docs_markdown
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `check FILE` and `docs`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("check", help="report everything that is wrong in a file")
    check.add_argument("file", type=Path, metavar="FILE")
    verbs.add_parser("docs", help="print docs/config.md")


def run(args: argparse.Namespace) -> int:
    """Carry out one of the verbs; 2 when the file is not usable."""
    if args.verb == "docs":
        sys.stdout.write(docs_markdown())
        return 0
    try:
        # As the server would read it in this environment.
        warnings = load(read_config_file(args.file), Runtime.of(os.environ).overrides, str(args.file)).warnings
    except ConfigError as error:
        sys.stderr.write("".join(f"{line}\n" for line in error.problems))
        return 2
    count = f", {len(warnings)} warning{'s' if len(warnings) > 1 else ''}" if warnings else ""
    sys.stdout.write("".join(f"warning: {one}\n" for one in warnings) + f"{args.file}: valid{count}.\n")
    return 0
