"""The `cxg` command: launch, convert, inspect, describe, share, config, doctor.

Exit codes: 0 done; 1 done, but something was found wrong (`inspect`, `doctor`); 2 the
arguments, the configuration or the input cannot be used, said in one sentence on stderr.
"""

from __future__ import annotations

import argparse
import importlib
import io
import platform
import sys
from collections.abc import Sequence

from cxg import __version__
from cxg.errors import ConfigError, CxgError
from cxg.timeouts.process_end import end_process_despite_stuck_calls, note_exit_code

# Each command is a module with `add_arguments(parser)` and `run(args) -> exit code`; only the one
# that was asked for is imported, so that `cxg launch` does not load the converter.
COMMANDS = {
    "launch": ("cxg.cli.launch", "serve a folder of datasets, or one dataset"),
    "convert": ("cxg.cli.convert", "turn an .h5ad file into a CXG"),
    "inspect": ("cxg.cli.inspect", "tell what a CXG holds, and what is wrong with it"),
    "describe": ("cxg.cli.describe", "write a description of a dataset, to be filled in"),
    "share": ("cxg.cli.share", "make a link that opens a hidden dataset until a date"),
    "config": ("cxg.cli.config", "check a configuration file"),
    "doctor": ("cxg.cli.doctor", "check a whole deployment"),
}
# Packages whose version matters for a report of a fault.
_PARTS = ("tiledb", "numpy", "flask", "gunicorn")


class _Version(argparse.Action):
    """Prints the versions; what is installed is looked up only when somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        parts = ", ".join(f"{name} {version(name)}" for name in _PARTS)
        sys.stdout.write(f"cellxgene-eb {__version__}\n{parts}, Python {platform.python_version()}\n")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the return value is the process's exit code."""
    if argv is None:
        end_process_despite_stuck_calls()
    return note_exit_code(_run(argv))


def _run(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(prog="cxg", description="Single-cell datasets on the web.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show this version and those of the main parts")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name == chosen:
            importlib.import_module(module).add_arguments(command)
    args = parser.parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal may not have every letter of a dataset
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code: int = importlib.import_module(COMMANDS[args.command][0]).run(args)
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"cxg: {problem}\n")
        return 2
    except CxgError as error:
        sys.stderr.write(f"cxg: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main())
