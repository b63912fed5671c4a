"""When the list of datasets looks at them again: only what changed is opened, and many give way to visitors."""

import threading
from types import SimpleNamespace

import pytest

from cxg.errors import DatasetInvalid, StorageUnavailable
from cxg.memory_bounds import MOST_LISTED
from cxg.web.start_page.reader import FEW, MOST_WAITING, RECHECK_S, RETRY_S, Summaries
from tests.listed import FakeCatalog, make_dataset, wait_until


class Rests:
    """Stands in for the timer: the rests that were taken, and what follows each once `end` is called."""

    def __init__(self):
        self.taken, self.waiting = [], []

    def __call__(self, pause_s, then):
        self.taken.append(pause_s)
        self.waiting.append(then)

    def end(self):
        waiting, self.waiting = self.waiting, []
        for then in waiting:
            then()


def at_once(pause_s, then):
    then()


def made(catalog, **options):
    clock = SimpleNamespace(now=0.0)
    summaries = Summaries(catalog, **{"clock": lambda: clock.now, "later": at_once} | options)
    summaries.read(wait_s=30)
    return summaries, clock


def many(count, **changes):
    return [make_dataset(f"{k:04}.cxg", **changes) for k in range(count)]


def looked(summaries, catalog, count):
    """Ask for the list until so many listings of files were begun."""
    wait_until(lambda: summaries.read(wait_s=0) and len(catalog.looks) >= count)


def test_datasets_whose_files_did_not_change_are_not_opened_again():
    catalog = FakeCatalog(*many(20))
    summaries, clock = made(catalog)
    before = summaries.read()
    assert len(catalog.leased) == 20
    for round_ in (1, 2):
        clock.now += RECHECK_S + 1
        looked(summaries, catalog, 20 * round_)
    assert sorted(catalog.looks) == sorted([*catalog.held] * 2)
    assert len(catalog.leased) == 20
    assert summaries.read() is before


def test_a_changed_dataset_is_opened_and_changes_the_state():
    catalog = FakeCatalog(*many(20))
    summaries, clock = made(catalog)
    before = summaries.read()
    catalog.held["0007.cxg"] = make_dataset("0007.cxg", title="New", fingerprint="new")
    clock.now += RECHECK_S + 1
    wait_until(lambda: summaries.read(wait_s=0) is not before)
    looked(summaries, catalog, 20)
    assert catalog.leased[20:] == ["0007.cxg"]
    assert [one.title for one in summaries.read().known].count("New") == 1


def test_within_the_interval_no_dataset_is_checked():
    catalog = FakeCatalog(*many(5))
    summaries, clock = made(catalog)
    clock.now += RECHECK_S - 1
    for _ in range(5):
        summaries.read(wait_s=0)
    assert catalog.looks == []


def test_a_damaged_dataset_is_opened_again_only_when_its_files_change():
    catalog = FakeCatalog(a=DatasetInvalid("Broken."))
    summaries, clock = made(catalog)
    # The second time its files are listed before it is opened, so that no change between the two can be missed.
    for round_ in range(1, 5):
        clock.now += RETRY_S + 1
        looked(summaries, catalog, round_)
    assert catalog.leased == ["a.cxg"] * 2
    catalog.held["a.cxg"] = make_dataset()
    clock.now += RETRY_S + 1
    wait_until(lambda: summaries.read(wait_s=0).known[0].problem is None)


def test_a_dataset_that_did_not_answer_is_opened_again_though_its_files_are_the_same():
    catalog = FakeCatalog(a=StorageUnavailable("No answer."))
    summaries, clock = made(catalog)
    for round_ in range(1, 4):
        clock.now += RETRY_S + 1
        looked(summaries, catalog, round_)
        wait_until(lambda: len(catalog.leased) == 1 + round_)  # noqa: B023


def test_an_empty_folder_is_not_checked_for_each_page():
    catalog = FakeCatalog(make_dataset("a.cxg"))
    names = ("a.cxg", "empty.cxg")
    catalog.names = lambda: names
    summaries, _ = made(catalog)
    for _ in range(10):
        assert [one.name for one in summaries.read(wait_s=30).known] == ["a.cxg"]
    assert catalog.leased.count("empty.cxg") == 1
    assert catalog.looks == []


def test_files_are_listed_one_after_the_other_with_rests_between():
    rests = Rests()
    catalog = FakeCatalog(*many(20))
    summaries, clock = made(catalog, later=rests)
    assert rests.taken == []
    clock.now += RECHECK_S + 1
    for round_ in range(1, 6):
        summaries.read(wait_s=0)
        wait_until(lambda: len(rests.waiting) == 1)
        assert len(catalog.looks) == round_
        rests.end()
    assert all(0 < pause_s <= 5 for pause_s in rests.taken)


def test_a_new_dataset_is_read_before_known_ones_are_checked():
    rests = Rests()
    catalog = FakeCatalog(*many(20))
    summaries, clock = made(catalog, later=rests)
    clock.now += RECHECK_S + 1
    summaries.read(wait_s=0)
    wait_until(lambda: len(rests.waiting) == 1)
    catalog.held["new.cxg"] = make_dataset("new.cxg")
    assert "new.cxg" in [one.name for one in summaries.read(wait_s=30).known]


def test_few_datasets_are_read_without_rests_and_many_with():
    rests = Rests()
    catalog = FakeCatalog(*many(FEW))
    made(catalog, later=rests)
    assert rests.taken == []
    summaries = Summaries(FakeCatalog(*many(4 * FEW)), later=rests)
    assert len(summaries.read(wait_s=30).pending) > FEW
    wait_until(lambda: len(rests.waiting) == 4)
    assert len(summaries.read(wait_s=0).known) <= 8
    wait_until(lambda: (rests.end(), summaries.read(wait_s=0))[1].pending == ())


def test_pages_do_not_take_all_threads_while_datasets_are_read():
    catalog = FakeCatalog(*many(3))
    catalog.gate.clear()
    summaries = Summaries(catalog)
    threads = [threading.Thread(target=summaries.read, args=(30,)) for _ in range(MOST_WAITING)]
    for thread in threads:
        thread.start()
    wait_until(lambda: summaries.waiting == MOST_WAITING)
    assert len(summaries.read(wait_s=30).pending) == 3  # it would wait for the gate, which is shut
    catalog.gate.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_a_dataset_removed_while_it_is_read_stays_removed():
    catalog = FakeCatalog(make_dataset("a.cxg"), make_dataset("b.cxg"))
    catalog.gate.clear()
    summaries = Summaries(catalog)
    summaries.read(wait_s=0)
    wait_until(lambda: len(catalog.leased) == 2)
    gone = catalog.held.pop("a.cxg")
    summaries.read(wait_s=0)
    catalog.held["x.cxg"] = gone
    del catalog.held["x.cxg"]
    catalog.gate.set()
    wait_until(lambda: [one.name for one in summaries.read(wait_s=30).known] == ["b.cxg"])
    wait_until(lambda: len(catalog.left) == 2)
    assert [one.name for one in summaries.read(wait_s=30).known] == ["b.cxg"]


def test_the_list_is_bounded():
    catalog = FakeCatalog()
    names = tuple(f"{k:05}.cxg" for k in range(MOST_LISTED + 7))
    catalog.names = lambda: names
    catalog.gate.clear()
    state = Summaries(catalog).read(wait_s=0)
    catalog.gate.set()
    assert (len(state.pending), state.left_out) == (MOST_LISTED, 7)


@pytest.mark.parametrize("known", ["one.cxg", "none.cxg"])
def test_an_unexpected_error_frees_the_thread(known, caplog):
    catalog = FakeCatalog(make_dataset("one.cxg"))
    catalog.held["none.cxg"] = ZeroDivisionError("of ours")
    summaries, clock = made(catalog, threads=1)
    clock.now += RECHECK_S + 1
    looked(summaries, catalog, 2)
    assert known in {one.name for one in summaries.read(wait_s=0).known}
