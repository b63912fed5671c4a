"""Decoded copies hold exactly what the CXG holds, cell by cell and gene by gene."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxg import memory
from cxg.config import default
from cxg.errors import StorageUnavailable
from cxg.format import runs
from cxg.format.dataset import Dataset, open_dataset
from cxg.format.runs import RunStore, build, read_columns, sum_columns
from cxg.kept import Kept
from cxg.storage import Storage
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
    folder.mkdir()
    lengths = (dataset.n_obs, dataset.n_var) if axis == "obs" else (dataset.n_var, dataset.n_obs)
    return build(folder, partial(dataset.sparse_expression().read_range, axis), *lengths, most_bytes)


@pytest.mark.parametrize("piece_values", [7, 1 << 20])
def test_cells_equal_the_matrix(made, tmp_path: Path, monkeypatch, piece_values: int) -> None:
    truth, dataset = made
    monkeypatch.setattr(runs, "_PIECE_VALUES", piece_values)
    assert decode(dataset, "obs", tmp_path / "copy")
    store = RunStore(tmp_path / "copy")
    for cells in ([0], [59], [3, 4, 5, 20, 58], list(range(60))):
        total = np.zeros(17)
        for var, value in store.pieces(np.array(cells)):
            total += np.bincount(var, value, 17)
        np.testing.assert_allclose(total, truth.X[cells].sum(axis=0, dtype=np.float64), rtol=1e-12)


def test_genes_equal_the_matrix(made, tmp_path: Path) -> None:
    truth, dataset = made
    assert decode(dataset, "var", tmp_path / "copy")
    store = RunStore(tmp_path / "copy")
    for genes in ([0], [16], [3, 4, 9], list(range(17))):
        np.testing.assert_array_equal(read_columns(store, np.array(genes), 60), truth.X[:, genes])
        assert read_columns(store, np.array(genes), 60).tobytes() == dataset.read_X_columns(np.array(genes)).tobytes()
        total = sum_columns(store, np.array(genes), 60)
        np.testing.assert_allclose(total, dataset.sum_X_columns(np.array(genes)), rtol=1e-12)
    for gene in range(17):
        assert (np.diff(store.line(gene)[0].astype(np.int64)) > 0).all()


def test_more_than_65536_on_the_other_axis_take_wider_numbers(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    others = np.array([65_536, 70_000])

    def read_range(start: int, stop: int) -> Any:
        return np.array([2]), others, np.array([1, 2], np.float32)

    assert build(tmp_path / "copy", read_range, 1, 70_001, 1 << 20)
    assert RunStore(tmp_path / "copy").line(0)[0].tolist() == others.tolist()


def test_no_lines_give_no_pieces(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    nothing = np.zeros(3, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.float32)
    assert build(tmp_path / "copy", lambda start, stop: nothing, 3, 5, 1 << 20)
    store = RunStore(tmp_path / "copy")
    assert list(store.pieces(np.zeros(0, np.int64))) == []
    assert sum(len(value) for _, value in store.pieces(np.array([0, 2]))) == 0
    assert len(store.line(1)[1]) == 0


@pytest.mark.parametrize("first", [0, 40])
def test_what_is_read_at_a_time_is_bounded(tmp_path: Path, first: int) -> None:
    """However empty the first lines are, no piece could hold more values than are allowed."""
    (tmp_path / "copy").mkdir()
    n_lines, n_other, asked = 30_000, 100_000, []

    def read_range(start: int, stop: int) -> Any:
        asked.append(stop - start)
        k = first if start == 0 else 0
        counts = np.zeros(stop - start, np.int64)
        counts[0] = k
        return counts, np.arange(k, dtype=np.uint32), np.ones(k, np.float32)

    assert build(tmp_path / "copy", read_range, n_lines, n_other, 1 << 30)
    assert sum(asked) == n_lines
    assert max(asked) * n_other <= runs._MOST_BUILD_VALUES


def test_building_stops_at_the_budget(tmp_path: Path) -> None:
    cxgs.build(tmp_path / "a.cxg", "Xr/Xc", n_obs=60, n_var=17)
    dataset = open_dataset(Storage(default()), str(tmp_path / "a.cxg"), "a.cxg")
    assert not decode(dataset, "obs", tmp_path / "copy", 100)


@pytest.mark.parametrize("others", [2, 4])
def test_an_incomplete_folder_is_refused(tmp_path: Path, others: int) -> None:
    np.save(tmp_path / "indptr.npy", np.array([0, 3]))
    np.arange(others, dtype="<u2").tofile(tmp_path / "other.u2")
    np.arange(3, dtype="<f4").tofile(tmp_path / "value.f4")
    with pytest.raises(ValueError, match="incomplete"):
        RunStore(tmp_path)


def test_a_folder_without_its_files_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "indptr.npy", np.array([0, 3]))
    with pytest.raises(OSError, match="other"):
        RunStore(tmp_path)


def test_a_copy_that_is_cut_short_is_told(made, tmp_path: Path) -> None:
    _, dataset = made
    assert decode(dataset, "obs", tmp_path / "copy")
    store = RunStore(tmp_path / "copy")
    os.truncate(tmp_path / "copy" / "value.f4", 4)
    with pytest.raises(StorageUnavailable, match="damaged"):
        store.line(59)


def test_open_stores_are_bounded_by_number_however_small_they_are(tmp_path: Path) -> None:
    nothing = np.zeros(3, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    (tmp_path / "copy").mkdir()
    assert build(tmp_path / "copy", lambda start, stop: nothing, 3, 5, 1 << 20)
    kept = Kept(memory.OPEN_MB * memory.MB)
    before = len(list(Path("/dev/fd").iterdir()))
    for number in range(300):
        kept.find_or_make(kept, number, lambda: RunStore(tmp_path / "copy"), RunStore.held_bytes)
    assert 100 < len(list(Path("/dev/fd").iterdir())) - before < 400
