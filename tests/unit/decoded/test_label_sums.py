"""Sums over the cells of each label, made beside the decoded copies where a CXG stores none."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tiledb
from numpy.typing import NDArray

from cxg.config import default
from cxg.config.runtime import Runtime
from cxg.datasets.catalog import Catalog
from cxg.datasets.dataroot import Dataroot
from cxg.decoded.cache import DecodedCache
from cxg.decoded.labels import CheckedLabels
from cxg.errors import DatasetInvalid
from cxg.storage.cache_folder import OWN_NAME, cache_folder
from cxg.storage.storage import Storage
from tests import cxgs

KINDS = ["Xr/Xc", "0.1-codes", "0.2.0-dense", "0.2.0-sparse", "0.2.0-shift", "0.3.0-dense", "0.3.0-sparse"]


class Site:
    """A dataroot with one dataset, and a cache folder; copies are made when a test says so."""

    def __init__(self, folder: Path, kind: str = "Xr/Xc", **options: object) -> None:
        self.truth = cxgs.build(folder / "root" / "a.cxg", kind, n_obs=200, n_var=30, **options)  # type: ignore[arg-type]
        self.cache = folder / "cache"
        runtime = Runtime.of({"CXG_CACHE_DIR": str(self.cache), "CXG_CACHE_MB": "64"})
        storage = Storage(default())
        self.catalog = Catalog(storage, Dataroot(storage, str(folder / "root")), 2)
        self.decoded = DecodedCache(self.catalog, cache_folder(runtime))

    def labels(self) -> CheckedLabels | None:
        with self.catalog.lease("a.cxg") as dataset:
            return self.decoded.labels(dataset)

    def log1p(self) -> bool:
        with self.catalog.lease("a.cxg") as dataset:
            return dataset.looks_like_counts

    def files(self) -> Path:
        return next((self.cache / OWN_NAME).glob("*-labels"))


def check(site: Site, labels: CheckedLabels) -> None:
    """Compare the sums of every label with X added up directly."""
    x = site.truth.X.astype(np.float64)
    x = np.log1p(x) if site.log1p() else x
    for position, (_, names, _, counts, codes) in enumerate(labels.columns):
        assert len(names) == len(counts)
        assert np.array_equal(np.bincount(codes, minlength=len(counts)), counts)
        for label in range(len(counts)):
            total, squares = labels.add_up(position, np.array([label]))
            np.testing.assert_allclose(total, x[codes == label].sum(axis=0), rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(squares, (x[codes == label] ** 2).sum(axis=0), rtol=1e-12, atol=1e-12)
        whole, _ = labels.add_up(position, np.arange(len(counts)))
        np.testing.assert_allclose(whole, x.sum(axis=0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("counts", [False, True])
def test_sums_are_those_of_x(tmp_path: Path, kind: str, counts: bool) -> None:
    site = Site(tmp_path, kind, counts=counts)
    assert site.labels() is None
    site.decoded.make("a.cxg")
    labels = site.labels()
    assert labels is not None
    assert labels.log1p == site.log1p()
    check(site, labels)


def text_codes(values: NDArray[np.object_]) -> NDArray[np.int64]:
    return np.unique(values, return_inverse=True)[1]


@pytest.mark.parametrize("kind", ["Xr/Xc", "0.2.0-sparse"])
def test_columns_of_codes_and_of_text_have_sums(tmp_path: Path, kind: str) -> None:
    site = Site(tmp_path, kind)
    site.decoded.make("a.cxg")
    labels = site.labels()
    assert labels is not None
    expected = text_codes(np.array(site.truth.obs["label"].values, object))
    partitions = [np.unique(codes, return_inverse=True)[1] for *_, codes in labels.columns]
    assert any(
        len(set(zip(expected.tolist(), found.tolist(), strict=True))) == expected.max() + 1 for found in partitions
    )


class Nothing:
    """Sums of no columns."""

    log1p = False
    nbytes = 0

    def add_up(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        raise NotImplementedError


def test_sums_that_the_cxg_stores_are_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = CheckedLabels(Nothing(), [])
    monkeypatch.setattr("cxg.decoded.cache.find_stored_labels", lambda *_: stored)
    site = Site(tmp_path)
    site.decoded.make("a.cxg")
    assert site.labels() is stored
    assert list(site.cache.rglob("*-labels")) == []


def add_up_all(labels: CheckedLabels) -> None:
    for position, column in enumerate(labels.columns):
        labels.add_up(position, np.arange(len(column.counts)))


@pytest.mark.parametrize("name", ["sums.f8", "codes-0.npy", "columns.json", "manifest"])
@pytest.mark.parametrize("how", ["flip", "cut", "remove"])
def test_a_damaged_copy_is_not_used_and_made_again(tmp_path: Path, name: str, how: str) -> None:
    site = Site(tmp_path)
    site.decoded.make("a.cxg")
    file = site.files() / name
    data = bytearray(file.read_bytes())
    if how == "flip":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif how == "cut":
        file.write_bytes(data[: len(data) // 2])
    else:
        file.unlink()
    labels = site.labels()
    if labels is not None:  # the sums are compared with their checksums when they are read
        with pytest.raises(DatasetInvalid, match="The copy of the sums of labels is damaged"):
            add_up_all(labels)
    assert site.labels() is None
    site.decoded.make("a.cxg")
    labels = site.labels()
    assert labels is not None
    check(site, labels)


def test_another_process_finds_the_copy(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.decoded.make("a.cxg")
    runtime = Runtime.of({"CXG_CACHE_DIR": str(site.cache), "CXG_CACHE_MB": "64"})
    other = DecodedCache(site.catalog, cache_folder(runtime))
    with site.catalog.lease("a.cxg") as dataset:
        assert other.labels(dataset) is not None


def test_a_replaced_dataset_has_sums_of_its_own(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.decoded.make("a.cxg")
    shutil.rmtree(site.truth.path)
    site.truth = cxgs.build(site.truth.path, n_obs=200, n_var=30, seed=5)
    site.catalog.recheck("a.cxg")
    assert site.labels() is None
    site.decoded.make("a.cxg")
    labels = site.labels()
    assert labels is not None
    check(site, labels)


def test_codes_without_a_label_have_no_sums(tmp_path: Path) -> None:
    """A missing value has a negative code, and would have to be a label of its own."""
    site = Site(tmp_path)
    with tiledb.open(str(site.truth.path / "obs")) as array:
        obs = array[:]
    names = [name for name, values in obs.items() if values.dtype.kind == "i"]
    for name in names:
        obs[name] = obs[name].copy()
        obs[name][3] = -1
    with tiledb.open(str(site.truth.path / "obs"), "w") as array:
        array[:] = obs
    site.decoded.make("a.cxg")
    labels = site.labels()
    if labels is not None:
        check(site, labels)


def test_few_sums_are_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = Site(tmp_path)
    site.decoded.make("a.cxg")
    monkeypatch.setattr("cxg.decoded.labels.KEPT_CODES_BYTES", 400)
    labels = site.labels()
    assert labels is not None
    assert sum(codes.nbytes for *_, codes in labels.columns) <= 400
    check(site, labels)
