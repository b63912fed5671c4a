"""Threads that make calls for other threads, which need not wait forever; see `cxg.timeouts.calls`."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

_MOST_IDLE = 16

_niceness: ContextVar[int] = ContextVar("niceness", default=0)
_here = threading.local()


def is_handed_over() -> bool:
    """Return whether this thread makes a call for another one."""
    return getattr(_here, "is_handed_over", False)


def niceness() -> int:
    """Return the niceness of this thread."""
    return _niceness.get()


def be_nice(niceness: int) -> None:
    """Lower the priority of this thread, and of the threads that its calls are handed to."""
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), niceness)
    _niceness.set(niceness)


class Call:
    """One call that was handed to another thread."""

    __slots__ = ("discard", "done", "error", "function", "is_abandoned", "is_over", "key", "result")

    def __init__(self, key: str, function: Callable[[], Any], discard: Callable[[Any], None] | None) -> None:
        self.key, self.function, self.discard = key, function, discard
        self.result: Any = None
        self.error: BaseException | None = None
        self.is_abandoned = self.is_over = False
        self.done = threading.Lock()
        self.done.acquire()


class Pool:
    """Threads that make calls, as many as there are calls at a time."""

    def __init__(self, niceness: int, end: Callable[[Call], None]) -> None:
        self._niceness, self._end = niceness, end
        self._lock = threading.Lock()
        self._idle = 0
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()

    def start(self, call: Call) -> None:
        """Make a call in a thread, which releases `call.done` when it is over."""
        with self._lock:
            is_new_needed = self._idle == 0
            if not is_new_needed:
                self._idle -= 1
        self._calls.put(call)
        if is_new_needed:
            # A daemon: the process must be able to end while a call hangs; see `cxg.timeouts.process_end`.
            threading.Thread(target=self._work, name="storage", daemon=True).start()

    def _work(self) -> None:
        _here.is_handed_over = True
        if self._niceness:
            be_nice(self._niceness)
        while True:
            call = self._calls.get()
            try:
                call.result = call.function()
            except BaseException as error:  # noqa: BLE001  (every error is raised again in the caller's thread)
                call.error = error
            with self._lock:
                stays = self._idle < _MOST_IDLE
                self._idle += stays
            self._end(call)
            del call
            if not stays:
                return
