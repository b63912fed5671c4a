"""Sums over the cells of each label, as a conversion stores them, against sums of the matrix that went in."""

import json
import zlib
from functools import partial

import numpy as np
import pytest
from scipy import sparse

from cxg.cli.main import main
from cxg.compute import label_sums
from cxg.convert.read import matrix
from tests.unit.convert.h5ads import make_h5ad, read_array, write_categorical, write_nullable
from tests.unit.convert.test_roundtrip import SHAPE, SOURCES, expected, random_matrix

N = SHAPE[0]
RNG = np.random.default_rng(7)
CODES = {
    "cluster": RNG.integers(0, 5, N),
    "donor": np.arange(N) % 3,
    "with a gap": np.where(np.arange(N) % 4 == 0, -1, np.arange(N) % 2),
    "one label": np.zeros(N, int),
    "cluster by number": None,
    "label without cells": np.where(np.arange(N) < 20, 0, 2),
}
CODES["cluster by number"] = (CODES["cluster"] + 2) % 5


def obs():
    columns = {
        name: partial(write_categorical, codes=codes, labels=[f"{name} {i}" for i in range(max(codes) + 1)])
        for name, codes in CODES.items()
    }
    columns["number"] = np.arange(float(N))
    columns["flag with a gap"] = partial(
        write_nullable, kind="boolean", values=np.arange(N) % 5 == 0, mask=np.arange(N) % 7 == 0
    )
    columns["text"] = np.array(["a", "b", "c"], object)[np.arange(N) % 3 // 2 + np.arange(N) % 2]
    return columns


def stored(root):
    values, meta = read_array(root, "X_label_sums")
    return values, json.loads(meta["columns"]), meta["transform"]


def check(root, truth):
    """Each row is the sum over the cells that obs gives that label."""
    values, columns, transform = stored(root)
    obs_codes, _ = read_array(root, "obs")
    assert transform == read_array(root, "X_totals")[1]["transform"]
    f = truth.astype(np.float64)
    row = 0
    with np.errstate(invalid="ignore", divide="ignore"):
        f = np.log1p(f) if transform == "log1p" else f
        for column in columns:
            codes = obs_codes[column["name"]]
            assert column["codes_crc32"] == zlib.crc32(codes.astype("<i4").tobytes())
            assert column["counts"] == np.bincount(codes, minlength=len(column["counts"])).tolist()
            for label in range(len(column["counts"])):
                part = f[codes == label]
                np.testing.assert_allclose(values["sum"][row], part.sum(axis=0), rtol=1e-12, atol=1e-12)
                np.testing.assert_allclose(values["sum_squares"][row], (part**2).sum(axis=0), rtol=1e-12, atol=1e-12)
                row += 1
    assert values["sum"].shape == (row, truth.shape[1])
    return [column["name"] for column in columns]


def small_blocks(monkeypatch):
    monkeypatch.setattr(matrix, "BLOCK_ENTRIES", 7)
    monkeypatch.setattr("cxg.convert.write.transpose.BLOCK_ENTRIES", 7)
    monkeypatch.setattr(label_sums, "SLICE_VALUES", 5)


@pytest.mark.parametrize("blocks", ["small blocks", "one block"])
@pytest.mark.parametrize("source", SOURCES)
def test_of_every_kind_of_matrix(tmp_path, converted, monkeypatch, source, blocks):
    if blocks == "small blocks":
        small_blocks(monkeypatch)
    given = SOURCES[source]()
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", given, obs=obs()))
    # Of columns with the same parts one is enough, and one label is all cells. "label without cells" uses two of three.
    names = ["donor", "flag with a gap", "label without cells", "text", "with a gap"]
    found = check(root, expected(given))
    assert sorted(set(found) - {"cluster", "cluster by number"}) == names
    assert len(found) == len(names) + 1


@pytest.mark.parametrize("cls", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
@pytest.mark.parametrize("options", [(), ("--sparse-threshold", 0)])
def test_counts_are_added_up_as_logarithms(tmp_path, converted, cls, options):
    counts = np.floor(random_matrix() * 20)
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", cls(counts), obs=obs()), *options)
    check(root, counts)
    assert stored(root)[2] == "log1p"


def test_combinations_beyond_the_limit(tmp_path, converted, monkeypatch):
    monkeypatch.setattr(label_sums, "MOST_COMBINATIONS", 4)
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", random_matrix(), obs=obs()))
    assert len(check(root, random_matrix())) == 6


def test_no_categorical_column(tmp_path, converted):
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", random_matrix()))
    assert not (root / "X_label_sums").exists()


@pytest.mark.parametrize("labels, names", [(1, []), (5, ["two"]), (9, ["two", "seven"])])
def test_columns_beyond_the_bound_are_left_out(tmp_path, converted, monkeypatch, labels, names):
    monkeypatch.setattr(label_sums, "LEAST_BYTES", 16 * SHAPE[1] * labels)
    monkeypatch.setattr(label_sums, "BYTES_PER_VALUE", 0)
    columns = {
        word: partial(write_categorical, codes=np.arange(N) % n, labels=[str(i) for i in range(n)])
        for word, n in (("seven", 7), ("two", 2))
    }
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", random_matrix(), obs=columns))
    if names:
        assert check(root, random_matrix()) == names
    else:
        assert not (root / "X_label_sums").exists()


def test_a_dense_file_of_few_values_gets_no_more_than_they_deserve(tmp_path, converted, monkeypatch):
    """How many values are not zero is known only after it was read."""
    monkeypatch.setattr(label_sums, "LEAST_BYTES", 0)
    monkeypatch.setattr(label_sums, "BYTES_PER_VALUE", 16 * SHAPE[1] * 9 / (SHAPE[0] * SHAPE[1]))
    columns = {
        word: partial(write_categorical, codes=np.arange(N) % n, labels=[str(i) for i in range(n)])
        for word, n in (("seven", 7), ("two", 2))
    }
    x = random_matrix()
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", x, obs=columns))
    assert np.count_nonzero(x) < 0.5 * x.size
    assert check(root, x) == ["two"]


def test_inspect_finds_no_fault_and_lists_the_columns(tmp_path, converted, capsys):
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", random_matrix(), obs=obs()))
    capsys.readouterr()
    assert main(["inspect", str(root), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["findings"] == []
    assert report["label_sums"] == check(root, random_matrix())
    assert report["other"] == []
