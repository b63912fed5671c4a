"""The datasets: made once into build/bench, converted, and both timed."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

from benchmarks import make_h5ad
from benchmarks.processes import peak_resident_mb
from benchmarks.sizes import Data

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "bench"
SEED = 0
_LOOK_S = 0.02
_MAKER = ROOT / "benchmarks" / "make_h5ad.py"


def h5ad_path(data: Data, form: str) -> Path:
    """Where an h5ad is, or will be."""
    return FOLDER / "h5ad" / f"{data.cells}x{data.genes}-{form}.h5ad"


def dataroot(data: Data) -> Path:
    """The folder that our server is given; it holds one dataset."""
    return FOLDER / "dataroot" / f"{data.cells}x{data.genes}"


def cxg_name(data: Data) -> str:
    return f"{data.name}.cxg"


def make(data: Data, form: str) -> Path:
    """Make an h5ad unless it is there, from the same generator and the same numbers."""
    path = h5ad_path(data, form)
    stamp = path.with_suffix(".made-from")
    wanted = f"{sha256(_MAKER.read_bytes()).hexdigest()} {data.density} {SEED}\n"
    if path.is_file() and stamp.is_file() and stamp.read_text() == wanted:
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_suffix(".part")
    arguments = ["--cells", str(data.cells), "--genes", str(data.genes), "--density", str(data.density)]
    with contextlib.redirect_stdout(sys.stderr):
        make_h5ad.main([str(half), *arguments, "--format", form, "--seed", str(SEED)])
    half.replace(path)
    stamp.write_text(wanted)
    return path


def forget(data: Data) -> None:
    """Remove the h5ad that is converted."""
    path = h5ad_path(data, data.convert_from)
    for made in (path, path.with_suffix(".made-from")):
        made.unlink(missing_ok=True)


def convert(data: Data, *, again: bool) -> dict[str, float] | None:
    """Convert the h5ad with `cxg convert`; None when the CXG is there already and `again` is not asked.

    Returns
    -------
    seconds, peak resident memory and sizes on disk, by the texts of their rows

    Raises
    ------
    RuntimeError
        The converter failed; the text holds the end of what it said.
    """
    source, target = make(data, data.convert_from), dataroot(data) / cxg_name(data)
    if target.is_dir() and not again:
        return None
    if target.is_dir():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    log = FOLDER / "convert.log"
    command = [sys.executable, "-m", "cxg.cli.main", "convert", str(source), str(target)]
    with log.open("wb") as out:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True)
        # Not the resource usage of a child, in which this process's own peak counts too.
        peak_mb = 0.0
        while process.poll() is None:
            peak_mb = max(peak_mb, peak_resident_mb(process.pid))
            time.sleep(_LOOK_S)
        seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"cxg convert {source.name} failed:\n{log.read_text(errors='replace')[-2000:]}")
    files = [item for item in target.rglob("*") if item.is_file()]
    return {
        "h5ad, MB": source.stat().st_size / 1e6,
        "CXG, MB": sum(item.stat().st_size for item in files) / 1e6,
        "CXG, files": len(files),
        "conversion, s": seconds,
        "conversion, peak resident memory, MB": peak_mb,
    }
