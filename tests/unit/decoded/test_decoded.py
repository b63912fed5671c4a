"""The cache of decoded copies: made once, found by every worker, bounded, private."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from cxg.config import default
from cxg.datasets.catalog import Catalog
from cxg.datasets.dataroot import Dataroot
from cxg.decoded import cache as decoded
from cxg.decoded.cache import DecodedCache
from cxg.errors import UnknownColumn
from cxg.storage.cache_folder import CacheFolder
from cxg.storage.storage import Storage
from tests import cxgs

COPIES = ("columns", "obs", "var")


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    monkeypatch.setattr(decoded, "_DELAY_S", 0.0)
    root = tmp_path / "root"
    root.mkdir()
    for name in ("a.cxg", "b.cxg", "dense.cxg"):
        cxgs.build(root / name, "0.3.0-dense" if name == "dense.cxg" else "Xr/Xc", n_obs=50, n_var=20, seed=len(name))
    storage = Storage(default())
    return Catalog(storage, Dataroot(storage, str(root)), 8)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The folder of this program, with its marker."""
    assert CacheFolder(tmp_path / "own", 1 << 20).is_ready()
    return tmp_path / "own"


def make(cache: DecodedCache, name: str) -> None:
    """What the background thread does, now."""
    cache._make(name)


def folders(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir() if item.is_dir())


def test_made_once_and_found_by_others(catalog: Catalog, own: Path) -> None:
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    with catalog.lease("a.cxg") as dataset:
        assert cache.find(dataset, "obs") is None
        make(cache, "a.cxg")
        assert cache.find(dataset, "obs") is not None
        assert DecodedCache(catalog, CacheFolder(own, 1 << 20)).find(dataset, "obs") is not None
        copies = [own / f"{dataset.identity}-{axis}" for axis in ("obs", "var")]
        before = [copy.stat().st_ino for copy in copies]
        make(cache, "a.cxg")
        assert [copy.stat().st_ino for copy in copies] == before
        genes = cache.find(dataset, "var")
        assert genes is not None
        column = dataset.read_X_columns(np.array([3]))[:, 0]
        cells, values = genes.line(3)
        assert values.tolist() == column[cells].tolist()
        assert np.count_nonzero(column) == len(cells)


def test_asking_for_it_starts_the_work(catalog: Catalog, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    monkeypatch.setattr(cache, "_make", lambda name: done.set())
    with catalog.lease("a.cxg") as dataset:
        cache.want(dataset)
    assert done.wait(10)


def test_a_copy_that_is_gone_is_wanted_again_later(catalog: Catalog, own: Path, monkeypatch) -> None:
    monkeypatch.setattr(decoded, "_DELAY_S", 0.0)
    monkeypatch.setattr(decoded, "_AGAIN_AFTER_S", 1.0)
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    asked = threading.Semaphore(0)
    monkeypatch.setattr(cache, "_make", lambda name: asked.release())
    with catalog.lease("a.cxg") as dataset:
        cache.want(dataset)
        assert asked.acquire(timeout=10)
        cache.want(dataset)
        assert not asked.acquire(timeout=0.2)
        time.sleep(1.0)
        cache.want(dataset)
        assert asked.acquire(timeout=10)


def test_an_unforeseen_fault_does_not_end_decoding(catalog: Catalog, own: Path, monkeypatch) -> None:
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    monkeypatch.setattr(decoded.os, "setpriority", lambda *_: None)
    monkeypatch.setattr(cache, "_make", lambda name: 1 // 0)
    cache._wanted.append("a.cxg")
    cache._thread = threading.current_thread()
    with pytest.raises(ZeroDivisionError):
        cache._work()
    done = threading.Event()
    monkeypatch.setattr(cache, "_make", lambda name: done.set())
    with catalog.lease("b.cxg") as dataset:
        cache.want(dataset)
    assert done.wait(10)


def test_why_a_dataset_is_not_decoded_is_logged(catalog: Catalog, own: Path, monkeypatch, caplog) -> None:
    (own / "lock").touch()
    cache = DecodedCache(catalog, CacheFolder(own / "lock" / "missing", 1 << 20))
    monkeypatch.setattr(decoded.os, "setpriority", lambda *_: None)
    for _ in range(3):
        cache._wanted.append("a.cxg")
        cache._work()
    # It is tried again, but told once.
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "a.cxg" in caplog.text


def test_dense_data_are_not_copied(catalog: Catalog, own: Path) -> None:
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    make(cache, "dense.cxg")
    # Their columns are.
    assert [name.rpartition("-")[2] for name in folders(own)] == ["columns"]


def test_columns_and_embeddings_are_read_from_the_copy(catalog: Catalog, own: Path, monkeypatch) -> None:
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    with catalog.lease("a.cxg") as dataset:
        before = [cache.obs_column(dataset, column.name) for column in dataset.obs.columns]
        places = [cache.embedding(dataset, name) for name in dataset.embeddings]
        make(cache, "a.cxg")
        numeric = [column.name for column in dataset.obs.columns if dataset.obs.is_numeric(column.name)]
        assert numeric
        with monkeypatch.context() as patch:
            patch.setattr(dataset.obs, "read_stored", lambda name: pytest.fail(f"{name} was read again"))
            patch.setattr(dataset, "read_embedding", lambda name: pytest.fail(f"{name} was read again"))
            for name, old in zip(dataset.embeddings, places, strict=True):
                assert cache.embedding(dataset, name).tobytes() == old.tobytes()
            for column, old in zip(dataset.obs.columns, before, strict=True):
                if column.name in numeric:
                    assert repr(cache.obs_column(dataset, column.name)) == repr(old)
        text = next(column.name for column in dataset.obs.columns if column.name not in numeric)
        assert repr(cache.obs_column(dataset, text)) == repr(dataset.obs.read(text))
        with pytest.raises(UnknownColumn):
            cache.obs_column(dataset, "no such")
        with pytest.raises(UnknownColumn):
            cache.embedding(dataset, "no such")


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(file.read_bytes()[:90])])
def test_a_damaged_copy_of_a_column_is_not_used(catalog: Catalog, own: Path, damage) -> None:
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    with catalog.lease("a.cxg") as dataset:
        make(cache, "a.cxg")
        for file in (own / f"{dataset.identity}-columns").iterdir():
            damage(file)
        for name in dataset.embeddings:
            assert cache.embedding(dataset, name).tobytes() == dataset.read_embedding(name).tobytes()
        for column in dataset.obs.columns:
            assert repr(cache.obs_column(dataset, column.name)) == repr(dataset.obs.read(column.name))


def test_the_least_recently_used_goes_first(catalog: Catalog, own: Path) -> None:
    folder = own
    cache = DecodedCache(catalog, CacheFolder(folder, 1 << 20))
    make(cache, "a.cxg")
    make(cache, "b.cxg")
    with catalog.lease("a.cxg") as first, catalog.lease("b.cxg") as second:
        kept = [f"{one.identity}-columns" for one in (first, second)]
        kept += [f"{first.identity}-obs", f"{first.identity}-var", f"{second.identity}-var"]
        for name in kept:
            os.utime(folder / name, (2, 2))
        os.utime(folder / f"{second.identity}-obs", (1, 1))
        used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        CacheFolder(folder, used).make_room(10)
        assert folders(folder) == sorted(kept)


@pytest.mark.parametrize("what", COPIES)
def test_what_is_used_stays_young(catalog: Catalog, own: Path, monkeypatch, what: str) -> None:
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    make(cache, "a.cxg")
    with catalog.lease("a.cxg") as dataset:
        folder = own / f"{dataset.identity}-{what}"

        def use() -> bool:
            """Whether one use of the copy is noted."""
            os.utime(folder, (1, 1))
            if what == "columns":
                cache.embedding(dataset, dataset.embeddings[0])
                cache.obs_column(dataset, dataset.obs.columns[0].name)
            else:
                assert cache.find(dataset, what) is not None
            return folder.stat().st_mtime > 1

        assert use()
        assert not use()
        monkeypatch.setattr(decoded, "_TOUCH_S", 0.0)
        assert use()


def test_what_another_process_removed_is_let_go(catalog: Catalog, own: Path, monkeypatch) -> None:
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    make(cache, "a.cxg")
    make(cache, "b.cxg")
    with catalog.lease("a.cxg") as first, catalog.lease("b.cxg") as second:
        assert cache.find(first, "obs") is not None
        assert cache.find(second, "obs") is not None
        shutil.rmtree(own / f"{first.identity}-obs")
        monkeypatch.setattr(decoded, "_TOUCH_S", 0.0)
        # Whoever uses any copy sees to all of them: a file that is open keeps its place on disk.
        assert cache.find(second, "obs") is not None
        assert catalog.storage.open_objects.owned(cache) == [f"{second.identity}-obs"]
        assert cache.find(first, "obs") is None


def test_the_copies_of_one_dataset_fit_beside_each_other(catalog: Catalog, own: Path, monkeypatch) -> None:
    shares = []
    cache = DecodedCache(catalog, CacheFolder(own, 800))
    monkeypatch.setattr(decoded, "build", lambda *given: shares.append(given[-1]))
    monkeypatch.setattr(decoded, "write_columns", lambda *given: shares.append(given[-1]))
    make(cache, "a.cxg")
    assert (len(shares), sum(shares)) == (3, 800)


def test_files_copied_from_s3_count_and_stay(catalog: Catalog, own: Path) -> None:
    folder = own
    cache = DecodedCache(catalog, CacheFolder(folder, 1 << 20))
    (folder / "s3-abc").mkdir(parents=True)
    make(cache, "a.cxg")
    (folder / "s3-abc" / "file").write_bytes(bytes(1 << 20))
    CacheFolder(folder, 1 << 20).make_room(10)
    assert folders(folder) == ["s3-abc"]


def test_too_large_a_dataset_leaves_nothing(catalog: Catalog, own: Path) -> None:
    folder = own
    make(DecodedCache(catalog, CacheFolder(folder, 200)), "a.cxg")
    assert folders(folder) == []


def test_leftovers_of_a_killed_process_are_removed(catalog: Catalog, own: Path) -> None:
    folder = own
    (folder / "partial-dead").mkdir(parents=True)
    make(DecodedCache(catalog, CacheFolder(folder, 1 << 20)), "a.cxg")
    assert "partial-dead" not in folders(folder)


@pytest.mark.parametrize("call", [1, 2, 5, 30])
def test_a_full_disk_leaves_nothing(catalog: Catalog, own: Path, monkeypatch, call: int) -> None:
    """Wherever it fills up: in a file, in the manifest, when what was written is synced."""
    cache, calls, real = DecodedCache(catalog, CacheFolder(own, 1 << 20)), 0, os.fsync

    def fsync(number: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        make(cache, "a.cxg")
    assert not [name for name in folders(own) if name.startswith("partial-")]
    make(cache, "a.cxg")
    assert sorted(name.rpartition("-")[2] for name in folders(own)) == list(COPIES)
    with catalog.lease("a.cxg") as dataset:
        assert cache.find(dataset, "obs") is not None


def test_a_copy_is_on_the_disk_before_it_has_its_name(catalog: Catalog, own: Path, monkeypatch) -> None:
    synced, named = set[str](), list[Path]()
    real_fsync, real_rename = os.fsync, Path.rename

    def fsync(number: int) -> None:
        synced.add(str(Path(f"/proc/self/fd/{number}").readlink()))
        real_fsync(number)

    def rename(path: Path, target: Path) -> Path:
        wanted = {str(path), *map(str, path.iterdir())}
        assert wanted <= synced, wanted - synced
        named.append(target)
        synced.clear()
        return real_rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    make(DecodedCache(catalog, CacheFolder(own, 1 << 20)), "a.cxg")
    assert len(named) == len(COPIES)
    assert synced == {str(own)}


def test_one_process_at_a_time(catalog: Catalog, own: Path, monkeypatch) -> None:
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    asked = threading.Event()
    with CacheFolder(own, 1).locked() as held, catalog.lease("a.cxg") as dataset:
        assert held
        cache._asked[dataset.identity] = True
        make(cache, "a.cxg")
        assert cache.find(dataset, "obs") is None
        # That one may be busy with another dataset, so the wish stays.
        monkeypatch.setattr(cache, "_make", lambda name: asked.set())
        cache.want(dataset)
    assert asked.wait(10)
    with CacheFolder(own, 1).locked(), catalog.lease("b.cxg") as dataset:
        for what in COPIES:
            (own / f"{dataset.identity}-{what}").mkdir()
        other = DecodedCache(catalog, CacheFolder(own, 1 << 20))
        other._asked[dataset.identity] = True
        make(other, "b.cxg")
        assert dataset.identity in other._asked


def test_decoding_lets_visitors_go_first(catalog: Catalog, own: Path, monkeypatch) -> None:
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    waited: list[float] = []
    monkeypatch.setattr(decoded.time, "sleep", waited.append)
    monkeypatch.setattr(decoded, "_PATIENCE_S", 0.02)
    monkeypatch.setattr(decoded, "_TICK_S", 0.005)
    ranges: list[tuple[int, int]] = []
    read = cache._politely(lambda start, stop: ranges.append((start, stop)))
    read(0, 5)
    assert not waited
    cache.visited()
    read(5, 9)
    assert waited
    assert ranges == [(0, 5), (5, 9)]


def test_a_process_ends_although_it_decodes(tmp_path: Path) -> None:
    cxgs.build(tmp_path / "root" / "a.cxg", "Xr/Xc", n_obs=50, n_var=20)
    program = f"""
import pathlib, time
from cxg.decoded import cache as decoded
from cxg.storage.cache_folder import CacheFolder
from cxg.datasets.catalog import Catalog
from cxg.config import default
from cxg.datasets.dataroot import Dataroot
from cxg.storage.storage import Storage
decoded._DELAY_S = 0.0
storage = Storage(default())
catalog = Catalog(storage, Dataroot(storage, {str(tmp_path / "root")!r}), 8)
cache = decoded.DecodedCache(catalog, CacheFolder(pathlib.Path({str(tmp_path / "own")!r}), 1 << 20))
politely, began = cache._politely, []
def endless(read):
    def read_range(start, stop):
        began.append(start)
        while True:
            politely(read)(start, stop)
    return read_range
cache._politely = endless
with catalog.lease("a.cxg") as dataset:
    cache.want(dataset)
while not began:
    time.sleep(0.01)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    # What was half done is gone.
    assert [name.rpartition("-")[2] for name in folders(tmp_path / "own")] == ["columns"]
