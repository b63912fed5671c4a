"""The catalog: leases counted and bounded, datasets independent of each other, replacements noticed."""

from __future__ import annotations

import gc
import shutil
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxg.config import default
from cxg.datasets.catalog import Catalog
from cxg.datasets.dataroot import Dataroot
from cxg.datasets.opening import Times
from cxg.errors import DatasetInvalid, DatasetNotFound, StorageUnavailable
from cxg.format.dataset import Dataset
from cxg.storage.listing import Listing
from cxg.storage.storage import Storage
from tests import cxgs
from tests.background import Clock, Threads

# Listings for one opening: before, and again after to see that nothing changed meanwhile.
OPENING = 2


class Recorder(Storage):
    """A storage that counts listings, and can hold one up or fail."""

    def __init__(self) -> None:
        super().__init__(default())
        self.listed: list[str] = []
        self.hold: dict[str, threading.Event] = {}
        self.held = threading.Event()
        self.away = False

    def listing(self, uri: str) -> Listing:
        name = Path(uri).name
        self.listed.append(name)
        if self.away:
            raise StorageUnavailable("The storage did not answer.")
        if name in self.hold:
            self.held.set()
            assert self.hold[name].wait(30)
        return super().listing(uri)


@pytest.fixture
def storage() -> Recorder:
    return Recorder()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    for number, name in enumerate(("a.cxg", "b.cxg", "c.cxg")):
        cxgs.build(folder / name, n_obs=12, n_var=6, seed=number)
    return folder


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    close = Dataset.close

    def record(dataset: Dataset) -> None:
        names.append(dataset.name)
        close(dataset)

    monkeypatch.setattr(Dataset, "close", record)
    return names


# Every lease lists the files again.
ALWAYS = Times(check_s=-1.0, check_s3_s=-1.0, most_check_s=-1.0)


def make(storage: Storage, root: Path, most: int = 8, **options: Any) -> Catalog:
    return Catalog(storage, Dataroot(storage, str(root)), most, **options)


@pytest.fixture
def looks() -> Iterator[Threads]:
    """What a catalog does in the background."""
    with Threads() as threads:
        yield threads


def test_a_dataset_is_opened_once_and_shared(storage: Recorder, root: Path) -> None:
    catalog = make(storage, root)
    with catalog.lease("a.cxg") as first, catalog.lease("a.cxg") as second:
        assert first is second
    with catalog.lease("a.cxg") as third:
        assert third is first
    assert storage.listed == ["a.cxg"] * OPENING


def test_the_least_recently_used_is_closed_first(storage: Recorder, root: Path, closed: list[str]) -> None:
    catalog = make(storage, root, most=2)
    for name in ("a.cxg", "b.cxg", "a.cxg", "c.cxg"):
        with catalog.lease(name):
            pass
    assert closed == ["b.cxg"]


def test_a_leased_dataset_is_closed_when_its_last_lease_ends(storage: Recorder, root: Path, closed: list[str]) -> None:
    catalog = make(storage, root, most=1)
    with catalog.lease("a.cxg") as dataset:
        with catalog.lease("a.cxg"), catalog.lease("b.cxg"):
            pass
        assert closed == []
        assert dataset.read_embedding("umap").shape == (12, 2)
    assert closed == ["a.cxg"]


def test_an_idle_dataset_is_closed(storage: Recorder, root: Path, closed: list[str]) -> None:
    catalog = make(storage, root, timelimit_s=1e-9)
    for name in ("a.cxg", "b.cxg", "c.cxg"):
        with catalog.lease(name):
            pass
    assert closed == ["a.cxg", "b.cxg"]


def test_closing_the_catalog_waits_for_leases(storage: Recorder, root: Path, closed: list[str]) -> None:
    catalog = make(storage, root)
    with catalog.lease("a.cxg"):
        with catalog.lease("b.cxg"):
            pass
        catalog.close()
        assert closed == ["b.cxg"]
    assert closed == ["b.cxg", "a.cxg"]


def test_an_error_while_leased_keeps_the_dataset_open(storage: Recorder, root: Path, closed: list[str]) -> None:
    catalog = make(storage, root)
    with pytest.raises(RuntimeError), catalog.lease("a.cxg"):
        raise RuntimeError("a bad request")
    assert closed == []
    assert catalog.fresh_identity("a.cxg") is not None


def test_opening_one_makes_no_other_wait(storage: Recorder, root: Path) -> None:
    catalog = make(storage, root)
    storage.hold["a.cxg"] = threading.Event()
    opened: list[str] = []

    def lease() -> None:
        with catalog.lease("a.cxg") as dataset:
            opened.append(dataset.name)

    slow = threading.Thread(target=lease)
    slow.start()
    assert storage.held.wait(30)
    with catalog.lease("b.cxg") as other:
        assert other.name == "b.cxg"
    assert opened == []
    storage.hold["a.cxg"].set()
    slow.join(30)
    assert opened == ["a.cxg"]


def test_a_slow_recheck_makes_nobody_else_wait(storage: Recorder, root: Path) -> None:
    catalog = make(storage, root, times=ALWAYS)
    with catalog.lease("a.cxg") as first:
        pass
    storage.hold["a.cxg"] = threading.Event()

    def lease() -> None:
        with catalog.lease("a.cxg"):
            pass

    slow = threading.Thread(target=lease)
    slow.start()
    assert storage.held.wait(30)
    with catalog.lease("a.cxg") as meanwhile:
        assert meanwhile is first
    storage.hold["a.cxg"].set()
    slow.join(30)


def test_a_silent_storage_stalls_nobody(storage: Recorder, root: Path, looks: Threads) -> None:
    catalog = make(storage, root, times=replace(ALWAYS, check_wait_s=0.01), looks=looks)
    with catalog.lease("a.cxg") as first:
        pass
    storage.hold["a.cxg"] = threading.Event()
    for _ in range(3):
        with catalog.lease("a.cxg") as meanwhile:
            assert meanwhile is first
    # One look is under way, however many visitors came.
    assert len(looks.submitted) == 1
    shutil.rmtree(root / "a.cxg")
    storage.hold.pop("a.cxg").set()
    with pytest.raises(DatasetNotFound), catalog.lease("a.cxg", wait=True):
        pass


def test_what_a_slow_listing_finds_is_used_at_a_later_visit(
    storage: Recorder, root: Path, tmp_path: Path, looks: Threads
) -> None:
    catalog = make(storage, root, times=replace(ALWAYS, check_wait_s=0.01), looks=looks)
    with catalog.lease("a.cxg") as first:
        assert first.n_obs == 12
    cxgs.build(tmp_path / "new", n_obs=20, n_var=6, seed=9)
    (root / "a.cxg").rename(tmp_path / "old")
    (tmp_path / "new").rename(root / "a.cxg")
    storage.hold["a.cxg"] = threading.Event()
    with catalog.lease("a.cxg") as dataset:
        assert dataset is first
    storage.hold.pop("a.cxg").set()
    looks.settle()
    with catalog.lease("a.cxg") as dataset:
        assert dataset.n_obs == 20
    assert len(looks.submitted) == 1


def test_what_a_listing_found_long_ago_says_nothing_of_now(storage: Recorder, root: Path, looks: Threads) -> None:
    clock = Clock()
    times = Times(check_s=15.0, most_check_s=15.0, check_wait_s=0.01, clock=clock)
    catalog = make(storage, root, times=times, looks=looks)
    with catalog.lease("a.cxg"):
        pass
    clock.now += 20
    storage.hold["a.cxg"] = threading.Event()
    with catalog.lease("a.cxg"):
        pass
    storage.hold.pop("a.cxg").set()
    looks.settle()
    clock.now += 20
    with catalog.lease("a.cxg"):
        pass
    assert len(looks.submitted) == 1
    assert catalog.fresh_identity("a.cxg") is None
    with catalog.lease("a.cxg"):
        pass
    assert len(looks.submitted) == 2
    assert catalog.fresh_identity("a.cxg") is not None


def test_a_replaced_dataset_is_noticed_and_running_leases_finish(
    storage: Recorder, root: Path, tmp_path: Path, closed: list[str]
) -> None:
    catalog = make(storage, root, times=ALWAYS)
    cxgs.build(tmp_path / "new", n_obs=20, n_var=6, seed=9)
    with catalog.lease("a.cxg") as old:
        (root / "a.cxg").rename(tmp_path / "old")
        (tmp_path / "new").rename(root / "a.cxg")
        with catalog.lease("a.cxg") as new:
            assert (old.n_obs, new.n_obs) == (12, 20)
            assert old.fingerprint != new.fingerprint
        assert closed == []
    assert closed == ["a.cxg"]


def test_a_removed_dataset_is_not_found(storage: Recorder, root: Path) -> None:
    catalog = make(storage, root, times=ALWAYS)
    with catalog.lease("a.cxg"):
        pass
    shutil.rmtree(root / "a.cxg")
    with pytest.raises(DatasetNotFound), catalog.lease("a.cxg"):
        pass
    assert catalog.fresh_identity("a.cxg") is None


def test_what_is_open_stays_usable_while_the_storage_is_away(storage: Recorder, root: Path) -> None:
    catalog = make(storage, root, times=ALWAYS)
    with catalog.lease("a.cxg") as before:
        pass
    storage.away = True
    with catalog.lease("a.cxg") as during:
        assert during is before
    with pytest.raises(StorageUnavailable), catalog.lease("b.cxg"):
        pass


def test_a_suspect_dataset_is_looked_at_again(storage: Recorder, root: Path) -> None:
    catalog = make(storage, root)
    with catalog.lease("a.cxg"):
        pass
    catalog.recheck("a.cxg")
    assert catalog.fresh_identity("a.cxg") is None
    with catalog.lease("a.cxg"):
        pass
    assert storage.listed == ["a.cxg"] * (OPENING + 1)


def test_a_damaged_dataset_fails_alone_and_is_not_opened_for_every_request(storage: Recorder, root: Path) -> None:
    shutil.rmtree(root / "a.cxg" / "obs")
    catalog = make(storage, root)
    for _ in range(5):
        with pytest.raises(DatasetInvalid, match="no obs array"), catalog.lease("a.cxg"):
            pass
    assert storage.listed == ["a.cxg"] * OPENING
    with catalog.lease("b.cxg") as other:
        assert other.name == "b.cxg"


class Counted(Dataroot):
    """A dataroot that counts which datasets are looked for."""

    def __init__(self, storage: Storage, uri: str) -> None:
        super().__init__(storage, uri)
        self.asked: list[str] = []

    def dataset_uri(self, name: str) -> str:
        self.asked.append(name)
        return super().dataset_uri(name)


def test_failures_are_remembered_within_bounds(storage: Recorder, root: Path) -> None:
    counted = Counted(storage, str(root))
    catalog = Catalog(storage, counted, 8, times=Times(clock=Clock()))

    def fails(number: int) -> bool:
        """Whether a dataset that is not there was looked for."""
        counted.asked.clear()
        with pytest.raises(DatasetNotFound), catalog.lease(f"no-{number}.cxg"):
            pass
        return bool(counted.asked)

    assert all(fails(number) for number in range(600))
    assert not fails(599)
    assert not fails(600 - 512)
    assert fails(0)


def test_a_failure_is_remembered_for_a_moment(storage: Recorder, root: Path) -> None:
    clock = Clock()
    catalog = make(storage, root, times=Times(clock=clock))
    with pytest.raises(DatasetNotFound), catalog.lease("new.cxg"):
        pass
    (root / "a.cxg").rename(root / "new.cxg")
    clock.now += 2.9
    with pytest.raises(DatasetNotFound), catalog.lease("new.cxg"):
        pass
    clock.now += 0.2
    with catalog.lease("new.cxg") as dataset:
        assert dataset.name == "new.cxg"


def test_names_are_listed_at_most_every_ten_seconds(storage: Recorder, root: Path) -> None:
    clock = Clock()
    catalog = make(storage, root, times=Times(clock=clock))
    assert catalog.names() == ("a.cxg", "b.cxg", "c.cxg")
    (root / "d.cxg").mkdir()
    clock.now += 9.9
    assert catalog.names() == ("a.cxg", "b.cxg", "c.cxg")
    clock.now += 0.2
    assert catalog.names() == ("a.cxg", "b.cxg", "c.cxg", "d.cxg")


def test_many_threads_share_few_datasets(storage: Recorder, root: Path, closed: list[str]) -> None:
    catalog = make(storage, root, most=1, times=Times(clock=Clock()))
    failures: list[BaseException] = []

    def use(seed: int) -> None:
        try:
            for step in range(30):
                name = "abc"[(seed + step) % 3] + ".cxg"
                with catalog.lease(name) as dataset:
                    assert dataset.name == name
                    dataset.read_embedding("umap")
        except BaseException as error:  # noqa: BLE001 - told by the test
            failures.append(error)

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    opened = len(storage.listed) // OPENING
    assert len(closed) == opened - 1
    # Nobody leases the last one any more.
    catalog.close()
    assert len(closed) == opened


def _wear_out(storage: Storage) -> None:
    generation = storage.contexts.generation
    ctx = storage.column_ctx
    while storage.contexts.generation == generation:
        ctx.note_use()


def test_an_open_dataset_is_opened_anew_when_contexts_are_replaced(
    storage: Recorder, root: Path, closed: list[str], looks: Threads
) -> None:
    catalog = make(storage, root, looks=looks)
    with catalog.lease("a.cxg") as old:
        column, counts = old.read_X_columns(np.array([2])), old.looks_like_counts
        old_ctx = weakref.ref(storage.column_ctx)
        _wear_out(storage)
        looks.settle()
        with catalog.lease("a.cxg") as new:
            assert new is not old
            assert new.generation == storage.contexts.generation == old.generation + 1
            assert new.fingerprint == old.fingerprint
            assert new.__dict__["looks_like_counts"] == counts
            assert (new.read_X_columns(np.array([2])) == column).all()
        # Whoever reads the old one goes on with it.
        assert (old.read_X_columns(np.array([2])) == column).all()
        assert not closed
    assert closed == ["a.cxg"]
    del old, new
    gc.collect()
    assert old_ctx() is None


def test_visitors_go_on_with_what_is_open_while_it_is_opened_anew(
    storage: Recorder, root: Path, looks: Threads
) -> None:
    catalog = make(storage, root, looks=looks)
    with catalog.lease("a.cxg") as old:
        pass
    storage.held.clear()
    storage.hold["a.cxg"] = threading.Event()
    _wear_out(storage)
    assert storage.held.wait(30)
    try:
        with catalog.lease("a.cxg") as dataset:
            assert dataset is old
            dataset.read_embedding("umap")
    finally:
        storage.hold.pop("a.cxg").set()
    looks.settle()
    with catalog.lease("a.cxg") as dataset:
        assert dataset is not old


def test_many_open_datasets_do_not_wear_out_the_contexts_by_being_opened_anew(
    storage: Storage, tmp_path: Path, looks: Threads
) -> None:
    storage.contexts.most_uses = 12
    names = [f"{number}.cxg" for number in range(6)]
    for name in names:
        cxgs.build(tmp_path / "many" / name, n_obs=5, n_var=5)
    catalog = make(storage, tmp_path / "many", most=10, looks=looks)
    for name in names:
        with catalog.lease(name):
            pass
    for _ in range(20):
        begun = len(looks.submitted)
        looks.settle()
        if len(looks.submitted) == begun:
            break
    else:
        pytest.fail("the contexts are replaced without end")


def test_what_nobody_used_lately_is_closed_when_contexts_are_replaced(
    storage: Recorder, root: Path, closed: list[str], looks: Threads
) -> None:
    clock = Clock()
    catalog = make(storage, root, times=Times(most_check_s=1e9, check_s=1e9, clock=clock), looks=looks)
    for name in ("a.cxg", "b.cxg"):
        with catalog.lease(name):
            pass
        clock.now += 61
    clock.now -= 30
    listed = storage.listed.count("a.cxg")
    _wear_out(storage)
    looks.settle()
    assert sorted(closed) == ["a.cxg", "b.cxg"]
    assert catalog.fresh_identity("a.cxg") is None
    assert catalog.fresh_identity("b.cxg") is not None
    assert storage.listed.count("a.cxg") == listed


def test_a_dataset_that_cannot_be_opened_anew_stays_open(
    storage: Recorder, root: Path, closed: list[str], looks: Threads
) -> None:
    catalog = make(storage, root, looks=looks)
    with catalog.lease("a.cxg") as old:
        pass
    storage.away = True
    _wear_out(storage)
    looks.settle()
    assert not closed
    with catalog.lease("a.cxg") as dataset:
        assert dataset is old
    storage.away = False
    _wear_out(storage)
    looks.settle()
    assert closed == ["a.cxg"]
    with catalog.lease("a.cxg") as dataset:
        assert dataset.generation == storage.contexts.generation


def test_answers_stay_right_while_contexts_are_replaced_all_the_time(storage: Recorder, root: Path) -> None:
    storage.contexts.most_uses = 20
    catalog = Catalog(storage, Dataroot(storage, str(root)), 2)

    def look(name: str) -> tuple[bytes, ...]:
        with catalog.lease(name) as dataset:
            parts = dataset.read_X_columns(np.array([1, 4])), dataset.read_embedding("umap"), dataset.obs.read("label")
        return parts[0].tobytes(), parts[1].tobytes(), repr(parts[2]).encode()

    names = ("a.cxg", "b.cxg", "c.cxg")
    truth = {name: look(name) for name in names}
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: look(names[number % 3]) == truth[names[number % 3]], range(200)))
    assert all(found)
    assert storage.contexts.generation > 5


def test_an_empty_folder_is_listed_as_it_is_opened(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "root" / "empty.cxg").mkdir(parents=True)
    catalog = Catalog(storage, Dataroot(storage, str(tmp_path / "root")), 4)
    for _ in range(2):
        with pytest.raises(DatasetInvalid, match="it is an empty folder"), catalog.lease("empty.cxg"):
            pass
        assert catalog.list_files("empty.cxg")
    with pytest.raises(DatasetNotFound):
        catalog.list_files("gone.cxg")
