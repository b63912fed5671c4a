"""Time limits for calls into storage that may never return, as on a network file system whose server is gone.

A call that may hang (opening an array, reading it, listing a folder) runs in a thread of its own, and its
caller waits for a bounded time. After that the caller gets `StorageUnavailable`, and so releases every lock,
lease and share of memory; the call itself, which cannot be cancelled, stays in its thread. While it hangs,
further calls about the same dataset are refused at once, except one that tries again now and then. When the
call returns, calls about the dataset are accepted again.

Only a few threads may wait for slow calls at a time, so that some are always left for other requests.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

from cxg.errors import StorageUnavailable
from cxg.timeouts.threads import Call, Pool, is_handed_over, niceness

T = TypeVar("T")

# A worker has eight threads by default; see `create_app`.
_MOST_SLOW = 4
_SLOWLY = "The storage answers very slowly; try again soon."
_AWAY = "The storage has not answered for a while; try again soon."

_subject: ContextVar[str] = ContextVar("subject", default="")


@contextlib.contextmanager
def about(uri: str) -> Iterator[None]:
    """Count all calls of this thread as calls about the dataset at `uri`, whichever of its files they use."""
    token = _subject.set(uri)
    try:
        yield
    finally:
        _subject.reset(token)


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The times after which a call counts as slow or as hanging, in seconds, and the clock for them.

    Attributes
    ----------
    slow_s, limit_s : float
        A file system call is slow after the first time, and counts as hanging after the second.
    s3_times : int
        Factor for calls to S3, whose requests time out by themselves, each after 10 seconds and some tries
        (`cxg.storage.settings.tiledb_settings`).
    try_again_s, times : float, int
        While a call about a dataset hangs, one more is made after the first time; each further one waits `times` as
        long as the one before.
    most_stuck, open_again_s : int, float
        While this many calls of the process hang, nothing is opened, except for one try after the second time.
    tick_s : float
        Time between two looks of a waiting thread.
    clock : callable
        Returns seconds.
    """

    slow_s: float = 2.0
    limit_s: float = 15.0
    s3_times: int = 4
    try_again_s: float = 30.0
    times: int = 4
    most_stuck: int = 32
    open_again_s: float = 300.0
    tick_s: float = 0.25
    clock: Callable[[], float] = time.monotonic

    def of(self, uri: str) -> tuple[float, float]:
        """Return the seconds after which a call about `uri` is slow, and after which it hangs."""
        times = self.s3_times if uri.startswith("s3://") else 1
        return self.slow_s * times, self.limit_s * times


USUAL_LIMITS = CallLimits()


@dataclass(slots=True)
class _Trouble:
    """The hanging calls about one dataset: how many, since when the last one, whether a later one returned."""

    stuck: int = 0
    since_s: float = 0.0
    is_well: bool = False


class TimedCalls:
    """Makes the calls of one process that may hang; safe to share between threads. The first call starts a thread.

    Attributes
    ----------
    most_slow : int
        Threads that may wait for slow calls at a time.
    limits : CallLimits
    """

    def __init__(self, limits: CallLimits = USUAL_LIMITS) -> None:
        self.limits = limits
        self.most_slow = _MOST_SLOW
        self._lock = threading.Lock()
        self._pools: dict[int, Pool] = {}
        self._troubles: dict[str, _Trouble] = {}
        self._slow: dict[str, int] = {}
        self._opened_s = limits.clock()

    @property
    def stuck(self) -> int:
        """Number of calls that hang."""
        return sum(trouble.stuck for trouble in list(self._troubles.values()))

    def call(
        self, uri: str, function: Callable[[], T], *, opens: bool = False, discard: Callable[[T], None] | None = None
    ) -> T:
        """Call `function` with a time limit, and return or raise what it does.

        Parameters
        ----------
        uri : str
            Subject of the call, where `about` does not name one.
        opens : bool
            Whether the call opens something new, which is refused while very many calls hang.
        discard : callable, optional
            Gets the function's result when the caller no longer waits for it.

        Raises
        ------
        StorageUnavailable
            The call did not return in time, or others about the same dataset did not.
        """
        if is_handed_over():
            return function()
        key = _subject.get() or uri
        if self._troubles:
            self._refuse(key, opens=opens)
        if key in self._slow and self._is_full():
            raise StorageUnavailable(_SLOWLY)
        call = Call(key, function, discard)
        self._pool(niceness()).start(call)
        if not self._came_back(call) and self._abandon(call):
            raise StorageUnavailable(_AWAY)
        if self._troubles:
            self._note_well(key)
        if call.error is not None:
            try:
                raise call.error
            finally:
                del call  # the error refers to this frame, so both would live until the next garbage collection
        result: T = call.result
        return result

    @contextlib.contextmanager
    def hold(self, lock: Any, uri: str | None = None) -> Iterator[None]:
        """Hold a lock or semaphore whose holder may be waiting for a slow call.

        Parameters
        ----------
        uri : str or None
            Subject of such a call, where `about` does not name one; None for any call.

        Raises
        ------
        StorageUnavailable
            The call is slow, and too many threads wait for slow calls already.
        """
        self.acquire(lock, uri)
        try:
            yield
        finally:
            lock.release()

    def acquire(self, lock: Any, uri: str | None = None) -> None:
        """Acquire a lock as `hold` does."""
        if lock.acquire(blocking=False):
            return
        key = None if uri is None else _subject.get() or uri
        slow_s, _ = self.limits.of(key or "")
        if not self._is_slow(key) and lock.acquire(timeout=slow_s):
            return
        is_counted = False
        try:
            while not lock.acquire(timeout=min(self.limits.tick_s, slow_s)):
                if not is_counted and self._is_slow(key):
                    is_counted = self._take_slow("")
                    if not is_counted:
                        raise StorageUnavailable(_SLOWLY)
        finally:
            if is_counted:
                self._drop_slow("")

    def _refuse(self, key: str, *, opens: bool) -> None:
        """Raise StorageUnavailable if a call would most likely hang, as others do."""
        now_s = self.limits.clock()
        with self._lock:
            trouble = self._troubles.get(key)
            is_refused = False
            if trouble is not None and not trouble.is_well:
                rest_s = self.limits.try_again_s * self.limits.times ** (trouble.stuck - 1)
                is_refused = now_s - trouble.since_s <= rest_s
                if not is_refused:
                    trouble.since_s = now_s  # one try at a time
            if opens and not is_refused and self.stuck >= self.limits.most_stuck:
                is_refused = now_s - self._opened_s <= self.limits.open_again_s
                if not is_refused:
                    self._opened_s = now_s
        if is_refused:
            raise StorageUnavailable(_AWAY)

    def _came_back(self, call: Call) -> bool:
        slow_s, limit_s = self.limits.of(call.key)
        if call.done.acquire(timeout=slow_s):
            return True
        if not self._take_slow(call.key):
            return False
        try:
            until_s = time.monotonic() + limit_s - slow_s
            # A process that ends does not wait for calls.
            while (left_s := until_s - time.monotonic()) > 0 and threading.main_thread().is_alive():
                if call.done.acquire(timeout=min(left_s, self.limits.tick_s)):
                    return True
            return False
        finally:
            self._drop_slow(call.key)

    def _abandon(self, call: Call) -> bool:
        """Stop waiting for a call; return False if it returned at this moment."""
        with self._lock:
            if call.is_over:
                return False
            call.is_abandoned = True
            trouble = self._troubles.setdefault(call.key, _Trouble())
            trouble.stuck += 1
            trouble.since_s, trouble.is_well = self.limits.clock(), False
            return True

    def _note_well(self, key: str) -> None:
        with self._lock:
            if key in self._troubles:
                self._troubles[key].is_well = True

    def _end(self, call: Call) -> None:
        """Hand over the result of a call, in the thread that made it."""
        with self._lock:
            call.is_over = True
            if call.is_abandoned:
                trouble = self._troubles[call.key]
                trouble.stuck -= 1
                if not trouble.stuck:
                    del self._troubles[call.key]
        call.done.release()
        if call.is_abandoned and call.error is None and call.discard is not None:
            # No caller is left to report an error to.
            with contextlib.suppress(Exception):
                call.discard(call.result)

    def _is_slow(self, key: str | None) -> bool:
        """Return whether a call about `key` is slow; for None, whether any call is."""
        return bool(self._slow) if key is None else key in self._slow

    def _is_full(self) -> bool:
        return sum(list(self._slow.values())) >= self.most_slow

    def _take_slow(self, key: str) -> bool:
        with self._lock:
            if self._is_full():
                return False
            self._slow[key] = self._slow.get(key, 0) + 1
            return True

    def _drop_slow(self, key: str) -> None:
        with self._lock:
            self._slow[key] -= 1
            if not self._slow[key]:
                del self._slow[key]

    def _pool(self, nice: int) -> Pool:
        with self._lock:
            if nice not in self._pools:
                self._pools[nice] = Pool(nice, self._end)
            return self._pools[nice]


timed_calls = TimedCalls()
"""The instance of this process, shared by all code that reads files."""
