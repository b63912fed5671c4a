"""Answers that wait for their clients: the threads that stay with them, and their bytes in memory."""

from __future__ import annotations

import threading
import time
from collections import Counter

from cxg.worker.client_socket import ClientSocket
from cxg.worker.connection import Connection
from cxg.worker.limits import ClientLimits

_STEP_S = 0.1
_SMALL_BYTES = 64 << 10


class LingeringThreads:
    """Lets a thread stay with its answer for a moment, since a fast client takes it before the loop would act.

    Parameters
    ----------
    most : int
        Threads that may stay at a time.
    """

    def __init__(self, most: int) -> None:
        self._places = threading.Semaphore(most)

    def flush(self, sock: ClientSocket) -> None:
        """Send as much as the client takes now.

        Raises
        ------
        OSError
            The client is gone.
        """
        sock.flush()
        if not sock.pending or not self._places.acquire(blocking=False):
            return
        try:
            sock.flush_waiting()
        finally:
            self._places.release()


class Sending:
    """Counts answers under way, each body once, and holds back threads while the answers take too much memory.

    Parameters
    ----------
    threads : int
        Threads that make answers; while more than half of them wait for room, a client has to be faster.
    """

    def __init__(self, limits: ClientLimits, threads: int) -> None:
        self._limits, self._most_waiting = limits, threads // 2
        self._changed = threading.Condition()
        self._bodies: dict[Connection, tuple[int, int]] = {}
        self._counts: Counter[int] = Counter()
        self._total_bytes = self._waiting = 0

    def enter(self, conn: Connection) -> None:
        """Count the answer of `conn`, without waiting."""
        identity, size = conn.sock.body_in_memory()
        with self._changed:
            self._bodies[conn] = identity, size
            self._counts[identity] += 1
            if self._counts[identity] == 1:
                self._total_bytes += size

    def leave(self, conn: Connection) -> None:
        """Stop counting an answer: the client has taken it, or is gone."""
        with self._changed:
            known = self._bodies.pop(conn, None)
            if known is None:
                return
            identity, size = known
            self._counts[identity] -= 1
            if not self._counts[identity]:
                del self._counts[identity]
                self._total_bytes -= size
            self._changed.notify_all()

    def wait(self, conn: Connection) -> None:
        """Wait until all answers fit, or this one is sent; meanwhile reset the slowest clients."""
        with self._changed:
            # A small answer takes less memory than a waiting thread.
            if self._fits(conn) or self._bodies[conn][1] < _SMALL_BYTES:
                return
            self._waiting += 1
            try:
                while not self._fits(conn):
                    self._give_up_one()
                    self._changed.wait(_STEP_S)
            finally:
                self._waiting -= 1

    def _fits(self, conn: Connection) -> bool:
        if conn not in self._bodies:
            return True
        return self._total_bytes <= max(self._limits.sending_bytes, self._bodies[conn][1])

    def _give_up_one(self) -> None:
        now = time.monotonic()
        rates = {other: other.rate(now) for other in self._bodies}
        slowest = min(rates, key=rates.__getitem__)
        many = self._waiting > self._most_waiting
        if rates[slowest] < (self._limits.crowded_rate if many else self._limits.pressed_rate):
            slowest.sock.hang_up()
