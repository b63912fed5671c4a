"""Real data to look at: 700 blood cells, converted to a CXG.

`10x_pbmc68k_reduced.h5ad` rides inside the published wheel of scanpy. Only that
file and scanpy's licence are taken out of the wheel; scanpy is not installed.
Its X holds z-scores; the log-normalised expression that the explorer is made for is its raw.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from assembly import Say
from assembly.errors import AssemblyError
from assembly.fetch import PinnedFile, fetch_wheel
from assembly.staged import is_intact, staged_folder, stamp_source

SCANPY = PinnedFile(
    name="scanpy",
    version="1.11.5",
    sha256="fcd383ddcf7acbf7c0ca232c25ad51b00aec9f8d2f7c8954b8c6ee0962257166",
    filename="scanpy-1.11.5-py3-none-any.whl",
)
H5AD_DIR = Path("build/h5ad")
SAMPLE_DIR = Path("build/sample")
H5AD = "10x_pbmc68k_reduced.h5ad"
CXG = "pbmc68k_reduced.cxg"
TITLE = "Blood cells (PBMC, 700 of 68,000)"
_OPTIONS = ("--raw", "--title", TITLE)

_MEMBERS = {
    H5AD: "scanpy/datasets/10x_pbmc68k_reduced.h5ad",
    "LICENSE": "scanpy-1.11.5.dist-info/licenses/LICENSE",
}
_SOURCE = {"name": SCANPY.name, "version": SCANPY.version, "sha256": SCANPY.sha256}


def add_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `sample` to the verbs of `build.py`."""
    parser = verbs.add_parser("sample", help="put a small real dataset into build/sample")
    parser.add_argument("--h5ad-only", action="store_true", help="stop at the .h5ad file, convert nothing")
    parser.add_argument("--h5ad-dir", type=Path, default=H5AD_DIR, metavar="DIR", help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=SAMPLE_DIR, metavar="DIR", help="dataroot; default: %(default)s")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, say: Say) -> None:
    h5ad = ensure_h5ad(options.h5ad_dir, say)
    if not options.h5ad_only:
        ensure_cxg(h5ad, options.out, say)


def ensure_h5ad(folder: Path, say: Say) -> Path:
    """Return the path of the sample `.h5ad` in `folder`; fetches it when it is not there or not intact.

    Raises
    ------
    AssemblyError
        The download failed or is not the pinned file, or `folder` holds foreign files.
    """
    if stamp_source(folder) != _SOURCE or not is_intact(folder):
        say(f"sample: fetching {H5AD} (part of {SCANPY.name} {SCANPY.version})")
        with tempfile.TemporaryDirectory() as scratch:
            wheel = fetch_wheel(SCANPY, Path(scratch))
            with staged_folder(folder, _SOURCE) as work, zipfile.ZipFile(wheel) as archive:
                for name, member in _MEMBERS.items():
                    (work / name).write_bytes(archive.read(member))
    return folder / H5AD


def ensure_cxg(h5ad: Path, dataroot: Path, say: Say) -> Path:
    """Return the path of the converted sample in `dataroot`; runs `cxg convert` unless that was done before.

    The converter moves a dataset into place when it is complete, so one that is there is whole; one made with other
    options, as a file beside it tells, is replaced.

    Raises
    ------
    AssemblyError
        The `cxg` command is not installed, or it failed.
    """
    target, made_with = dataroot / CXG, dataroot / f".{CXG}.options"
    options = "\n".join(_OPTIONS)
    if target.is_dir() and made_with.is_file() and made_with.read_text() == options:
        return target
    say(f"sample: converting {h5ad.name} to {target}")
    dataroot.mkdir(parents=True, exist_ok=True)
    command = [cxg_command(), "convert", str(h5ad), str(target), *_OPTIONS, "--overwrite"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssemblyError(f"`{' '.join(command[:4])}` failed:\n{(done.stderr or done.stdout).strip()}")
    made_with.write_text(options)
    return target


def cxg_command() -> str:
    """Return the `cxg` command of the environment we run in, else of the PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    command = shutil.which("cxg", path=path)
    if command is None:
        raise AssemblyError("the `cxg` command is not installed here: run `make env`, then use .venv/bin/python")
    return command
