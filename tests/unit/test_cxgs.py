"""The builders themselves: what they write is what their truth says, read back with TileDB alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiledb

from tests import cxgs


def read_x(truth: cxgs.Truth) -> np.ndarray:
    """X read plainly, first generation only."""
    root, out = truth.path, np.zeros((truth.n_obs, truth.n_var), np.float32)
    if truth.x_kind == "dense":
        with tiledb.open(str(root / "X")) as array:
            return array[:]
    with tiledb.open(str(root / ("Xr" if truth.x_kind == "Xr/Xc" else "X"))) as array:
        found = array[:]
        out[found["obs"], found["var"]] = found[""]
    if (root / "X_col_shift").exists():
        with tiledb.open(str(root / "X_col_shift")) as array:
            out += array[:].astype(np.float32)
    return out


@pytest.mark.parametrize("kind", cxgs.ALL_KINDS)
@pytest.mark.parametrize("nan", [False, True])
def test_what_is_written_is_the_truth(tmp_path: Path, kind: str, nan: bool) -> None:
    truth = cxgs.build(tmp_path / "x.cxg", kind, n_obs=12, n_var=25, nan=nan)
    np.testing.assert_array_equal(read_x(truth), truth.X)
    assert np.isnan(truth.X).any() == nan
    with tiledb.open(str(truth.path / "obs")) as obs:
        assert set(truth.obs) == {obs.schema.attr(i).name for i in range(obs.schema.nattr)}
        labels = truth.obs["label"]
        stored = obs[:]["label"]
        assert labels.values == [labels.categories[v] if stored.dtype.kind == "i" else v for v in stored.tolist()]
        assert obs[:]["name_0"].tolist() == truth.obs["name_0"].values
    assert truth.genes[0] == "gene0"
    assert truth.genes[-9:] == list(cxgs.ODD_GENES)
    assert (truth.path / "cxg_group_metadata").exists() == (truth.version != "0.0")


def test_rows_and_columns_hold_the_same(tmp_path: Path) -> None:
    truth = cxgs.build(tmp_path / "x.cxg")
    out = np.zeros_like(truth.X)
    with tiledb.open(str(truth.path / "Xc")) as array:
        found = array[:]
        out[found["obs"], found["var"]] = found[""]
    np.testing.assert_array_equal(out, truth.X)


@pytest.mark.parametrize("name", cxgs.KINDS)
def test_every_named_case_can_be_built(tmp_path: Path, name: str) -> None:
    truth = cxgs.KINDS[name](tmp_path / "x.cxg")
    assert tiledb.object_type(str(truth.path)) == "group"
    assert len(truth.genes) == truth.n_var == truth.X.shape[1]
    for column in truth.obs.values():
        assert len(column.values) == truth.n_obs


def test_damage_is_real(tmp_path: Path) -> None:
    twice = cxgs.KINDS["two-generations"](tmp_path / "a.cxg")
    with tiledb.open(str(twice.path / "Xr")) as array:
        assert len(array[:][""]) == 2 * np.count_nonzero(twice.X)
    gone = cxgs.KINDS["obs-without-commit"](tmp_path / "b.cxg")
    with tiledb.open(str(gone.path / "obs")) as array:
        assert array.nonempty_domain() is None
    never = cxgs.KINDS["never-written"](tmp_path / "c.cxg")
    with tiledb.open(str(never.path / "Xc")) as array:
        assert array.nonempty_domain() is None
    assert not never.X.any()
    pickled = cxgs.KINDS["pickled-uns"](tmp_path / "d.cxg")
    with tiledb.open(str(pickled.path / "uns")) as array:
        assert array.meta["spatial"] == cxgs.PICKLE


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    one, same, other = (cxgs.build(tmp_path / f"{i}.cxg", seed=seed) for i, seed in enumerate((1, 1, 2)))
    np.testing.assert_array_equal(one.X, same.X)
    assert one.obs["label"].values == same.obs["label"].values
    assert not np.array_equal(one.X, other.X)
    rebuilt = cxgs.build(one.path, seed=2)
    np.testing.assert_array_equal(read_x(rebuilt), other.X)
