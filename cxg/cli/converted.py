"""The CXG that `cxg launch FILE.h5ad` serves: made once for each state of the file, in the user's cache folder."""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from cxg import __version__
from cxg.errors import ConfigError

_REPORT = "report.txt"
_OWN = "cellxgene-eb-converted-1"
# The newest states of a file that stay: another server may still read the one before.
_KEPT = 2


def converted_path(source: str, env: Mapping[str, str]) -> Path:
    """Name the CXG of an h5ad file; it has another name when the file, or this software, is another.

    Parameters
    ----------
    source : str
        Path of the file.
    env : mapping
        Environment; `CXG_CACHE_DIR` names the cache folder.

    Raises
    ------
    ConfigError
        There is no such file.
    """
    file = Path(source)
    if not file.is_file():
        raise ConfigError(
            f"There is no file {source}: name an .h5ad file, a folder of datasets, or one dataset (.cxg)."
        )
    file = file.resolve()
    found = file.stat()
    place = hashlib.sha256(str(file).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    state = hashlib.sha256(f"{found.st_size} {found.st_mtime_ns} {__version__}".encode()).hexdigest()[:12]
    return _cache(env) / _OWN / f"{file.stem}-{place}" / state / f"{file.stem}.cxg"


def ensure_converted(source: str, target: Path) -> None:
    """Convert the file unless that was done, and print the report of its conversion.

    Raises
    ------
    ConversionError
        The file cannot be converted.
    ConfigError
        The cache folder cannot be written.
    """
    report = target.parent / _REPORT
    if target.is_dir() and report.is_file():
        sys.stdout.write(f"Converted before: {source}\n{report.read_text(encoding='utf-8')}\n")
        return
    # Loaded here: the converter takes half a second to load, which a server of CXGs need not wait for.
    from cxg.cli import convert

    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigError(
            f"{target.parent}: {error.strerror}, so that {source} cannot be converted there: name another folder in "
            f"CXG_CACHE_DIR, or run cxg convert {source}, then cxg launch with the .cxg that it writes."
        ) from error
    parser = argparse.ArgumentParser()
    convert.add_arguments(parser)
    text = convert.convert(parser.parse_args([source, str(target), "--overwrite"])).as_text()
    report.write_text(text, encoding="utf-8")
    sys.stdout.write(f"Converted {source}\n{text}\n")
    _remove_old(target.parent)


def _cache(env: Mapping[str, str]) -> Path:
    if env.get("CXG_CACHE_DIR"):
        return Path(env["CXG_CACHE_DIR"])
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _remove_old(newest: Path) -> None:
    """Remove the CXGs of earlier states of a file, but for the one before."""
    states = sorted(newest.parent.iterdir(), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
    for folder in [folder for folder in states if folder != newest][_KEPT - 1 :]:
        shutil.rmtree(folder, ignore_errors=True)
