"""The rate at which the bytes of a body or an answer move."""

from __future__ import annotations

import math

from cxg.worker.limits import ClientLimits


class _Window:
    """The rate over the last full window of a given length."""

    __slots__ = ("_length_s", "_since", "_total", "rate")

    def __init__(self, length_s: float, now: float, total: int) -> None:
        self._length_s, self._since, self._total = length_s, now, total
        self.rate = math.inf

    def observe(self, now: float, total: int) -> None:
        if now - self._since >= self._length_s:
            self.rate = (total - self._total) / (now - self._since)
            self._since, self._total = now, total


class TransferPace:
    """The rate of one transfer, from byte counts noted now and then; infinite until the first window is over.

    Parameters
    ----------
    total : int
        Bytes moved until now.
    """

    __slots__ = ("_least_rate", "_long", "_recent")

    def __init__(self, limits: ClientLimits, now: float, total: int = 0) -> None:
        self._recent = _Window(limits.recent_s, now, total)
        self._long = _Window(limits.stall_s, now, total)
        self._least_rate = limits.least_rate

    def observe(self, now: float, total: int) -> None:
        """Note that `total` bytes have moved."""
        self._recent.observe(now, total)
        self._long.observe(now, total)

    @property
    def rate(self) -> float:
        """Return the recent rate in bytes a second; infinite for a new transfer."""
        return self._recent.rate

    @property
    def has_stalled(self) -> bool:
        """Tell whether the transfer is too slow to wait for, even when no other client needs its place."""
        return self._long.rate < self._least_rate
