"""Reading without TileDB-Py's indexing gives what that indexing gives."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiledb

from cxg.format.matrix import query as reading
from tests import cxgs


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cxgs.build(tmp_path_factory.mktemp("reading") / "a.cxg", n_obs=50, n_var=20).path


@pytest.mark.parametrize("order", [reading.ROW_MAJOR, reading.COLUMN_MAJOR])
def test_dense(root: Path, order: int) -> None:
    with tiledb.open(str(root / "emb" / "umap")) as array:
        found = reading.read(array, [""], [[(3, 9), (20, 20)], [(0, 1)]], order)[""]
        expected = np.concatenate([array[3:10], array[20:21]])
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected.ravel(order="CF"[order]))


def test_sparse(root: Path) -> None:
    with tiledb.open(str(root / "Xc")) as array:
        found = reading.read(array, ["", "obs"], [[(2, 4), (11, 11)]], reading.UNORDERED, ["var"])
        expected = array.query(order="U").multi_index[[slice(2, 4), 11]]
        everything = reading.read(array, [""], [[]], reading.UNORDERED)[""]
        assert len(everything) == len(array[:][""])
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


def test_no_result_is_empty(root: Path, tmp_path: Path) -> None:
    truth = cxgs.build(tmp_path / "empty.cxg", n_obs=30, n_var=10)
    empty = np.flatnonzero(~truth.X.any(axis=0)).tolist()
    with tiledb.open(str(truth.path / "Xc")) as array:
        for gene in empty:
            assert not len(reading.read(array, ["", "obs"], [[(gene, gene)]], reading.UNORDERED)["obs"])


def test_blocks_are_bounded_and_complete(root: Path) -> None:
    ctx = tiledb.Ctx({"py.init_buffer_bytes": "400"})
    with tiledb.open(str(root / "Xr"), ctx=ctx) as array:
        blocks = list(reading.read_blocks(array, ["", "var"], [[(0, 49)]]))
        expected = array.query(order="U").multi_index[:]
    assert len(blocks) > 2
    assert max(block[""].nbytes for block in blocks) <= 400
    for name in ("", "var"):
        np.testing.assert_array_equal(np.concatenate([block[name] for block in blocks]), expected[name])


def test_text(tmp_path: Path) -> None:
    rows = ["a", "", "é" * 3, "last"]
    cxgs.write_dense(tmp_path / "obs", {"name": np.array(rows)})
    with tiledb.open(str(tmp_path / "obs")) as array:
        data, offsets = reading.read_text(array, "name", 0, 3)
        part, ends = reading.read_text(array, "name", 1, 2)
    assert [data[a:b].tobytes().decode() for a, b in pairwise(offsets)] == rows
    assert (part.tobytes().decode(), ends.tolist()) == ("ééé", [0, 0, 6])


@pytest.mark.parametrize("name, names, ranges", [("obs", ["nope"], [[(0, 1)]]), ("obs", ["number"], [[(0, 99)]])])
def test_what_cannot_be_read(root: Path, name: str, names: list[str], ranges: Any) -> None:
    with tiledb.open(str(root / name)) as array, pytest.raises(tiledb.TileDBError):
        reading.read(array, names, ranges, reading.ROW_MAJOR)
