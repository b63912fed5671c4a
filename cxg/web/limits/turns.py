"""Long reads take turns: one at a time, shared fairly between client addresses, and for each between datasets.

Between two of its pieces, a read gives way to a waiting one whose share had less time. So the long reads of some
clients do not delay a short read of another, and a client that is alone gets all the time.
"""

from __future__ import annotations

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cxg.errors import Busy

# A newcomer without a place waits this long for one, if reads are so short that one will be free.
PATIENCE_S = 1.0
# A read gives way only to a share whose used time is less by more than this; a newcomer begins this much below.
_SLICE_S = 0.01
# Most reads that have given way; their results so far stay in memory.
_MOST_PAUSED = 2
_MOST_REMEMBERED = 1000
_NEWEST = 0.3
# Among several addresses, one with n reads gets n times less than one with a single read; n counts up to this.
_MOST_TIMES = 4
# So long after two addresses read at a time, the one with many reads keeps to small pieces, in case the other returns.
_EXPECTED_S = 10.0
# A read in the background gets this many times less than a visitor's.
_BACKGROUND_TIMES = 4


class Turn:
    """One long read: waiting, running, or paused between two of its pieces."""

    def __init__(self, turns: Turns, address: str, dataset: str, *, is_visitor: bool = True) -> None:
        self._turns = turns
        self.address, self.dataset, self.is_visitor = address, dataset, is_visitor
        self.is_running = self.is_started = self.is_refused = self.is_done = False
        self.since_s = self.taken_s = 0.0

    def pause(self) -> bool:
        """Give way to other reads if it is their turn; call it between pieces, from any thread of this read.

        Returns
        -------
        bool
            Whether the next piece should be a small one: its address has many reads, and others have come lately.
        """
        return self._turns.pause(self)


class Turns:
    """Decides which read is next.

    Parameters
    ----------
    most_places : int
        Visitors that may read or wait to read; more would leave no thread for other requests.
    clock : callable
        Returns seconds; replaced in tests.
    wait_s : float
        A read that has a place is refused when its turn does not come within this time.
    """

    def __init__(self, most_places: int, clock: Callable[[], float] = time.monotonic, wait_s: float = 60.0) -> None:
        self._most_places, self._clock, self._wait_s = max(1, most_places), clock, wait_s
        self._changed = threading.Condition()
        self._running: Turn | None = None
        self._waiting: list[Turn] = []
        # Seconds that each address, and each dataset of an address, had; and the seconds at which a new address, or a
        # new dataset of an address, begins.
        self._had_s: dict[tuple[str, ...], float] = {}
        self._level_s: dict[tuple[str, ...], float] = {}
        self._typical_s = 0.0
        self._met_s = -math.inf

    @property
    def waiting(self) -> int:
        """Number of reads that wait for their turn."""
        return len(self._waiting)

    def refuse_if_full(self, address: str, dataset: str) -> None:
        """Raise Busy if a read would be refused, before its request's body is read."""
        with self._changed:
            if not self._has_place(address, dataset) and not self._is_quick:
                raise _busy()

    @contextmanager
    def turn(self, address: str, dataset: str, *, is_visitor: bool = True) -> Iterator[Turn]:
        """Make one long read: wait for its turn, and give it back at the end.

        Parameters
        ----------
        is_visitor : bool
            False for reads in the background, which need no place.

        Raises
        ------
        Busy
            Too many reads of this address wait already, or this one waited too long.
        """
        turn = Turn(self, address, dataset, is_visitor=is_visitor)
        with self._changed:
            self._admit(turn)
            self._begin_share(turn)
            self._waiting.append(turn)
            self._next()
            self._changed.wait_for(lambda: turn.is_running or turn.is_refused, self._wait_s if is_visitor else None)
            if not turn.is_running:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                raise _busy()
        try:
            yield turn
        finally:
            with self._changed:
                if turn is self._running:
                    self._charge(turn)
                    self._running = None
                else:  # it failed in one thread while it waited in another
                    self._waiting.remove(turn)
                self._typical_s += _NEWEST * (turn.taken_s - self._typical_s)
                turn.is_running = turn.is_done = True
                self._next()

    def pause(self, turn: Turn) -> bool:
        """Let reads go first whose share had less time; return, as `Turn.pause`, when it is this one's turn again."""
        if not self._waiting and turn.is_running:
            return False
        with self._changed:
            if turn.is_running and not turn.is_done and self._must_yield(turn):
                turn.is_running = False
                self._waiting.append(turn)
                self._running = None
                self._next()
            self._changed.wait_for(lambda: turn.is_running)
            return self._reads(turn.address) > 1 and self._clock() - self._met_s < _EXPECTED_S

    def _active(self) -> list[Turn]:
        return [*self._waiting, *([self._running] if self._running else [])]

    def _reads(self, address: str) -> int:
        return sum(turn.address == address for turn in self._active())

    @property
    def _is_quick(self) -> bool:
        return self._typical_s * self._most_places < PATIENCE_S

    def _admit(self, turn: Turn) -> None:
        if not turn.is_visitor:
            return
        where = turn.address, turn.dataset
        if not self._has_place(*where) and not (
            self._is_quick and self._changed.wait_for(lambda: self._has_place(*where), PATIENCE_S)
        ):
            raise _busy()
        visitors = [other for other in self._active() if other.is_visitor]
        if len(visitors) >= self._most_places:
            surplus = self._surplus(*where)
            if surplus is not None:
                surplus.is_refused = True
                self._waiting.remove(surplus)
                self._changed.notify_all()

    def _has_place(self, address: str, dataset: str) -> bool:
        visitors = sum(turn.is_visitor for turn in self._active())
        return visitors < self._most_places or self._surplus(address, dataset) is not None

    def _surplus(self, address: str, dataset: str) -> Turn | None:
        """Find the read to refuse for a newcomer: the last one of those with the most places; None if there is none."""
        visitors = [turn for turn in self._active() if turn.is_visitor]
        addresses = Counter(turn.address for turn in visitors)
        largest = max(addresses, key=lambda one: addresses[one], default=address)
        if addresses[largest] > addresses[address] + 1:
            candidates = [turn for turn in visitors if turn.address == largest]
        else:
            candidates = [turn for turn in visitors if turn.address == address]
            mine = sum(turn.dataset == dataset for turn in candidates)
            datasets = Counter(turn.dataset for turn in candidates)
            if max(datasets.values(), default=0) <= mine + 1:
                return None
        datasets = Counter(turn.dataset for turn in candidates)
        idle = [turn for turn in candidates if turn in self._waiting and not turn.is_started]
        # `max` returns the first of equals: here the one that came last.
        return max(reversed(idle), key=lambda turn: datasets[turn.dataset], default=None)

    def _begin_share(self, turn: Turn) -> None:
        """Begin the share of a newcomer a little ahead of all others; an absent address saves up no time."""
        active = self._active()
        if self._running is not None:
            self._charge(self._running)
        there = {key for other in active for key in _keys(other)}
        if turn.is_visitor and any(other.is_visitor and other.address != turn.address for other in active):
            self._met_s = self._clock()
        for key in _keys(turn):
            if key not in there:
                begin_s = self._level_s.get(key[:-1], 0.0) - _SLICE_S
                self._had_s[key] = max(self._had_s.get(key, begin_s), begin_s)
        if len(self._had_s) > _MOST_REMEMBERED:
            kept = there.union(_keys(turn))
            self._had_s = {key: had_s for key, had_s in self._had_s.items() if key in kept}
            self._level_s = {key: had_s for key, had_s in self._level_s.items() if key in kept or key == ()}

    def _next(self) -> None:
        if self._running is None and self._waiting:
            turn = min(self._waiting, key=self._rank)
            self._waiting.remove(turn)
            self._running, turn.is_running, turn.is_started = turn, True, True
            turn.since_s = self._clock()
            for key in _keys(turn):
                self._raise_level(key)
        self._changed.notify_all()

    def _raise_level(self, key: tuple[str, ...]) -> None:
        self._level_s[key[:-1]] = max(self._level_s.get(key[:-1], 0.0), self._had_s[key])

    def _rank(self, turn: Turn) -> tuple[float, float, bool]:
        """Rank the share with the least time first; within one share, a read that has begun."""
        address, dataset = _keys(turn)
        return self._had_s[address], self._had_s[dataset], not turn.is_started

    def _charge(self, turn: Turn) -> None:
        now = self._clock()
        waiting = {key for other in self._waiting for key in _keys(other)}
        times = min(_MOST_TIMES, max(1, self._reads(turn.address))) if turn.is_visitor else _BACKGROUND_TIMES
        for key in _keys(turn):
            self._had_s[key] += (now - turn.since_s) * times
            if not any(other[:-1] == key[:-1] and other != key for other in waiting):
                self._raise_level(key)  # time that no other share waited for does not count against this one
        turn.taken_s += now - turn.since_s
        turn.since_s = now

    def _must_yield(self, turn: Turn) -> bool:
        self._charge(turn)
        if sum(other.is_started for other in self._waiting) >= _MOST_PAUSED:
            return any(other.is_started and self._is_ahead(other, turn) for other in self._waiting)
        return any(self._is_ahead(other, turn) for other in self._waiting)

    def _is_ahead(self, one: Turn, other: Turn) -> bool:
        level = 0 if one.address != other.address else 1
        if _keys(one)[level] == _keys(other)[level]:
            return False
        return self._had_s[_keys(one)[level]] + _SLICE_S < self._had_s[_keys(other)[level]]


def _keys(turn: Turn) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return (turn.address,), (turn.address, turn.dataset)


def _busy() -> Busy:
    return Busy("The server is busy with comparisons and gene set means; try again soon.")
