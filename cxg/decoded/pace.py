"""When datasets are decoded, and how decoding gives way to visitors."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from cxg.decoded.matrix import ReadRange
from cxg.timeouts.threads import be_nice

_NICE = 10


class ProcessEnds(Exception):
    """The main thread is gone, and the process waits for this one."""


def start_thread(work: Callable[[], None]) -> None:
    """Run `work` in a thread of its own, to which the system gives a processor after all others."""

    def run() -> None:
        be_nice(_NICE)
        work()

    # No daemon: those are torn out of TileDB when the process ends, which aborts it.
    threading.Thread(target=run, name="decode").start()


@dataclass(frozen=True, slots=True)
class Pace:
    """Times of decoding, in seconds, and what they are measured and waited for with.

    Attributes
    ----------
    delay_s : float
        Time between the first visit of a dataset and its decoding.
    again_after_s : float
        Shortest time after which a copy that another dataset pushed out is made again.
    touch_s : float
        How often the use of a copy is noted.
    quiet_s, patience_s : float
        Decoding pauses for `quiet_s` after a visit, at most `patience_s` in one go, since the threads of a process
        share one interpreter.
    tick_s : float
        How often a pause looks whether the process ends.
    clock, sleep : callable
        By default those of the system.
    start : callable
        Runs work in the background.
    """

    delay_s: float = 2.0
    again_after_s: float = 600.0
    touch_s: float = 60.0
    quiet_s: float = 0.25
    patience_s: float = 0.5
    tick_s: float = 0.05
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    start: Callable[[Callable[[], None]], None] = start_thread

    def pause(self, seconds: float) -> None:
        """Sleep; raises ProcessEnds as soon as the process wants to end."""
        until = self.clock() + seconds
        while True:
            if not threading.main_thread().is_alive():
                raise ProcessEnds
            left = until - self.clock()
            if left <= 0:
                return
            self.sleep(min(left, self.tick_s))


USUAL_PACE = Pace()


class Visits:
    """When somebody of this process last waited for an answer."""

    def __init__(self, pace: Pace) -> None:
        self._pace, self._last_s = pace, float("-inf")

    def note(self) -> None:
        """Note that somebody waits now."""
        self._last_s = self._pace.clock()

    def politely(self, read: ReadRange, reading: Callable[[], AbstractContextManager[None]]) -> ReadRange:
        """Wrap `read`: it waits while visitors ask, for a bounded time at each range, and runs inside `reading`."""
        pace = self._pace

        def read_range(start: int, stop: int) -> Any:
            began = pace.clock()
            pace.pause(0)
            while (now := pace.clock()) - self._last_s < pace.quiet_s and now - began < pace.patience_s:
                pace.pause(pace.tick_s)
            with reading():
                return read(start, stop)

        return read_range
