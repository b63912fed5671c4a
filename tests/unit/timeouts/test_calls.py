"""Calls that hang: nobody waits for good, nobody else notices, and all is well when they return."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from cxg import memory
from cxg.config import load
from cxg.errors import StorageUnavailable
from cxg.timeouts import calls as module
from cxg.timeouts.calls import CallLimits, TimedCalls, about
from cxg.web.app import create_app
from tests.background import Clock
from tests.served import stand_in_client

SHORT = CallLimits(slow_s=0.05, limit_s=0.2)
# Slow soon, but never over.
PATIENT = CallLimits(slow_s=0.05, limit_s=30.0)


class Hanging:
    """A function that returns when it is told to."""

    def __init__(self) -> None:
        self.go, self.began, self.ended = threading.Event(), threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self) -> str:
        self.began.release()
        assert self.go.wait(30)
        return "late"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    found = Hanging()
    yield found
    found.go.set()


def settle(timed_calls: TimedCalls, count: int) -> None:
    """Wait until so many calls hang."""
    until = time.monotonic() + 30
    while timed_calls.stuck != count:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_a_call_returns_or_raises_as_its_function() -> None:
    timed_calls = TimedCalls(SHORT)
    assert timed_calls.call("x", lambda: 5) == 5
    with pytest.raises(KeyError, match="why"):
        timed_calls.call("x", lambda: {}["why"])
    # One thread after the other makes them, and a call inside another one needs no thread.
    idents = {timed_calls.call("x", threading.get_ident) for _ in range(5)}
    assert threading.get_ident() not in idents
    assert timed_calls.call("x", lambda: threading.get_ident() == timed_calls.call("y", threading.get_ident))


def test_a_hanging_call_times_out_and_others_are_refused_at_once(hanging: Hanging) -> None:
    timed_calls, dropped = TimedCalls(SHORT), []
    for _ in range(3):
        with pytest.raises(StorageUnavailable, match="not answered"):
            timed_calls.call("/root/a.cxg", hanging, discard=dropped.append)
    assert timed_calls.stuck == 1
    assert not hanging.began.acquire(timeout=0) or not hanging.began.acquire(timeout=0)  # the others never began
    with about("/root/a.cxg"), pytest.raises(StorageUnavailable):
        timed_calls.call("/root/a.cxg/emb/umap", lambda: 1)
    assert timed_calls.call("/root/b.cxg", lambda: 1) == 1
    hanging.go.set()
    settle(timed_calls, 0)
    assert timed_calls.call("/root/a.cxg", lambda: 2) == 2
    until = time.monotonic() + 30
    while not dropped and time.monotonic() < until:
        time.sleep(0.001)
    assert dropped == ["late"]


def test_retries_become_rarer_while_a_call_hangs(hanging: Hanging) -> None:
    clock = Clock()
    timed_calls = TimedCalls(replace(SHORT, clock=clock))
    with pytest.raises(StorageUnavailable):
        timed_calls.call("a", hanging)
    clock.now += 31
    with pytest.raises(StorageUnavailable):
        timed_calls.call("a", hanging)
    assert timed_calls.stuck == 2
    for passed_s in (31, 88):
        clock.now += passed_s
        with pytest.raises(StorageUnavailable):
            timed_calls.call("a", lambda: 1)
    clock.now += 2
    assert timed_calls.call("a", lambda: 1) == 1


def test_a_call_that_returns_ends_the_refusals(hanging: Hanging) -> None:
    clock = Clock()
    timed_calls = TimedCalls(replace(SHORT, clock=clock))
    with pytest.raises(StorageUnavailable):
        timed_calls.call("a", hanging)
    clock.now += 31
    assert timed_calls.call("a", lambda: 1) == 1
    assert timed_calls.call("a", lambda: 2) == 2
    assert timed_calls.stuck == 1


def test_only_a_few_threads_wait_for_slow_calls(hanging: Hanging) -> None:
    timed_calls = TimedCalls(PATIENT)
    timed_calls.most_slow = 2
    with ThreadPoolExecutor(5) as pool:
        futures = [pool.submit(timed_calls.call, "a", hanging) for _ in range(5)]
        settle(timed_calls, 3)
        assert sum(future.done() for future in futures) >= 2
        hanging.go.set()
        ends = [future.exception() for future in futures]
    assert ends.count(None) == 2
    assert all(isinstance(end, StorageUnavailable) for end in ends if end is not None)


def test_waiting_for_a_lock_ends_when_its_holder_waits_for_a_slow_call(hanging: Hanging) -> None:
    timed_calls, lock = TimedCalls(PATIENT), threading.Lock()
    timed_calls.most_slow = 1

    def hold() -> None:
        with timed_calls.hold(lock, "a"):
            timed_calls.call("a", hanging)

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        assert hanging.began.acquire(timeout=30)
        with pytest.raises(StorageUnavailable, match="slowly"):
            timed_calls.acquire(lock, "a")
        hanging.go.set()
        holder.result()
    with timed_calls.hold(lock, "a"):
        assert lock.locked()
    assert not lock.locked()


class Watched:
    """A lock that tells how often somebody waited for it in vain."""

    def __init__(self) -> None:
        self._lock, self.in_vain = threading.Lock(), threading.Semaphore(0)
        self.release = self._lock.release

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        is_mine = self._lock.acquire(blocking, timeout)
        if not is_mine:
            self.in_vain.release()
        return is_mine


def test_waiting_for_a_lock_lasts_while_its_holder_works() -> None:
    timed_calls, lock = TimedCalls(CallLimits(slow_s=0.01, limit_s=0.02)), Watched()
    with ThreadPoolExecutor(1) as pool:
        lock.acquire()
        waiter = pool.submit(timed_calls.acquire, lock, "a")
        for _ in range(10):  # longer than any limit
            assert lock.in_vain.acquire(timeout=30)
        assert not waiter.done()
        lock.release()
        waiter.result(30)


def test_nothing_is_opened_while_very_many_calls_hang(hanging: Hanging) -> None:
    clock = Clock()
    timed_calls = TimedCalls(replace(SHORT, most_stuck=3, clock=clock))
    for number in range(3):
        with pytest.raises(StorageUnavailable):
            timed_calls.call(str(number), hanging, opens=True)
    with pytest.raises(StorageUnavailable):
        timed_calls.call("new", lambda: 1, opens=True)
    assert timed_calls.call("open", lambda: 1) == 1
    clock.now += 301
    assert timed_calls.call("new", lambda: 1, opens=True) == 1
    with pytest.raises(StorageUnavailable):
        timed_calls.call("newer", lambda: 1, opens=True)


def test_s3_has_more_time() -> None:
    assert SHORT.of("/root/a.cxg") == (0.05, 0.2)
    assert SHORT.of("s3://bucket/a.cxg") == (0.2, 0.8)


def test_half_the_threads_of_a_worker_may_wait_for_slow_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.timed_calls, "most_slow", 0)
    config = load("", {"CXG_DATAROOT": str(tmp_path)}).config
    for threads, most in ((8, 4), (5, 2), (1, 1)):
        plan = memory.MemoryPlan(total_mb=1000, workers=1, threads=threads, answers_mb=16)
        create_app(config, stand_in_client(tmp_path / "client"), plan=plan)
        assert module.timed_calls.most_slow == most
