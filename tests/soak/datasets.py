"""The datasets of a soak, in every version that will be in place, and the damages done to them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tests import cxgs
from tests.soak.questions import Question, questions


class Size(NamedTuple):
    """Cells and genes."""

    n_obs: int
    n_var: int


USUAL, LARGE = Size(3_000, 120), Size(120_000, 40)
# Never touched: visitors of these must notice nothing of what happens to others.
STEADY = ("steady.cxg", "sparse.cxg", "large.cxg")
# Replaced, rewritten file by file, damaged, added and removed; a copy of `steady.cxg` with other bytes.
CHANGING = ("swapped.cxg", "rewritten.cxg", "damaged.cxg", "coming.cxg", "twin.cxg")
ALL = (*STEADY, *CHANGING)
# Dataset -> the version that is in place at the start; the others are not there yet.
AT_FIRST = {
    **{name: f"{name.removesuffix('.cxg')}.1" for name in STEADY},
    **{name: f"{name.removesuffix('.cxg')}.1" for name in ("swapped.cxg", "rewritten.cxg", "damaged.cxg")},
}


def size_of(dataset: str) -> Size:
    """Cells and genes of a dataset, or of a version of it."""
    return LARGE if dataset.startswith("large") else USUAL


def questions_of(dataset: str) -> tuple[Question, ...]:
    """What is asked of a dataset, or of a version of it."""
    return questions(*size_of(dataset))


def cut_expression(dataset: Path) -> None:
    """Cut every data file of X in half, in place."""
    for file in dataset.glob("X*/__fragments/*/*.tdb"):
        with file.open("r+b") as data:
            data.truncate(file.stat().st_size // 2)


def forget_embedding(dataset: Path) -> None:
    """Remove what announces the data of an embedding."""
    for file in dataset.glob("emb/umap/__commits/*.wrt"):
        file.unlink()


def forget_cells(dataset: Path) -> None:
    """Remove what announces the data of obs."""
    for file in dataset.glob("obs/__commits/*.wrt"):
        file.unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "damaged.cut": cut_expression,
    "damaged.no-umap": forget_embedding,
    "damaged.no-obs": forget_cells,
}
"""Damaged versions of `damaged.cxg`, and what makes one of a good one."""


def build_all(folder: Path) -> dict[str, cxgs.Truth]:
    """Build every version below `folder`, as `<version>.cxg`; gives the truth of those that are well."""
    plans = [("steady.1", "Xr/Xc", 1), ("sparse.1", "0.3.0-sparse", 2), ("large.1", "Xr/Xc", 3)]
    plans += [("swapped.1", "Xr/Xc", 4), ("swapped.2", "Xr/Xc", 5), ("rewritten.1", "0.2.0-dense", 6)]
    plans += [("rewritten.2", "0.2.0-dense", 7), ("damaged.1", "Xr/Xc", 8), ("coming.1", "0.3.0-dense", 9)]
    truths = {
        version: cxgs.build(folder / f"{version}.cxg", kind, *size_of(version), seed=seed, genesets=True)
        for version, kind, seed in plans
    }
    for version, damage in DAMAGES.items():
        damage(_copy(folder / "damaged.1.cxg", folder / f"{version}.cxg"))
    turn_embedding(_copy(folder / "steady.1.cxg", folder / "twin.1.cxg"))
    return truths


def turn_embedding(dataset: Path) -> None:
    """Exchange some of an embedding's values, in place; sizes and times of its files stay as they were."""
    for file in dataset.glob("emb/umap/__fragments/*/a0.tdb"):
        status, data = file.stat(), bytearray(file.read_bytes())
        values = np.frombuffer(data, np.uint8)[-4_000:]  # within the last tile, which ends the file
        values[:] = np.roll(values, len(values) // 2)
        file.write_bytes(data)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copy(source: Path, target: Path) -> Path:
    shutil.copytree(source, target)
    return target
