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
from cxg.timeouts.calls import CallLimits, Stalls, about
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


def settle(stalls: Stalls, count: int) -> None:
    """Wait until so many calls hang."""
    until = time.monotonic() + 30
    while stalls.stuck != count:
        assert time.monotonic() < until
        time.sleep(0.001)


def test_a_call_returns_or_raises_as_its_function() -> None:
    stalls = Stalls(SHORT)
    assert stalls.call("x", lambda: 5) == 5
    with pytest.raises(KeyError, match="why"):
        stalls.call("x", lambda: {}["why"])
    # One thread after the other makes them, and a call inside another one needs no thread.
    idents = {stalls.call("x", threading.get_ident) for _ in range(5)}
    assert threading.get_ident() not in idents
    assert stalls.call("x", lambda: threading.get_ident() == stalls.call("y", threading.get_ident))


def test_a_hanging_call_times_out_and_others_are_refused_at_once(hanging: Hanging) -> None:
    stalls, dropped = Stalls(SHORT), []
    for _ in range(3):
        with pytest.raises(StorageUnavailable, match="not answered"):
            stalls.call("/root/a.cxg", hanging, discard=dropped.append)
    assert stalls.stuck == 1
    assert not hanging.began.acquire(timeout=0) or not hanging.began.acquire(timeout=0)  # the others never began
    with about("/root/a.cxg"), pytest.raises(StorageUnavailable):
        stalls.call("/root/a.cxg/emb/umap", lambda: 1)
    assert stalls.call("/root/b.cxg", lambda: 1) == 1
    hanging.go.set()
    settle(stalls, 0)
    assert stalls.call("/root/a.cxg", lambda: 2) == 2
    until = time.monotonic() + 30
    while not dropped and time.monotonic() < until:
        time.sleep(0.001)
    assert dropped == ["late"]


def test_retries_become_rarer_while_a_call_hangs(hanging: Hanging) -> None:
    clock = Clock()
    stalls = Stalls(replace(SHORT, clock=clock))
    with pytest.raises(StorageUnavailable):
        stalls.call("a", hanging)
    clock.now += 31
    with pytest.raises(StorageUnavailable):
        stalls.call("a", hanging)
    assert stalls.stuck == 2
    for passed_s in (31, 88):
        clock.now += passed_s
        with pytest.raises(StorageUnavailable):
            stalls.call("a", lambda: 1)
    clock.now += 2
    assert stalls.call("a", lambda: 1) == 1


def test_a_call_that_returns_ends_the_refusals(hanging: Hanging) -> None:
    clock = Clock()
    stalls = Stalls(replace(SHORT, clock=clock))
    with pytest.raises(StorageUnavailable):
        stalls.call("a", hanging)
    clock.now += 31
    assert stalls.call("a", lambda: 1) == 1
    assert stalls.call("a", lambda: 2) == 2
    assert stalls.stuck == 1


def test_only_a_few_threads_wait_for_slow_calls(hanging: Hanging) -> None:
    stalls = Stalls(PATIENT)
    stalls.most_slow = 2
    with ThreadPoolExecutor(5) as pool:
        futures = [pool.submit(stalls.call, "a", hanging) for _ in range(5)]
        settle(stalls, 3)
        assert sum(future.done() for future in futures) >= 2
        hanging.go.set()
        ends = [future.exception() for future in futures]
    assert ends.count(None) == 2
    assert all(isinstance(end, StorageUnavailable) for end in ends if end is not None)


def test_waiting_for_a_lock_ends_when_its_holder_waits_for_a_slow_call(hanging: Hanging) -> None:
    stalls, lock = Stalls(PATIENT), threading.Lock()
    stalls.most_slow = 1

    def hold() -> None:
        with stalls.hold(lock, "a"):
            stalls.call("a", hanging)

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        assert hanging.began.acquire(timeout=30)
        with pytest.raises(StorageUnavailable, match="slowly"):
            stalls.acquire(lock, "a")
        hanging.go.set()
        holder.result()
    with stalls.hold(lock, "a"):
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
    stalls, lock = Stalls(CallLimits(slow_s=0.01, limit_s=0.02)), Watched()
    with ThreadPoolExecutor(1) as pool:
        lock.acquire()
        waiter = pool.submit(stalls.acquire, lock, "a")
        for _ in range(10):  # longer than any limit
            assert lock.in_vain.acquire(timeout=30)
        assert not waiter.done()
        lock.release()
        waiter.result(30)


def test_nothing_is_opened_while_very_many_calls_hang(hanging: Hanging) -> None:
    clock = Clock()
    stalls = Stalls(replace(SHORT, most_stuck=3, clock=clock))
    for number in range(3):
        with pytest.raises(StorageUnavailable):
            stalls.call(str(number), hanging, opens=True)
    with pytest.raises(StorageUnavailable):
        stalls.call("new", lambda: 1, opens=True)
    assert stalls.call("open", lambda: 1) == 1
    clock.now += 301
    assert stalls.call("new", lambda: 1, opens=True) == 1
    with pytest.raises(StorageUnavailable):
        stalls.call("newer", lambda: 1, opens=True)


def test_s3_has_more_time() -> None:
    assert SHORT.of("/root/a.cxg") == (0.05, 0.2)
    assert SHORT.of("s3://bucket/a.cxg") == (0.2, 0.8)


def test_half_the_threads_of_a_worker_may_wait_for_slow_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.stalls, "most_slow", 0)
    config = load("", {"CXG_DATAROOT": str(tmp_path)}).config
    for threads, most in ((8, 4), (5, 2), (1, 1)):
        plan = memory.MemoryPlan(total_mb=1000, workers=1, threads=threads, answers_mb=16)
        create_app(config, stand_in_client(tmp_path / "client"), plan=plan)
        assert module.stalls.most_slow == most
