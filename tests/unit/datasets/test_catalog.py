"""The catalog: leases counted and bounded, datasets independent of each other, replacements noticed."""

from __future__ import annotations

import gc
import shutil
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest

from cxg.config import default
from cxg.datasets import catalog as catalog_module
from cxg.datasets.catalog import Catalog
from cxg.datasets.dataroot import Dataroot
from cxg.datasets.opening import Look
from cxg.errors import DatasetInvalid, DatasetNotFound, StorageUnavailable
from cxg.format.dataset import Dataset
from cxg.storage import contexts as contexts_module
from cxg.storage.listing import Listing
from cxg.storage.storage import Storage
from tests import cxgs

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


@pytest.fixture
def always_recheck(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every lease lists the files again."""
    for name in ("_CHECK_INTERVAL_S", "_CHECK_INTERVAL_S3_S", "_CHECK_INTERVAL_MAX_S"):
        monkeypatch.setattr(catalog_module, name, -1.0)
    return iter(())


def make(storage: Storage, root: Path, most: int = 8, **options: float) -> Catalog:
    return Catalog(storage, Dataroot(storage, str(root)), most, **options)


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


@pytest.mark.usefixtures("always_recheck")
def test_a_slow_recheck_makes_nobody_else_wait(storage: Recorder, root: Path) -> None:
    catalog = make(storage, root)
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


@pytest.mark.usefixtures("always_recheck")
def test_a_silent_storage_stalls_nobody(storage: Recorder, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxg.datasets.catalog._CHECK_WAIT_S", 0.01)
    catalog = make(storage, root)
    with catalog.lease("a.cxg") as first:
        pass
    storage.hold["a.cxg"] = threading.Event()
    for _ in range(3):
        with catalog.lease("a.cxg") as meanwhile:
            assert meanwhile is first
    # One look is under way, however many visitors came.
    assert catalog._looks._work_queue.qsize() == 0
    shutil.rmtree(root / "a.cxg")
    storage.hold.pop("a.cxg").set()
    with pytest.raises(DatasetNotFound), catalog.lease("a.cxg", wait=True):
        pass


@pytest.mark.usefixtures("always_recheck")
def test_what_a_slow_listing_finds_is_used_at_a_later_visit(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxg.datasets.catalog._CHECK_WAIT_S", 0.001)
    catalog = make(Recorder(), root)
    look = catalog._opener.look

    def slow_look(name: str, known: str) -> Look:
        """Takes longer than a visitor waits for it; opening does not."""
        time.sleep(0.03)
        return look(name, known)

    monkeypatch.setattr(catalog._opener, "look", slow_look)
    with catalog.lease("a.cxg") as first:
        assert first.n_obs == 12
    cxgs.build(tmp_path / "new", n_obs=20, n_var=6, seed=9)
    (root / "a.cxg").rename(tmp_path / "old")
    (tmp_path / "new").rename(root / "a.cxg")
    seen = set()
    for _ in range(20):
        with catalog.lease("a.cxg") as dataset:
            seen.add(dataset.n_obs)
        time.sleep(0.01)
    assert seen == {12, 20}


@pytest.mark.usefixtures("always_recheck")
def test_what_a_listing_found_long_ago_says_nothing_of_now(
    storage: Recorder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxg.datasets.catalog._CHECK_WAIT_S", 0.01)
    catalog = make(storage, root)
    with catalog.lease("a.cxg"):
        pass
    storage.hold["a.cxg"] = threading.Event()
    began = time.monotonic()
    with catalog.lease("a.cxg"):
        pass
    entry = catalog._entries["a.cxg"]
    assert entry.look is not None
    storage.hold["a.cxg"].set()
    wait([entry.look], 30)
    later = time.monotonic()
    with catalog.lease("a.cxg"):
        pass
    assert began <= entry.checked_s < later


@pytest.mark.usefixtures("always_recheck")
def test_a_replaced_dataset_is_noticed_and_running_leases_finish(
    storage: Recorder, root: Path, tmp_path: Path, closed: list[str]
) -> None:
    catalog = make(storage, root)
    cxgs.build(tmp_path / "new", n_obs=20, n_var=6, seed=9)
    with catalog.lease("a.cxg") as old:
        (root / "a.cxg").rename(tmp_path / "old")
        (tmp_path / "new").rename(root / "a.cxg")
        with catalog.lease("a.cxg") as new:
            assert (old.n_obs, new.n_obs) == (12, 20)
            assert old.fingerprint != new.fingerprint
        assert closed == []
    assert closed == ["a.cxg"]


@pytest.mark.usefixtures("always_recheck")
def test_a_removed_dataset_is_not_found(storage: Recorder, root: Path) -> None:
    catalog = make(storage, root)
    with catalog.lease("a.cxg"):
        pass
    shutil.rmtree(root / "a.cxg")
    with pytest.raises(DatasetNotFound), catalog.lease("a.cxg"):
        pass
    assert catalog.fresh_identity("a.cxg") is None


@pytest.mark.usefixtures("always_recheck")
def test_what_is_open_stays_usable_while_the_storage_is_away(storage: Recorder, root: Path) -> None:
    catalog = make(storage, root)
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


def test_failures_are_remembered_within_bounds(storage: Recorder, root: Path) -> None:
    catalog = make(storage, root)
    for number in range(600):
        with pytest.raises(DatasetNotFound), catalog.lease(f"no-{number}.cxg"):
            pass
    assert len(catalog._failures) == 512


def test_names_are_listed_at_most_every_ten_seconds(storage: Recorder, root: Path, monkeypatch) -> None:
    catalog = make(storage, root)
    assert catalog.names() == ("a.cxg", "b.cxg", "c.cxg")
    (root / "d.cxg").mkdir()
    assert catalog.names() == ("a.cxg", "b.cxg", "c.cxg")
    monkeypatch.setattr(catalog_module, "NAMES_TTL_S", 0.0)
    assert catalog.names() == ("a.cxg", "b.cxg", "c.cxg", "d.cxg")


def test_many_threads_share_few_datasets(storage: Recorder, root: Path, closed: list[str]) -> None:
    catalog = make(storage, root, most=1)
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
    assert len(catalog._entries) == 1
    assert all(entry.leases == 0 for entry in catalog._entries.values())


def _settle(catalog: Catalog) -> None:
    """Wait until a catalog has done all that it does in the background."""
    catalog._looks.shutdown(wait=True)
    catalog._looks = ThreadPoolExecutor(1)


def _wear_out(storage: Storage) -> None:
    generation = storage.contexts.generation
    ctx = storage.column_ctx
    while storage.contexts.generation == generation:
        ctx.note_use()


def test_an_open_dataset_is_opened_anew_when_contexts_are_replaced(
    storage: Recorder, root: Path, closed: list[str]
) -> None:
    catalog = Catalog(storage, Dataroot(storage, str(root)), 4)
    with catalog.lease("a.cxg") as old:
        column, counts = old.read_X_columns(np.array([2])), old.looks_like_counts
        old_ctx = weakref.ref(old.obs._array.ctx)
        _wear_out(storage)
        _settle(catalog)
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


def test_visitors_go_on_with_what_is_open_while_it_is_opened_anew(storage: Recorder, root: Path) -> None:
    catalog = Catalog(storage, Dataroot(storage, str(root)), 4)
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
    _settle(catalog)
    with catalog.lease("a.cxg") as dataset:
        assert dataset is not old


def test_many_open_datasets_do_not_wear_out_the_contexts_by_being_opened_anew(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts_module, "_MOST_USES", 12)
    names = [f"{number}.cxg" for number in range(6)]
    for name in names:
        cxgs.build(tmp_path / "many" / name, n_obs=5, n_var=5)
    catalog = Catalog(storage, Dataroot(storage, str(tmp_path / "many")), 10)
    for name in names:
        with catalog.lease(name):
            pass
    for _ in range(20):
        generation = storage.contexts.generation
        together = threading.Barrier(5)
        for _ in range(4):  # as many as there are threads: what was begun before is over when they meet
            catalog._looks.submit(together.wait, 30)
        together.wait(30)
        if storage.contexts.generation == generation:
            break
    else:
        pytest.fail("the contexts are replaced without end")


def test_what_nobody_used_lately_is_closed_when_contexts_are_replaced(
    storage: Recorder, root: Path, closed: list[str]
) -> None:
    catalog = Catalog(storage, Dataroot(storage, str(root)), 4)
    for name in ("a.cxg", "b.cxg"):
        with catalog.lease(name):
            pass
    catalog._entries["a.cxg"].used_s -= catalog_module._RENEW_USED_S + 1
    listed = storage.listed.count("a.cxg")
    _wear_out(storage)
    _settle(catalog)
    assert sorted(closed) == ["a.cxg", "b.cxg"]
    assert list(catalog._entries) == ["b.cxg"]
    assert storage.listed.count("a.cxg") == listed


def test_a_dataset_that_cannot_be_opened_anew_stays_open(storage: Recorder, root: Path, closed: list[str]) -> None:
    catalog = Catalog(storage, Dataroot(storage, str(root)), 4)
    with catalog.lease("a.cxg") as old:
        pass
    storage.away = True
    _wear_out(storage)
    _settle(catalog)
    assert not closed
    with catalog.lease("a.cxg") as dataset:
        assert dataset is old
    storage.away = False
    _wear_out(storage)
    _settle(catalog)
    assert closed == ["a.cxg"]
    assert catalog._entries["a.cxg"].dataset.generation == storage.contexts.generation


def test_answers_stay_right_while_contexts_are_replaced_all_the_time(
    storage: Recorder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts_module, "_MOST_USES", 20)
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
    assert storage.contexts.generation > 20


def test_an_empty_folder_is_listed_as_it_is_opened(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "root" / "empty.cxg").mkdir(parents=True)
    catalog = Catalog(storage, Dataroot(storage, str(tmp_path / "root")), 4)
    for _ in range(2):
        with pytest.raises(DatasetInvalid, match="it is an empty folder"), catalog.lease("empty.cxg"):
            pass
        assert catalog.list_files("empty.cxg")
    with pytest.raises(DatasetNotFound):
        catalog.list_files("gone.cxg")
