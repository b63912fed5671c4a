"""The verb that checks `customize/` and, inside the image's build, puts it in its place."""

from __future__ import annotations

import argparse
from pathlib import Path

from assembly import ROOT, Say
from assembly.overlays import read_overlays, stage_overlays

_FOLDERS = ("deploy", "inline_scripts", "plugins")


def add_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `customize` to the verbs of `build.py`."""
    parser = verbs.add_parser("customize", help="check the files in customize/")
    parser.add_argument("--customize", type=Path, default=Path("customize"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="DIR", help="copy what the server needs to this new folder")
    parser.add_argument("--commit", default="unknown", metavar="ID", help="what __CELLXGENE_COMMIT__ becomes")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, say: Say) -> None:
    overlays = read_overlays(options.customize, ROOT / "requirements.txt")
    for path in (*overlays.files, *overlays.ebextensions):
        say(f"customize: {path}")
    if not overlays.files and not overlays.ebextensions:
        say(f"customize: nothing in {options.customize}")
    if options.out is not None:
        stage_overlays(overlays, options.out, options.commit)
        for folder in _FOLDERS:  # the server's environment names all of them, so all must exist
            (options.out / folder).mkdir(parents=True, exist_ok=True)
