"""Decoded copies hold exactly what the CXG holds, cell by cell and gene by gene."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxg.config import default
from cxg.decoded import matrix as runs
from cxg.decoded.matrix import DecodedMatrix, build, read_columns, sum_columns
from cxg.format.dataset import Dataset, open_dataset
from cxg.memory_bounds import MB, OPEN_MB
from cxg.storage import checksums
from cxg.storage.bounded_cache import BoundedCache
from cxg.storage.checksums import CopyDamaged, CopyWriter
from cxg.storage.storage import Storage
from tests import cxgs

MATRICES: list[dict[str, Any]] = [
    {},
    {"kind": "0.2.0-sparse"},
    {"kind": "0.3.0-sparse"},
    {"generations": 2},
]


@pytest.fixture(params=MATRICES, ids=str)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, Dataset]]:
    truth = cxgs.build(tmp_path / "a.cxg", n_obs=60, n_var=17, **request.param)
    dataset = open_dataset(Storage(default()), str(tmp_path / "a.cxg"), "a.cxg")
    yield truth, dataset
    dataset.close()


def decode(dataset: Dataset, axis: str, folder: Path, most_bytes: int = 1 << 20) -> bool:
    copy = written(folder)
    lengths = (dataset.n_obs, dataset.n_var) if axis == "obs" else (dataset.n_var, dataset.n_obs)
    done = build(copy, partial(dataset.sparse_expression().read_range, axis), *lengths, most_bytes)
    copy.finish("copy")
    return done


def written(folder: Path) -> CopyWriter:
    folder.mkdir()
    return CopyWriter(folder)


@pytest.mark.parametrize("piece_values", [7, 1 << 20])
def test_cells_equal_the_matrix(made, tmp_path: Path, monkeypatch, piece_values: int) -> None:
    truth, dataset = made
    monkeypatch.setattr(runs, "PIECE_VALUES", piece_values)
    assert decode(dataset, "obs", tmp_path / "copy")
    store = DecodedMatrix(tmp_path / "copy", "copy")
    for cells in ([0], [59], [3, 4, 5, 20, 58], list(range(60))):
        total = np.zeros(17)
        for var, value in store.pieces(np.array(cells)):
            total += np.bincount(var, value, 17)
        np.testing.assert_allclose(total, truth.X[cells].sum(axis=0, dtype=np.float64), rtol=1e-12)


def test_genes_equal_the_matrix(made, tmp_path: Path) -> None:
    truth, dataset = made
    assert decode(dataset, "var", tmp_path / "copy")
    store = DecodedMatrix(tmp_path / "copy", "copy")
    for genes in ([0], [16], [3, 4, 9], list(range(17))):
        np.testing.assert_array_equal(read_columns(store, np.array(genes), 60), truth.X[:, genes])
        assert read_columns(store, np.array(genes), 60).tobytes() == dataset.read_X_columns(np.array(genes)).tobytes()
        total = sum_columns(store, np.array(genes), 60)
        np.testing.assert_allclose(total, dataset.sum_X_columns(np.array(genes)), rtol=1e-12)
    for gene in range(17):
        assert (np.diff(store.line(gene)[0].astype(np.int64)) > 0).all()


def test_more_than_65536_on_the_other_axis_take_wider_numbers(tmp_path: Path) -> None:
    copy = written(tmp_path / "copy")
    others = np.array([65_536, 70_000])

    def read_range(start: int, stop: int) -> Any:
        return np.array([2]), others, np.array([1, 2], np.float32)

    assert build(copy, read_range, 1, 70_001, 1 << 20)
    copy.finish("copy")
    assert DecodedMatrix(tmp_path / "copy", "copy").line(0)[0].tolist() == others.tolist()


def test_no_lines_give_no_pieces(tmp_path: Path) -> None:
    copy = written(tmp_path / "copy")
    nothing = np.zeros(3, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.float32)
    assert build(copy, lambda start, stop: nothing, 3, 5, 1 << 20)
    copy.finish("copy")
    store = DecodedMatrix(tmp_path / "copy", "copy")
    assert list(store.pieces(np.zeros(0, np.int64))) == []
    assert sum(len(value) for _, value in store.pieces(np.array([0, 2]))) == 0
    assert len(store.line(1)[1]) == 0


@pytest.mark.parametrize("first", [0, 40])
def test_what_is_read_at_a_time_is_bounded(tmp_path: Path, first: int) -> None:
    """However empty the first lines are, no piece could hold more values than are allowed."""
    copy = written(tmp_path / "copy")
    n_lines, n_other, asked = 30_000, 100_000, []

    def read_range(start: int, stop: int) -> Any:
        asked.append(stop - start)
        k = first if start == 0 else 0
        counts = np.zeros(stop - start, np.int64)
        counts[0] = k
        return counts, np.arange(k, dtype=np.uint32), np.ones(k, np.float32)

    assert build(copy, read_range, n_lines, n_other, 1 << 30)
    assert sum(asked) == n_lines
    assert max(asked) * n_other <= runs.MOST_BUILD_VALUES


def test_building_stops_at_the_budget(tmp_path: Path) -> None:
    cxgs.build(tmp_path / "a.cxg", "Xr/Xc", n_obs=60, n_var=17)
    dataset = open_dataset(Storage(default()), str(tmp_path / "a.cxg"), "a.cxg")
    assert not decode(dataset, "obs", tmp_path / "copy", 100)


def test_a_folder_that_is_not_there_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DecodedMatrix(tmp_path / "copy", "copy")


def test_a_copy_that_is_cut_short_while_it_is_open_is_damaged(made, tmp_path: Path) -> None:
    _, dataset = made
    assert decode(dataset, "obs", tmp_path / "copy")
    store = DecodedMatrix(tmp_path / "copy", "copy")
    store.line(59)
    assert store.is_unchanged()
    os.truncate(tmp_path / "copy" / "value.f4", 4)
    assert not store.is_unchanged()
    with pytest.raises(CopyDamaged, match=r"value.f4 was cut short"):
        store.line(59)


def test_lines_are_checked_when_they_are_first_read(made, tmp_path: Path, monkeypatch) -> None:
    """A damaged block is met by those who read it, and by nobody else."""
    monkeypatch.setattr(checksums, "BLOCK_BYTES", 16)
    _, dataset = made
    assert decode(dataset, "obs", tmp_path / "copy")
    file = tmp_path / "copy" / "value.f4"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    store = DecodedMatrix(tmp_path / "copy", "copy")
    assert [len(store.line(line)[1]) for line in range(40)] == np.count_nonzero(made[0].X[:40], axis=1).tolist()
    with pytest.raises(CopyDamaged, match=r"value.f4 is not what was written"):
        list(store.pieces(np.arange(60)))


def test_open_stores_are_bounded_by_number_however_small_they_are(tmp_path: Path) -> None:
    nothing = np.zeros(3, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    copy = written(tmp_path / "copy")
    assert build(copy, lambda start, stop: nothing, 3, 5, 1 << 20)
    copy.finish("copy")
    kept = BoundedCache(OPEN_MB * MB)
    before = len(list(Path("/dev/fd").iterdir()))
    for number in range(300):
        kept.find_or_make(kept, number, lambda: DecodedMatrix(tmp_path / "copy", "copy"), DecodedMatrix.held_bytes)
    assert 100 < len(list(Path("/dev/fd").iterdir())) - before < 400
