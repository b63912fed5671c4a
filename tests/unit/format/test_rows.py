"""Cells that are read from the files of tiles are those that TileDB reads, and TileDB goes on where it must."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxg.config import default
from cxg.errors import DatasetInvalid
from cxg.format.dataset import Dataset, open_dataset
from cxg.format.matrix import query, sparse
from cxg.format.matrix.sparse import SparseBlock
from cxg.storage.storage import Storage
from cxg.storage.tile_files import TileFiles
from cxg.storage.tile_parts import UnknownForm
from tests import cxgs

CELLS = np.array([0, 1, 2, 7, 20, 21, 29])


@pytest.fixture
def truth(tmp_path: Path) -> cxgs.Truth:
    return cxgs.build(tmp_path / "x.cxg", nan=True)


def open_now(truth: cxgs.Truth) -> Dataset:
    return open_dataset(Storage(default()), str(truth.path), "x")


def sums(dataset: Dataset) -> Any:
    total = np.zeros(dataset.n_var)
    for block in dataset.iter_X_rows(CELLS):
        assert isinstance(block, SparseBlock)
        total += np.bincount(block.var, block.value, dataset.n_var)
    return total


@pytest.mark.parametrize("kind", cxgs.ALL_KINDS)
def test_only_cells_of_the_pair_are_light(tmp_path: Path, kind: str) -> None:
    dataset = open_now(cxgs.build(tmp_path / "x.cxg", kind))
    assert dataset.rows_are_light == (kind in ("Xr/Xc", "0.1-Xr/Xc"))


def test_cells_that_may_repeat_are_not_light(tmp_path: Path) -> None:
    assert not open_now(cxgs.build(tmp_path / "x.cxg", generations=2)).rows_are_light


@pytest.mark.parametrize("n_sound", [0, 1, 3])
def test_tiledb_reads_what_is_left(truth: cxgs.Truth, monkeypatch: pytest.MonkeyPatch, n_sound: int) -> None:
    monkeypatch.setattr(sparse, "TILES_VALUES", 1)
    read, calls = TileFiles.read, []

    def failing(self: TileFiles, *args: Any) -> Any:
        calls.append(args)
        if len(calls) > n_sound:
            raise UnknownForm
        return read(self, *args)

    monkeypatch.setattr(TileFiles, "read", failing)
    dataset = open_now(truth)
    np.testing.assert_allclose(sums(dataset), truth.X[CELLS].sum(axis=0, dtype=np.float64))
    assert len(calls) == n_sound + 1
    assert not dataset.rows_are_light
    np.testing.assert_allclose(sums(dataset), truth.X[CELLS].sum(axis=0, dtype=np.float64))


def test_tiledb_is_not_asked_for_cells_of_sound_files(truth: cxgs.Truth, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "read_blocks", None)
    np.testing.assert_allclose(sums(open_now(truth)), truth.X[CELLS].sum(axis=0, dtype=np.float64))


@pytest.mark.parametrize("damage", ["cut", "zeros"])
def test_damage_is_reported_as_tiledb_does(truth: cxgs.Truth, damage: str) -> None:
    dataset = open_now(truth)
    assert dataset.rows_are_light
    (file,) = truth.path.glob("Xr/__fragments/*/a1.tdb")
    whole = file.read_bytes()
    file.write_bytes(whole[:-5] if damage == "cut" else b"\0" * len(whole))
    with pytest.raises(DatasetInvalid):
        sums(dataset)
