"""Which versions of a dataset were in place when, as far as a server may know."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

# A server lists the files of an open dataset again after some seconds, later where listing is slow.
SEEN_S = 32.0
# Failures are remembered for three seconds, by each worker; a dataset that is being written is asked for again.
SETTLE_S = 8.0
# After an outage what waited for the store is answered, and open connections are given up.
RECOVERY_S = 20.0

GONE = ""
"""The version of a dataset that is not there."""


class Span(NamedTuple):
    """A time from `began_s` to `ended_s`, as `time.monotonic` tells it."""

    began_s: float
    ended_s: float

    def touches(self, began_s: float, ended_s: float, after_s: float = 0.0) -> bool:
        """Whether it overlaps another time, or ended at most `after_s` before it."""
        return self.began_s <= ended_s and self.ended_s + after_s >= began_s


@dataclass
class Outages:
    """Times in which the store behind a server did not answer."""

    spans: list[Span] = field(default_factory=list)

    def begin(self, now_s: float) -> None:
        """Note that the store goes away."""
        self.spans.append(Span(now_s, math.inf))

    def end(self, now_s: float) -> None:
        """Note that it is back."""
        self.spans[-1] = Span(self.spans[-1].began_s, now_s)

    def touch(self, began_s: float, ended_s: float) -> bool:
        """Whether a request may have met an outage, or what it left behind."""
        return any(span.touches(began_s, ended_s, RECOVERY_S) for span in self.spans)

    def deadline_s(self, changed_s: float) -> float:
        """Last time at which a change of that time may still be unknown."""
        deadline_s = changed_s + SEEN_S
        for span in self.spans:
            if span.touches(changed_s, deadline_s, RECOVERY_S):
                deadline_s = max(deadline_s, span.ended_s + RECOVERY_S + SEEN_S)
        return deadline_s


@dataclass
class _Period:
    version: str
    since_s: float
    until_s: float = math.inf


class Allowed(NamedTuple):
    """What a request may be answered from.

    Attributes
    ----------
    versions : frozenset of str
        `GONE` among them when the dataset may be missing.
    is_changing : bool
        The files were being changed, or had just been: failures that pass are allowed.
    """

    versions: frozenset[str]
    is_changing: bool


class Timeline:
    """The versions of one dataset on one server; one thread writes, reading comes afterwards."""

    def __init__(self, version: str, outages: Outages | None = None) -> None:
        self._periods = [_Period(version, -math.inf)]
        self._changes: list[Span] = []
        self._outages = outages or Outages()

    @property
    def version(self) -> str:
        """What is in place now."""
        return self._periods[-1].version

    def begin(self, version: str, now_s: float) -> None:
        """Note that a change to `version` begins."""
        self._changes.append(Span(now_s, math.inf))
        self._periods.append(_Period(version, now_s))

    def end(self, now_s: float) -> None:
        """Note that the change has been made."""
        self._changes[-1] = Span(self._changes[-1].began_s, now_s)
        self._periods[-2].until_s = now_s

    def allowed(self, began_s: float, ended_s: float) -> Allowed:
        """What a request from `began_s` to `ended_s` may be answered from."""
        versions = (
            period.version
            for period in self._periods
            if period.since_s <= ended_s and self._outages.deadline_s(period.until_s) >= began_s
        )
        changing = any(change.touches(began_s, ended_s, SETTLE_S) for change in self._changes)
        return Allowed(frozenset(versions), changing)
