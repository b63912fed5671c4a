"""A clock that stands still, and background work that a test starts, holds or waits for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any


class Clock:
    """Seconds that pass only when the test says so, or somebody sleeps."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        """Take the time, without waiting."""
        self.now += seconds


class Background:
    """Stands in for the thread of `cxg.decoded.pace.Pace`: what is started waits until `run`."""

    def __init__(self) -> None:
        self.started = 0
        self._waiting: list[Callable[[], None]] = []

    def __call__(self, work: Callable[[], None]) -> None:
        self.started += 1
        self._waiting.append(work)

    def run(self) -> None:
        """Do what was started, in this thread."""
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()


class Threads(ThreadPoolExecutor):
    """A few threads whose work can be counted and waited for."""

    def __init__(self, most: int = 4) -> None:
        super().__init__(most)
        self.submitted: list[Future[Any]] = []

    def submit(self, *args: Any, **options: Any) -> Future[Any]:
        future = super().submit(*args, **options)
        self.submitted.append(future)
        return future

    def settle(self) -> None:
        """Wait until all work is done, also what was submitted by other work."""
        while left := [future for future in self.submitted if not future.done()]:
            assert wait(left, 30).not_done == set()
