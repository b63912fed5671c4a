"""All connections of a worker, and the choice of one to close when a new one needs its place."""

from __future__ import annotations

import resource
from pathlib import Path

from cxg.worker.connection import Connection, State
from cxg.worker.limits import ClientLimits

_FEWEST = 8


class Connections:
    """The open connections; the idle ones also by the address of the client.

    Parameters
    ----------
    most : int
        Connections that may be open at a time.
    """

    def __init__(self, limits: ClientLimits, most: int) -> None:
        self.all: set[Connection] = set()
        self.most = most
        self._limits = limits
        # Both levels keep the order of arrival.
        self._idle: dict[str, dict[Connection, None]] = {}

    def add_idle(self, conn: Connection) -> None:
        """Note that a connection waits for a request."""
        self._idle.setdefault(conn.address, {})[conn] = None

    def remove_idle(self, conn: Connection) -> None:
        """Note that a connection no longer waits for a request."""
        siblings = self._idle.get(conn.address)
        if siblings is not None and siblings.pop(conn, self) is None and not siblings:
            del self._idle[conn.address]

    def victim(self, now: float) -> Connection | None:
        """Choose a connection to close for a new one; None when all are being served.

        The first choice is the oldest idle connection of the address that has the most of them; then the oldest
        refusal that is held back; then the header awaited longest; then the slowest body or answer, if it is slow.
        """
        if self._idle:
            most = max(self._idle.values(), key=len)
            return next(iter(most))
        for state in (State.REFUSED, State.HEADER, State.CLOSING):
            found = [conn for conn in self.all if conn.state is state]
            if found:
                return min(found, key=lambda conn: conn.deadline)
        return self.slowest(now, State.BODY, State.SENDING)

    def slow_request(self, now: float, least_bytes: int) -> Connection | None:
        """Choose a slow request to close for others; a late header only if `least_bytes` of it are in memory."""
        slow = self.slowest(now, State.BODY)
        if slow is not None:
            return slow
        since = now + self._limits.header_s - self._limits.recent_s
        late = [conn for conn in self.all if conn.state is State.HEADER and conn.deadline < since]
        return max((conn for conn in late if conn.counted >= least_bytes), key=lambda conn: conn.counted, default=None)

    def slowest(self, now: float, *states: State) -> Connection | None:
        """Find the slowest connection in these states, if it is slow enough to be closed for others."""
        rates = {conn: conn.rate(now) for conn in self.all if conn.state in states}
        found = min(rates, key=rates.__getitem__, default=None)
        return found if found is not None and rates[found] < self._limits.pressed_rate else None


def most_connections(wanted: int, limits: ClientLimits) -> int:
    """Return how many connections may be open: `wanted`, or fewer if the process has too few descriptors."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    folder = next((folder for folder in (Path("/proc/self/fd"), Path("/dev/fd")) if folder.is_dir()), None)
    used = len(list(folder.iterdir())) if folder else 0
    return min(wanted, max(_FEWEST, soft - used - limits.spare_descriptors))
