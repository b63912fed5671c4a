"""How fast the bytes of a body or an answer move."""

from __future__ import annotations

import math

from cxg.worker.limits import Limits


class _Window:
    """The rate over the last full window of some length."""

    __slots__ = ("_length_s", "_since", "_total", "rate")

    def __init__(self, length_s: float, now: float, total: int) -> None:
        self._length_s, self._since, self._total = length_s, now, total
        self.rate = math.inf

    def observe(self, now: float, total: int) -> None:
        if now - self._since >= self._length_s:
            self.rate = (total - self._total) / (now - self._since)
            self._since, self._total = now, total


class Pace:
    """Bytes moved so far, seen from time to time; until the first window is over nobody is slow.

    Parameters
    ----------
    total : bytes moved until now
    """

    __slots__ = ("_least_rate", "_long", "_recent")

    def __init__(self, limits: Limits, now: float, total: int = 0) -> None:
        self._recent = _Window(limits.recent_s, now, total)
        self._long = _Window(limits.stall_s, now, total)
        self._least_rate = limits.least_rate

    def observe(self, now: float, total: int) -> None:
        """Note that `total` bytes have moved."""
        self._recent.observe(now, total)
        self._long.observe(now, total)

    @property
    def rate(self) -> float:
        """Bytes a second lately; infinite for a new one."""
        return self._recent.rate

    @property
    def has_stalled(self) -> bool:
        """Whether it is too slow to be waited for, even when nobody else needs the place."""
        return self._long.rate < self._least_rate
