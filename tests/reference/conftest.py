"""Both servers with the same data. Each dataset is converted and started once a session."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiledb

from assembly.sample import H5AD_DIR, ensure_h5ad
from tests.reference import env
from tests.reference.pair import Ours, Pair
from tests.reference.server import launch
from tests.served import serve

MADE = ("dtypes", "counts", "dense", "whole")
GENE_SETS = [
    (
        "B cells",
        'markers, of "B" cells',
        [("CD79A", "B-cell antigen"), ("MS4A1", ""), ("NO-SUCH-GENE", ""), ("CD79A", "again")],
    ),
    ("empty set", "", []),
    ("second set", "", [("GNLY", ""), ("NKG7", "granule, protein")]),
]


@pytest.fixture(scope="session")
def reference_python() -> Path:
    """Interpreter of the published server's environment, made when it is missing."""
    return env.ensure()


@pytest.fixture(scope="session")
def h5ads(reference_python: Path, tmp_path_factory: pytest.TempPathFactory, project: Path) -> dict[str, Path]:
    """The real file, as it is and with unscaled expression, and the made ones, by name."""
    folder = tmp_path_factory.mktemp("h5ad")
    script = Path(__file__).with_name("make_h5ad.py")
    real = ensure_h5ad(project / H5AD_DIR, print)
    command = [str(reference_python), str(script), str(folder), str(real)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": ""}, timeout=120)
    return {"scaled": real, **{path.stem: path for path in sorted(folder.glob("*.h5ad"))}}


@pytest.fixture(scope="session")
def dataroot(h5ads: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file, converted."""
    folder = tmp_path_factory.mktemp("dataroot")
    for name, path in h5ads.items():
        # Titles stay the file stems, as the published server shows them.
        # The published server has no gene sets of its own.
        command = [
            sys.executable,
            "-m",
            "cxg.cli.main",
            "convert",
            str(path),
            str(folder / f"{name}.cxg"),
            "--markers",
            "0",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
    return folder


@contextlib.contextmanager
def both(name: str, python: Path, h5ad: Path, dataroot: Path, log: Path, *options: str) -> Iterator[Pair]:
    """One dataset on both servers until the block ends."""
    ours = Ours(serve(dataroot, log.parent / "client"), f"{name}.cxg")
    with launch(python, h5ad, *options, log=log) as theirs:
        yield Pair(name, theirs, ours)


@pytest.fixture(scope="session")
def started(reference_python, h5ads, dataroot, tmp_path_factory) -> Iterator[dict[str, Pair]]:
    """The real dataset and the made ones on both servers, by name."""
    logs = tmp_path_factory.mktemp("logs")
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(both(name, reference_python, h5ads[name], dataroot, logs / f"{name}.log"))
            for name in ("pbmc68k", *MADE)
        }


@pytest.fixture(params=["pbmc68k", *MADE])
def pair(request: pytest.FixtureRequest, started: dict[str, Pair]) -> Pair:
    """Each dataset in turn."""
    return started[request.param]


@pytest.fixture
def real_pair(started: dict[str, Pair]) -> Pair:
    """The real dataset."""
    return started["pbmc68k"]


@pytest.fixture(scope="session")
def scaled_pair(reference_python, h5ads, dataroot, tmp_path_factory) -> Iterator[Pair]:
    """The real dataset as it is: z-scores over a range of 37."""
    log = tmp_path_factory.mktemp("logs") / "scaled.log"
    with both("scaled", reference_python, h5ads["scaled"], dataroot, log) as pair:
        yield pair


@pytest.fixture(scope="session")
def gene_set_pair(reference_python, h5ads, dataroot, tmp_path_factory) -> Iterator[Pair]:
    """The real dataset with the same gene sets: a CSV file there, stored in the CXG here."""
    folder = tmp_path_factory.mktemp("gene_sets")
    with (folder / "sets.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["gene_set_name", "gene_set_description", "gene_symbol", "gene_description"])
        for name, description, genes in GENE_SETS:
            rows.writerows([name, description, *gene] for gene in genes or [("", "")])
    stored = {
        name: {
            "geneset_name": name,
            "geneset_description": description,
            "genes": [{"gene_symbol": symbol, "gene_description": about} for symbol, about in genes],
        }
        for name, description, genes in GENE_SETS
    }
    subprocess.run(["cp", "-r", str(dataroot / "pbmc68k.cxg"), str(folder / "pbmc68k.cxg")], check=True)
    with tiledb.open(str(folder / "pbmc68k.cxg" / "obs"), "w") as obs:
        obs.meta["genesets"] = json.dumps(stored)
    options = ("--gene-sets-file", str(folder / "sets.csv"))
    with both("pbmc68k", reference_python, h5ads["pbmc68k"], folder, folder / "log", *options) as pair:
        yield pair


@pytest.fixture(scope="session")
def refused_colors(reference_python, h5ads, dataroot, tmp_path_factory) -> Iterator[Pair]:
    """A dataset whose colours the published server cannot read."""
    log = tmp_path_factory.mktemp("logs") / "colors.log"
    with both("colors", reference_python, h5ads["colors"], dataroot, log) as pair:
        yield pair


@pytest.fixture(scope="session")
def flag_colors(reference_python, h5ads, dataroot, tmp_path_factory) -> Iterator[Pair]:
    """A dataset with colours of a flag."""
    log = tmp_path_factory.mktemp("logs") / "flags.log"
    with both("flags", reference_python, h5ads["flags"], dataroot, log) as pair:
        yield pair
