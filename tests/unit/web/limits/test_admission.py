"""What is in memory at a time: long reads one by one, other answers as long as they fit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

import pytest

from cxg.errors import Busy
from cxg.web.limits import turns as turns_module
from cxg.web.limits.admission import Admission

WAIT_S = 20.0


def entered(room: Callable[[], AbstractContextManager[None]]) -> tuple[threading.Event, threading.Thread]:
    """Enter a room from a thread of its own; the event is set once it is inside."""
    inside = threading.Event()

    def run() -> None:
        with room():
            inside.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return inside, thread


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """Released whenever another thread begins to wait for a condition."""
    begun, main, wait = threading.Semaphore(0), threading.current_thread(), threading.Condition.wait

    def watched(condition: threading.Condition, timeout: float | None = None) -> bool:
        if threading.current_thread() is not main:
            begun.release()
        return wait(condition, timeout)

    monkeypatch.setattr(threading.Condition, "wait", watched)
    return begun


def test_long_reads_take_turns(waits: threading.Semaphore) -> None:
    work = Admission(100, 6)
    for other in (work.long_read, work.background_scan):
        with work.long_read():
            inside, _ = entered(other)
            assert waits.acquire(timeout=WAIT_S)
            assert not inside.is_set()
        assert inside.wait(WAIT_S)


def test_some_threads_are_left_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns_module, "PATIENCE_S", 0.05)
    work = Admission(100, 2)
    with work.background_scan():
        waiting = [entered(work.long_read) for _ in range(2)]
        while work.turns.waiting < 2:
            threading.Event().wait(0.001)
        with pytest.raises(Busy, match="try again soon"), work.long_read():
            pass
    for inside, thread in waiting:
        assert inside.wait(WAIT_S)
        thread.join(WAIT_S)
    with work.long_read():  # whoever was refused left nothing behind
        pass


def test_short_reads_are_never_refused() -> None:
    work = Admission(100, 1)
    with work.long_read():
        waiting = [entered(work.long_read) for _ in range(3)]
    for inside, _ in waiting:
        assert inside.wait(WAIT_S)


def test_answers_are_made_at_the_same_time_while_they_fit(waits: threading.Semaphore) -> None:
    work = Admission(100, 1)
    with ExitStack() as others:
        for _ in range(2):
            others.enter_context(work.memory(40))
        inside, _ = entered(lambda: work.memory(40))
        assert waits.acquire(timeout=WAIT_S)
        assert not inside.is_set()
        with work.memory(20):
            pass
    assert inside.wait(WAIT_S)


@pytest.mark.parametrize("size", [None, 1000])
def test_an_answer_larger_than_the_whole_room_is_made_alone(size: int | None, waits: threading.Semaphore) -> None:
    work = Admission(100, 1)
    with work.memory(1):
        inside, _ = entered(lambda: work.memory(size))
        assert waits.acquire(timeout=WAIT_S)
        assert not inside.is_set()
    assert inside.wait(WAIT_S)
    with work.memory(100):
        pass


def test_a_failure_releases_its_memory() -> None:
    work = Admission(100, 1)
    for room in (work.long_read, work.background_scan, lambda: work.memory(100)):
        with pytest.raises(ValueError), room():
            raise ValueError
        with room():
            pass
