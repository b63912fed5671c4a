"""Decoded rows hold exactly what the CXG holds, cell by cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxg.config import default
from cxg.format.dataset import open_dataset
from cxg.format.rowstore import RowStore, build
from cxg.storage import Storage
from tests import cxgs


@pytest.mark.parametrize(
    "traits",
    [{}, {"kind": "0.2.0-sparse"}, {"kind": "0.3.0-sparse"}, {"kind": "0.3.0-dense"}, {"generations": 2}],
    ids=str,
)
def test_rows_equal_the_matrix(tmp_path: Path, traits: dict[str, Any]) -> None:
    truth = cxgs.build(tmp_path / "a.cxg", n_obs=60, n_var=17, **traits)
    dataset = open_dataset(Storage(default()), str(tmp_path / "a.cxg"), "a.cxg")
    folder = tmp_path / "rows"
    folder.mkdir()
    assert build(folder, dataset.expression(), dataset.n_obs, dataset.n_var, 1 << 20)
    store = RowStore(folder)
    for cells in ([0], [59], [3, 4, 5, 20, 58], list(range(60))):
        total = np.zeros(17)
        for block in store.blocks(np.array(cells)):
            total += np.bincount(block.var, block.value, 17)
        np.testing.assert_allclose(total, truth.X[cells].sum(axis=0, dtype=np.float64), rtol=1e-12)
    store.forget()
    dataset.close()


def test_no_cells_give_no_blocks(tmp_path: Path) -> None:
    cxgs.build(tmp_path / "a.cxg", "Xr/Xc", n_obs=10, n_var=5)
    dataset = open_dataset(Storage(default()), str(tmp_path / "a.cxg"), "a.cxg")
    folder = tmp_path / "rows"
    folder.mkdir()
    build(folder, dataset.expression(), 10, 5, 1 << 20)
    assert list(RowStore(folder).blocks(np.zeros(0, np.int64))) == []


def test_building_stops_at_the_budget(tmp_path: Path) -> None:
    cxgs.build(tmp_path / "a.cxg", "Xr/Xc", n_obs=60, n_var=17)
    dataset = open_dataset(Storage(default()), str(tmp_path / "a.cxg"), "a.cxg")
    folder = tmp_path / "rows"
    folder.mkdir()
    assert not build(folder, dataset.expression(), 60, 17, 100)


def test_an_incomplete_folder_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "indptr.npy", np.array([0, 3]))
    np.save(tmp_path / "var.npy", np.array([0, 1], np.uint16))
    np.save(tmp_path / "value.npy", np.array([0, 1], np.float32))
    with pytest.raises(ValueError, match="incomplete"):
        RowStore(tmp_path)
