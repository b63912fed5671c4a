"""Long reads take turns: each address has the same share, and each dataset of an address; nobody is starved."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cxg.errors import Busy
from cxg.web.limits.turns import Turn, Turns

WAIT_S = 20.0


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Reader:
    """A long read in a thread of its own, that takes one step at a time."""

    def __init__(self, turns: Turns, clock: Clock, address: str, dataset: str = "a", steps: int = 1) -> None:
        self.address, self.turns, self.clock = address, turns, clock
        self.steps, self.step_s = steps, 1.0
        self.go, self.inside, self.done = threading.Semaphore(0), threading.Event(), threading.Event()
        self.refused = False
        self.log: list[str] = LOG
        self.dataset = dataset
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            with self.turns.turn(self.address, self.dataset) as turn:
                self.inside.set()
                for _ in range(self.steps):
                    assert self.go.acquire(timeout=WAIT_S)
                    self.log.append(self.address + self.dataset)
                    self.clock.now += self.step_s
                    turn.pause()
        except Busy:
            self.refused = True
        self.done.set()


LOG: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    LOG.clear()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def settle(turns: Turns, waiting: int) -> None:
    """Wait until so many wait."""
    for _ in range(20_000):
        if turns.waiting == waiting:
            return
        threading.Event().wait(0.001)
    pytest.fail(f"{turns.waiting} wait, not {waiting}")


@contextmanager
def held(turns: Turns, address: str = "x", dataset: str = "a") -> Iterator[Turn]:
    with turns.turn(address, dataset) as turn:
        yield turn


def test_another_address_comes_next_however_many_wait(clock: Clock) -> None:
    turns = Turns(6, clock)
    with held(turns, "hog"):
        hogs = [Reader(turns, clock, "hog")]
        settle(turns, 1)
        hogs += [Reader(turns, clock, "hog") for _ in range(3)]
        settle(turns, 4)
        visitor = Reader(turns, clock, "visitor")
        settle(turns, 5)
        clock.now += 1
    assert visitor.inside.wait(WAIT_S)
    for reader in (visitor, *hogs):
        reader.go.release()
    for reader in (visitor, *hogs):
        assert reader.done.wait(WAIT_S)
        assert not reader.refused
    assert LOG[0] == "visitora"


def test_another_dataset_of_the_same_address_comes_next(clock: Clock) -> None:
    turns = Turns(6, clock)
    with held(turns, "institute", "a"):
        first = [Reader(turns, clock, "institute", "a") for _ in range(3)]
        settle(turns, 3)
        other = Reader(turns, clock, "institute", "b")
        settle(turns, 4)
        clock.now += 1
    assert other.inside.wait(WAIT_S)
    for reader in (other, *first):
        reader.go.release()
    for reader in (other, *first):
        assert reader.done.wait(WAIT_S)
    assert LOG[0] == "instituteb"


def test_a_long_read_gives_way_to_a_newcomer_and_goes_on_after(clock: Clock) -> None:
    turns = Turns(6, clock)
    long = Reader(turns, clock, "long", steps=3)
    assert long.inside.wait(WAIT_S)
    long.go.release()
    short = Reader(turns, clock, "short")
    short.step_s = 0.001
    settle(turns, 1)
    long.go.release()
    assert short.inside.wait(WAIT_S)
    assert not long.done.is_set()
    short.go.release()
    assert short.done.wait(WAIT_S)
    long.go.release()
    assert long.done.wait(WAIT_S)
    assert LOG[-1] == "longa"
    assert LOG.count("longa") == 3


def test_two_long_reads_alternate(clock: Clock) -> None:
    turns = Turns(6, clock)
    readers = [Reader(turns, clock, address, steps=4) for address in ("one", "two")]
    settle(turns, 1)
    for reader in readers:
        reader.go.release(4)
    for reader in readers:
        assert reader.done.wait(WAIT_S)
    assert "".join(entry[:3] for entry in LOG).count("oneoneone") == 0
    assert "".join(entry[:3] for entry in LOG).count("twotwotwo") == 0


def test_a_single_read_gets_more_than_an_address_with_many(clock: Clock) -> None:
    turns = Turns(6, clock)
    hogs = [Reader(turns, clock, "hog", steps=4)]
    assert hogs[0].inside.wait(WAIT_S)
    for waiting in (1, 2, 3):
        hogs.append(Reader(turns, clock, "hog", steps=4))
        settle(turns, waiting)
    single = Reader(turns, clock, "single", steps=8)
    settle(turns, 4)
    for reader in (*hogs, single):
        reader.go.release(reader.steps)
    for reader in (*hogs, single):
        assert reader.done.wait(WAIT_S)
        assert not reader.refused
    # With equal shares it would be one after each of its own.
    before = LOG[: len(LOG) - LOG[::-1].index("singlea")]
    assert before.count("hoga") == 2


def test_many_reads_are_read_in_small_pieces_while_others_come(clock: Clock) -> None:
    turns = Turns(6, clock)
    with held(turns, "hog") as turn:
        hog = Reader(turns, clock, "hog")
        settle(turns, 1)
        assert not turn.pause()
        visitor = Reader(turns, clock, "visitor")
        settle(turns, 2)
        assert turn.pause()
        visitor.go.release()
        clock.now += 1
        assert turn.pause()  # the visitor has come and gone
        assert visitor.done.wait(WAIT_S)
        clock.now += 11
        assert not turn.pause()
    hog.go.release()
    assert hog.done.wait(WAIT_S)


def test_a_single_read_is_not_read_in_small_pieces(clock: Clock) -> None:
    turns = Turns(6, clock)
    with held(turns, "visitor") as turn:
        hogs = [Reader(turns, clock, "hog") for _ in range(2)]
        settle(turns, 2)
        assert not turn.pause()
    for hog in hogs:
        hog.go.release()
    assert all(hog.done.wait(WAIT_S) for hog in hogs)


def test_one_address_alone_is_never_interrupted(clock: Clock) -> None:
    turns = Turns(6, clock)
    with held(turns, "only") as turn:
        others = [Reader(turns, clock, "only") for _ in range(5)]
        settle(turns, 5)
        clock.now += 100
        turn.pause()  # would wait for ever
    for reader in others:
        reader.go.release()
    for reader in others:
        assert reader.done.wait(WAIT_S)
        assert not reader.refused


def test_a_newcomer_replaces_the_last_read_of_the_address_with_most(clock: Clock) -> None:
    turns = Turns(4, clock)
    with held(turns, "earlier"):
        clock.now += 100  # so that nobody waits for a place
    with held(turns, "hog"):
        hogs = []
        for number in range(3):
            hogs.append(Reader(turns, clock, "hog"))
            settle(turns, number + 1)
        visitor = Reader(turns, clock, "visitor")
        assert hogs[-1].done.wait(WAIT_S)
        assert hogs[-1].refused
        settle(turns, 3)
        with pytest.raises(Busy):  # one more of theirs finds none
            turns.refuse_if_full("hog", "a")
        turns.refuse_if_full("visitor", "a")
        turns.refuse_if_full("third", "a")
    for reader in (visitor, *hogs[:2]):
        reader.go.release()
    for reader in (visitor, *hogs[:2]):
        assert reader.done.wait(WAIT_S)
        assert not reader.refused


def test_one_address_alone_may_take_all_places(clock: Clock) -> None:
    turns = Turns(4, clock)
    with held(turns, "only"):
        readers = [Reader(turns, clock, "only") for _ in range(3)]
        settle(turns, 3)
    for reader in readers:
        reader.go.release()
    for reader in readers:
        assert reader.done.wait(WAIT_S)
    assert not any(reader.refused for reader in readers)


def test_no_request_waits_for_a_place_when_reads_are_long(clock: Clock) -> None:
    turns = Turns(1, clock)
    with held(turns):
        clock.now += 10
    with held(turns), pytest.raises(Busy), turns.turn("x", "a"):
        pass


def test_a_read_that_waits_too_long_is_refused(clock: Clock) -> None:
    turns = Turns(4, clock, wait_s=0.01)
    with held(turns), pytest.raises(Busy), turns.turn("y", "a"):
        pass
    assert turns.waiting == 0


def test_a_failed_read_leaves_nothing_behind(clock: Clock) -> None:
    turns = Turns(2, clock)
    for _ in range(5):
        with pytest.raises(ValueError), held(turns):
            raise ValueError
    with held(turns, "other"):
        pass
    assert turns.waiting == 0


def test_at_most_a_thousand_addresses_are_remembered(clock: Clock) -> None:
    """Else whoever has very many addresses could fill the memory."""
    turns = Turns(2, clock)

    def read(first: int) -> int:
        for number in range(first, first + 1500):
            with held(turns, f"{number:01000}"):
                pass
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = read(0)
        assert read(1500) - before < 750_000
    finally:
        tracemalloc.stop()


def test_an_absent_address_saves_up_no_time(clock: Clock) -> None:
    """Who was away for an hour does not then have everything for an hour."""
    turns = Turns(6, clock)
    with held(turns, "late"):
        pass
    with held(turns, "busy"):
        clock.now += 3600
        late = Reader(turns, clock, "late", steps=3)
        settle(turns, 1)
        busy = Reader(turns, clock, "busy", steps=3)
        settle(turns, 2)
    late.go.release(3)
    busy.go.release(3)
    assert late.done.wait(WAIT_S)
    assert busy.done.wait(WAIT_S)
    assert LOG != ["latea"] * 3 + ["busya"] * 3


def test_time_that_no_other_read_waited_for_does_not_count(clock: Clock) -> None:
    """A visitor who worked for an hour while nobody else was there has the same share afterwards."""
    turns = Turns(6, clock)
    with held(turns, "regular"):
        clock.now += 3600
    with held(turns, "new") as turn:
        regular = Reader(turns, clock, "regular")
        settle(turns, 1)
        clock.now += 1
        waiter = threading.Thread(target=turn.pause, daemon=True)
        waiter.start()
        assert regular.inside.wait(WAIT_S)
        regular.go.release()
        assert regular.done.wait(WAIT_S)
        waiter.join(WAIT_S)
        assert not waiter.is_alive()


def test_a_paused_read_that_fails_leaves_nothing_behind(clock: Clock) -> None:
    """One of its threads waits for the next turn when another one fails."""
    turns = Turns(6, clock)
    started: list[Reader] = []

    def fail() -> None:
        with held(turns, "long") as turn:
            started.append(Reader(turns, clock, "other"))
            settle(turns, 1)
            clock.now += 1
            threading.Thread(target=turn.pause, daemon=True).start()
            assert started[0].inside.wait(WAIT_S)
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    started[0].go.release()
    assert started[0].done.wait(WAIT_S)
    assert turns.waiting == 0
