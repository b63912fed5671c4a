"""The cache of decoded rows: made once, found by every worker, bounded, private."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from cxg import rowcache
from cxg.catalog import Catalog
from cxg.config import default
from cxg.rowcache import RowCache, cache_folder
from cxg.storage import Dataroot, Storage
from tests import cxgs


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    monkeypatch.setattr(rowcache, "_DELAY_S", 0.0)
    root = tmp_path / "root"
    root.mkdir()
    for name in ("a.cxg", "b.cxg", "dense.cxg"):
        cxgs.build(root / name, "0.3.0-dense" if name == "dense.cxg" else "Xr/Xc", n_obs=50, n_var=20, seed=len(name))
    storage = Storage(default())
    return Catalog(storage, Dataroot(storage, str(root)), 8)


def make(cache: RowCache, name: str) -> None:
    """What the background thread does, now."""
    cache._make(name)


def folders(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir() if item.is_dir())


def test_made_once_and_found_by_others(catalog: Catalog, tmp_path: Path) -> None:
    cache = RowCache(catalog, tmp_path, 1 << 20)
    with catalog.lease("a.cxg") as dataset:
        assert cache.find(dataset) is None
        make(cache, "a.cxg")
        assert cache.find(dataset) is not None
        assert RowCache(catalog, tmp_path, 1 << 20).find(dataset) is not None
        before = (tmp_path / dataset.fingerprint).stat().st_ino
        make(cache, "a.cxg")
        assert (tmp_path / dataset.fingerprint).stat().st_ino == before


def test_asking_for_it_starts_the_work(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    cache = RowCache(catalog, tmp_path, 1 << 20)
    monkeypatch.setattr(cache, "_make", lambda name: done.set())
    with catalog.lease("a.cxg") as dataset:
        cache.want(dataset)
    assert done.wait(10)


def test_dense_data_are_not_copied(catalog: Catalog, tmp_path: Path) -> None:
    cache = RowCache(catalog, tmp_path / "cache", 1 << 20)
    (tmp_path / "cache").mkdir()
    make(cache, "dense.cxg")
    assert folders(tmp_path / "cache") == []


def test_the_least_recently_used_goes_first(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    cache = RowCache(catalog, folder, 1 << 20)
    make(cache, "a.cxg")
    make(cache, "b.cxg")
    with catalog.lease("a.cxg") as first, catalog.lease("b.cxg") as second:
        os.utime(folder / first.fingerprint, (2, 2))
        os.utime(folder / second.fingerprint, (1, 1))
        used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        RowCache(catalog, folder, used)._make_room(10)
        assert folders(folder) == [first.fingerprint]


def test_too_large_a_dataset_leaves_nothing(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    folder.mkdir()
    make(RowCache(catalog, folder, 200), "a.cxg")
    assert folders(folder) == []


def test_leftovers_of_a_killed_process_are_removed(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    (folder / "partial-dead").mkdir(parents=True)
    make(RowCache(catalog, folder, 1 << 20), "a.cxg")
    assert "partial-dead" not in folders(folder)


def test_one_process_at_a_time(catalog: Catalog, tmp_path: Path) -> None:
    cache = RowCache(catalog, tmp_path, 1 << 20)
    with rowcache._locked(tmp_path / "lock") as held:
        assert held
        make(cache, "a.cxg")
    with catalog.lease("a.cxg") as dataset:
        assert cache.find(dataset) is None


def test_switched_off(tmp_path: Path) -> None:
    assert cache_folder({"CXG_CACHE_DIR": str(tmp_path), "CXG_CACHE_MB": "0"}) == (None, 0)


def test_budget_in_megabytes(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert cache_folder({"CXG_CACHE_DIR": str(folder), "CXG_CACHE_MB": "7"}) == (folder, 7 << 20)


def test_a_folder_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert cache_folder({"CXG_CACHE_DIR": str(tmp_path)}) == (None, 0)


def test_a_link_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert cache_folder({"CXG_CACHE_DIR": str(tmp_path / "link")}) == (None, 0)
