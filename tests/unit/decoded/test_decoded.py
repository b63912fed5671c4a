"""The cache of decoded copies: made once, found by every worker, bounded, private."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from cxg.config import default
from cxg.datasets.catalog import Catalog
from cxg.datasets.dataroot import Dataroot
from cxg.decoded import writing
from cxg.decoded.cache import DecodedCache
from cxg.decoded.pace import Pace, Visits, start_thread
from cxg.errors import UnknownColumn
from cxg.format.dataset import Dataset
from cxg.storage.cache_folder import CacheFolder
from cxg.storage.storage import Storage
from tests import cxgs
from tests.background import Background, Clock

COPIES = ("columns", "labels", "obs", "var")


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
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


def folders(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir() if item.is_dir())


def test_made_once_and_found_by_others(catalog: Catalog, own: Path) -> None:
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    with catalog.lease("a.cxg") as dataset:
        assert cache.find(dataset, "obs") is None
        cache.make("a.cxg")
        assert cache.find(dataset, "obs") is not None
        assert DecodedCache(catalog, CacheFolder(own, 1 << 20)).find(dataset, "obs") is not None
        copies = [own / f"{dataset.identity}-{axis}" for axis in ("obs", "var")]
        before = [copy.stat().st_ino for copy in copies]
        cache.make("a.cxg")
        assert [copy.stat().st_ino for copy in copies] == before
        genes = cache.find(dataset, "var")
        assert genes is not None
        column = dataset.read_X_columns(np.array([3]))[:, 0]
        cells, values = genes.line(3)
        assert values.tolist() == column[cells].tolist()
        assert np.count_nonzero(column) == len(cells)


def decodes(own: Path, dataset: Dataset) -> bool:
    """Whether there is a copy of a dataset."""
    return (own / f"{dataset.identity}-columns").is_dir()


def test_asking_for_it_starts_the_work(catalog: Catalog, own: Path) -> None:
    ended = threading.Event()

    def start(work: Callable[[], None]) -> None:
        start_thread(lambda: (work(), ended.set()))

    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20), pace=Pace(delay_s=0.0, start=start))
    with catalog.lease("a.cxg") as dataset:
        cache.request(dataset)
        assert ended.wait(30)
        assert decodes(own, dataset)


def test_it_begins_a_while_after_the_visit(catalog: Catalog, own: Path) -> None:
    clock, background, waited = Clock(), Background(), list[float]()

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        clock.now += seconds
        assert not any(own.glob("*-columns"))

    pace = Pace(delay_s=2.0, clock=clock, sleep=sleep, start=background)
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20), pace=pace)
    with catalog.lease("a.cxg") as dataset:
        cache.request(dataset)
        background.run()
        assert sum(waited) == pytest.approx(2.0)
        assert decodes(own, dataset)


def test_a_copy_that_is_gone_is_wanted_again_later(catalog: Catalog, own: Path) -> None:
    clock, background = Clock(), Background()
    pace = Pace(delay_s=0.0, again_after_s=600.0, clock=clock, start=background)
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20), pace=pace)
    with catalog.lease("a.cxg") as dataset:
        cache.request(dataset)
        background.run()
        shutil.rmtree(own / f"{dataset.identity}-columns")
        clock.now += 599
        cache.request(dataset)
        background.run()
        assert not decodes(own, dataset)
        clock.now += 2
        cache.request(dataset)
        background.run()
        assert decodes(own, dataset)


def test_an_unforeseen_fault_does_not_end_decoding(catalog: Catalog, own: Path) -> None:
    background, faults = Background(), [ZeroDivisionError()]

    @contextlib.contextmanager
    def reading() -> Iterator[None]:
        if faults:
            raise faults.pop()
        yield

    pace = Pace(delay_s=0.0, start=background)
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20), reading, pace)
    with catalog.lease("a.cxg") as dataset:
        cache.request(dataset)
    with pytest.raises(ZeroDivisionError):
        background.run()
    with catalog.lease("b.cxg") as dataset:
        cache.request(dataset)
        background.run()
        assert decodes(own, dataset)


def test_why_a_dataset_is_not_decoded_is_logged(catalog: Catalog, own: Path, caplog) -> None:
    (own / "lock").touch()
    clock, background = Clock(), Background()
    pace = Pace(delay_s=0.0, clock=clock, start=background)
    cache = DecodedCache(catalog, CacheFolder(own / "lock" / "missing", 1 << 20), pace=pace)
    for round_ in range(1, 4):
        with catalog.lease("a.cxg") as dataset:
            cache.request(dataset)
        assert background.started == round_
        background.run()
        clock.now += pace.again_after_s + 1
    # It is tried again, but told once.
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "a.cxg" in caplog.text


def test_dense_data_are_not_copied(catalog: Catalog, own: Path) -> None:
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    cache.make("dense.cxg")
    # Their columns and sums of labels are.
    assert [name.rpartition("-")[2] for name in folders(own)] == ["columns", "labels"]


def test_columns_and_embeddings_are_read_from_the_copy(catalog: Catalog, own: Path, monkeypatch) -> None:
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20))
    with catalog.lease("a.cxg") as dataset:
        before = [cache.obs_column(dataset, column.name) for column in dataset.obs.columns]
        places = [cache.embedding(dataset, name) for name in dataset.embeddings]
        cache.make("a.cxg")
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
        cache.make("a.cxg")
        for file in (own / f"{dataset.identity}-columns").iterdir():
            damage(file)
        for name in dataset.embeddings:
            assert cache.embedding(dataset, name).tobytes() == dataset.read_embedding(name).tobytes()
        for column in dataset.obs.columns:
            assert repr(cache.obs_column(dataset, column.name)) == repr(dataset.obs.read(column.name))


def test_the_least_recently_used_goes_first(catalog: Catalog, own: Path) -> None:
    folder = own
    cache = DecodedCache(catalog, CacheFolder(folder, 1 << 20))
    cache.make("a.cxg")
    cache.make("b.cxg")
    with catalog.lease("a.cxg") as first, catalog.lease("b.cxg") as second:
        kept = [f"{one.identity}-{what}" for one in (first, second) for what in ("columns", "labels")]
        kept += [f"{first.identity}-obs", f"{first.identity}-var", f"{second.identity}-var"]
        for name in kept:
            os.utime(folder / name, (2, 2))
        os.utime(folder / f"{second.identity}-obs", (1, 1))
        used = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        CacheFolder(folder, used).make_room(10)
        assert folders(folder) == sorted(kept)


@pytest.mark.parametrize("what", COPIES)
def test_what_is_used_stays_young(catalog: Catalog, own: Path, what: str) -> None:
    clock = Clock()
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20), pace=Pace(clock=clock))
    cache.make("a.cxg")
    with catalog.lease("a.cxg") as dataset:
        folder = own / f"{dataset.identity}-{what}"

        def use() -> bool:
            """Whether one use of the copy is noted."""
            os.utime(folder, (1, 1))
            if what == "columns":
                cache.embedding(dataset, dataset.embeddings[0])
                cache.obs_column(dataset, dataset.obs.columns[0].name)
            elif what == "labels":
                assert cache.labels(dataset) is not None
            else:
                assert cache.find(dataset, what) is not None
            return folder.stat().st_mtime > 1

        assert use()
        assert not use()
        clock.now += 61
        assert use()


def test_what_another_process_removed_is_let_go(catalog: Catalog, own: Path) -> None:
    clock = Clock()
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20), pace=Pace(clock=clock))
    cache.make("a.cxg")
    cache.make("b.cxg")
    with catalog.lease("a.cxg") as first, catalog.lease("b.cxg") as second:
        assert cache.find(first, "obs") is not None
        assert cache.find(second, "obs") is not None
        shutil.rmtree(own / f"{first.identity}-obs")
        clock.now += 61
        # Whoever uses any copy sees to all of them: a file that is open keeps its place on disk.
        assert cache.find(second, "obs") is not None
        assert catalog.storage.open_objects.owned(cache) == [f"{second.identity}-obs"]
        assert cache.find(first, "obs") is None


def test_the_copies_of_one_dataset_fit_beside_each_other(catalog: Catalog, own: Path, monkeypatch) -> None:
    shares = []
    cache = DecodedCache(catalog, CacheFolder(own, 800))
    monkeypatch.setattr(writing, "build", lambda *given: shares.append(given[-1]))
    for name in ("write_columns", "write_label_sums"):
        monkeypatch.setattr(writing, name, lambda *given: shares.append(given[-1]))
    cache.make("a.cxg")
    assert (len(shares), sum(shares)) == (4, 800)


def test_files_copied_from_s3_count_and_stay(catalog: Catalog, own: Path) -> None:
    folder = own
    cache = DecodedCache(catalog, CacheFolder(folder, 1 << 20))
    (folder / "s3-abc").mkdir(parents=True)
    cache.make("a.cxg")
    (folder / "s3-abc" / "file").write_bytes(bytes(1 << 20))
    CacheFolder(folder, 1 << 20).make_room(10)
    assert folders(folder) == ["s3-abc"]


def test_too_large_a_dataset_leaves_nothing(catalog: Catalog, own: Path) -> None:
    folder = own
    DecodedCache(catalog, CacheFolder(folder, 200)).make("a.cxg")
    assert folders(folder) == []


def test_leftovers_of_a_killed_process_are_removed(catalog: Catalog, own: Path) -> None:
    folder = own
    (folder / "partial-dead").mkdir(parents=True)
    DecodedCache(catalog, CacheFolder(folder, 1 << 20)).make("a.cxg")
    assert "partial-dead" not in folders(folder)


@pytest.mark.parametrize("call", [1, 2, 5, 30])
def test_a_full_disk_leaves_nothing(catalog: Catalog, own: Path, monkeypatch, call: int) -> None:
    """Wherever it fills up: in a file, in the manifest, when what was written is synced."""
    cache, calls, real = DecodedCache(catalog, CacheFolder(own, 1 << 20)), 0, os.fsync
    this_thread = threading.get_ident()

    def fsync(number: int) -> None:
        nonlocal calls
        # Copies that another test has asked for may be written at the same time.
        if threading.get_ident() == this_thread:
            calls += 1
            if calls == call:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        cache.make("a.cxg")
    assert not [name for name in folders(own) if name.startswith("partial-")]
    cache.make("a.cxg")
    assert sorted(name.rpartition("-")[2] for name in folders(own)) == list(COPIES)
    with catalog.lease("a.cxg") as dataset:
        assert cache.find(dataset, "obs") is not None


def test_a_copy_is_on_the_disk_before_it_has_its_name(catalog: Catalog, own: Path, monkeypatch) -> None:
    synced, named = set[str](), list[Path]()
    real_fsync, real_rename = os.fsync, Path.rename

    # Copies that another test has asked for, in its own folder, may be written at the same time.
    def fsync(number: int) -> None:
        path = Path(f"/proc/self/fd/{number}").readlink()
        if path.is_relative_to(own):
            synced.add(str(path))
        real_fsync(number)

    def rename(path: Path, target: Path) -> Path:
        if not path.is_relative_to(own):
            return real_rename(path, target)
        wanted = {str(path), *map(str, path.iterdir())}
        assert wanted <= synced, wanted - synced
        named.append(target)
        synced.clear()
        return real_rename(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", rename)
    DecodedCache(catalog, CacheFolder(own, 1 << 20)).make("a.cxg")
    assert len(named) == len(COPIES)
    assert synced == {str(own)}


def test_one_process_at_a_time(catalog: Catalog, own: Path) -> None:
    background = Background()
    pace = Pace(delay_s=0.0, start=background)
    cache = DecodedCache(catalog, CacheFolder(own, 1 << 20), pace=pace)
    with catalog.lease("a.cxg") as dataset:
        with CacheFolder(own, 1).locked() as held:
            assert held
            cache.request(dataset)
            background.run()
            assert cache.find(dataset, "obs") is None
        # That one may have been busy with another dataset, so it may be asked for again.
        cache.request(dataset)
        background.run()
        assert cache.find(dataset, "obs") is not None
    with CacheFolder(own, 1).locked(), catalog.lease("b.cxg") as dataset:
        for what in COPIES:
            (own / f"{dataset.identity}-{what}").mkdir()
        other = DecodedCache(catalog, CacheFolder(own, 1 << 20), pace=pace)
        other.request(dataset)
        background.run()
        # It is there, so nothing is asked for again.
        started = background.started
        other.request(dataset)
        assert background.started == started


@pytest.mark.parametrize("stay_s, waits_s", [(0.0, 0.25), (10.0, 0.5)], ids=["one visit", "visits without end"])
def test_decoding_lets_visitors_go_first_for_a_bounded_time(stay_s: float, waits_s: float) -> None:
    clock = Clock()
    began_s = clock.now

    def sleep(seconds: float) -> None:
        clock.now += seconds
        if clock.now - began_s < stay_s:
            visits.note()

    visits = Visits(Pace(clock=clock, sleep=sleep))
    ranges: list[tuple[int, int]] = []
    read = visits.politely(lambda start, stop: ranges.append((start, stop)), contextlib.nullcontext)
    read(0, 5)
    assert clock.now == began_s
    visits.note()
    read(5, 9)
    assert clock.now - began_s == pytest.approx(waits_s, abs=0.06)
    assert ranges == [(0, 5), (5, 9)]


def test_a_process_ends_although_it_decodes(tmp_path: Path) -> None:
    cxgs.build(tmp_path / "root" / "a.cxg", "Xr/Xc", n_obs=50, n_var=20)
    program = f"""
import pathlib, threading, time
from cxg.storage.cache_folder import CacheFolder
from cxg.datasets.catalog import Catalog
from cxg.config import default
from cxg.datasets.dataroot import Dataroot
from cxg.decoded.cache import DecodedCache
from cxg.decoded.pace import Pace, Visits, start_thread
from cxg.decoded.pace import Pace
from cxg.storage.storage import Storage
storage = Storage(default())
catalog = Catalog(storage, Dataroot(storage, {str(tmp_path / "root")!r}), 8)
waits = threading.Event()
def sleep(seconds):
    waits.set()
    time.sleep(seconds)
# Somebody visits all the time, and has all the time there is.
pace = Pace(delay_s=0.0, quiet_s=1e9, patience_s=1e9, sleep=sleep)
cache = DecodedCache(catalog, CacheFolder(pathlib.Path({str(tmp_path / "own")!r}), 1 << 20), pace=pace)
cache.note_activity()
with catalog.lease("a.cxg") as dataset:
    cache.request(dataset)
assert waits.wait(30)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    # What was half done is gone.
    assert [name.rpartition("-")[2] for name in folders(tmp_path / "own")] == ["columns"]
