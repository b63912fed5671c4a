"""The bytes in memory of requests that are incomplete or wait for a thread."""

from __future__ import annotations

import time
from collections.abc import Callable

from cxg.worker.client_socket import ClientSocket
from cxg.worker.connection import Connection, State
from cxg.worker.connections import Connections
from cxg.worker.limits import ClientLimits

# The first bytes of a request are received even when memory is full.
ALWAYS_BYTES = 4 << 10


class Receiving:
    """Counts received bytes; beyond the bound it closes slow requests, and the others take turns.

    Parameters
    ----------
    held : set of ClientSocket
        Connections for which a thread waits.
    close, watch : callable
        `close` closes a connection at once; `watch` waits for it to receive more.
    """

    def __init__(
        self,
        limits: ClientLimits,
        connections: Connections,
        held: set[ClientSocket],
        close: Callable[[Connection], None],
        watch: Callable[[Connection], None],
    ) -> None:
        self._limits, self._connections, self._held = limits, connections, held
        self._close, self._watch = close, watch
        self._bytes = 0
        self._paused: set[Connection] = set()
        self._leader: Connection | None = None

    def count(self, conn: Connection) -> None:
        """Count the bytes of a request that are in memory."""
        size = len(conn.sock.buffer)
        self._bytes += size - conn.counted
        conn.counted = size
        if self._paused and not self._is_full():
            self._let_some_go_on()

    def may_receive(self, conn: Connection) -> bool:
        """Return whether a request may receive more; close slow ones to make room, or pause this one."""
        if not self._is_full() or len(conn.sock.buffer) < ALWAYS_BYTES:
            return True
        self._close_slow()
        if conn.state is State.CLOSED:
            return False
        if not self._is_full() or self._leader is conn:
            return True
        if self._may_lead():
            self._leader = conn
            return True
        conn.paused, conn.deadline = True, time.monotonic() + self._limits.stall_s
        self._paused.add(conn)
        self._watch(conn)
        return False

    def release(self, conn: Connection) -> None:
        """Note that a request receives no more."""
        conn.paused = False
        self._paused.discard(conn)
        if self._leader is conn:
            self._leader = None
            self._let_some_go_on()

    def relieve(self) -> None:
        """Resume paused requests if there is room; the loop calls this at each tick."""
        if self._paused:
            self._close_slow()
            self._let_some_go_on()

    def _is_full(self) -> bool:
        return self._bytes >= self._limits.receiving_bytes

    def _may_lead(self) -> bool:
        """Return whether one request may go on beyond the bound; otherwise all would wait for each other."""
        return self._leader is None and self._bytes < self._limits.receiving_bytes + self._limits.spool_bytes

    def _close_slow(self) -> None:
        while self._is_full():
            slow = self._connections.slow_request(time.monotonic(), ALWAYS_BYTES)
            if slow is None:
                break
            self._close(slow)
        else:
            return
        # Threads wait for these clients; a reset ends the wait, and the threads release their memory.
        for sock in list(self._held):
            if sock.pace is not None and sock.pace.rate < self._limits.pressed_rate:
                sock.hang_up()

    def _let_some_go_on(self) -> None:
        """Resume the paused requests that fit, shortest rest first; one may go beyond the bound."""
        room = self._limits.receiving_bytes - self._bytes
        for conn in sorted(self._paused, key=lambda waiting: waiting.missing_bytes()):
            room -= conn.missing_bytes()
            if room < 0:
                if not self._may_lead():
                    return
                self._leader = conn
            self._resume(conn)

    def _resume(self, conn: Connection) -> None:
        if not conn.paused:
            return
        conn.paused = False
        self._paused.discard(conn)
        if conn.state is State.BODY:
            conn.start_pace(time.monotonic())
        else:
            conn.deadline = time.monotonic() + self._limits.header_s
        self._watch(conn)
