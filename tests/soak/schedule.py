"""What happens when: events of several lanes, from a seed, so that the same seed gives the same soak."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import NamedTuple

FOLDER, S3 = "folder", "s3"
SERVERS = (FOLDER, S3)

CLIENTS, FILES, STORE = "clients", "files", "store"
"""Lanes: within one, events follow each other; all lanes run side by side."""

HOSTILE = (
    *("large bodies", "half headers", "half bodies", "slow readers", "idle connections", "comparison bursts"),
    *("wide filters", "start page reloads"),
)
LOOK_ALIKE = "look-alike"
CHANGES = (LOOK_ALIKE, "add", "swap", "rewrite", "damage", "repair", "damage", "repair", "remove")
"""What happens to datasets, in this order, again and again; the look-alike comes once."""
CUT_CACHE, FLIP_CACHE, REFUSE, HANG = "cache files cut", "cache files altered", "store refuses", "store hangs"
STORE_EVENTS = (CUT_CACHE, REFUSE, FLIP_CACHE, HANG)
ODD = "odd requests"
KINDS = (ODD, *HOSTILE, *sorted(set(CHANGES)), *STORE_EVENTS)

_CLIENT_SLOT_S, _FILE_SLOT_S, _LONGEST_AWAY_S = (12.0, 30.0), (14.0, 45.0), 30.0
# Of its slot, what an event takes of clients lasts this long; the rest shows whether all recovers.
_ACTIVE = 0.7


class Event(NamedTuple):
    """Something that happens to one server, from `start_s` to `stop_s` after the beginning of the soak."""

    start_s: float
    stop_s: float
    lane: str
    kind: str
    server: str

    @property
    def label(self) -> str:
        """Name in the report."""
        return f"{self.kind} ({self.server})"


def schedule(total_s: float, seed: int, servers: Sequence[str], kinds: Collection[str] = KINDS) -> tuple[Event, ...]:
    """Plan a soak.

    Parameters
    ----------
    total_s : float
        How long it lasts.
    seed : int
        Of the order in which hostile clients come.
    servers : sequence of str
        Those that run.
    kinds : collection of str
        Events that may happen; others leave their places empty.
    """
    found = [*_clients(total_s, random.Random(seed), servers), *_store(total_s, servers)]
    for server in servers:
        found += _files(total_s, server)
        found.append(Event(0.0, total_s, CLIENTS, ODD, server))
    return tuple(sorted(event for event in found if event.kind in kinds))


def _slot_s(total_s: float, count: int, limits: tuple[float, float]) -> float:
    return min(max(total_s / count, limits[0]), limits[1])


def _clients(total_s: float, rng: random.Random, servers: Sequence[str]) -> list[Event]:
    """One hostile kind at a time, on one server at a time; each round in another order."""
    slot_s = _slot_s(total_s, len(HOSTILE), _CLIENT_SLOT_S)
    found: list[Event] = []
    order: list[str] = []
    count = int(total_s / slot_s)
    for number in range(count):
        order = order or rng.sample(HOSTILE, len(HOSTILE))
        start_s = number * slot_s + 0.15 * slot_s
        # In the next round each kind meets the other server.
        server = servers[(number + number // len(HOSTILE)) % len(servers)]
        found.append(Event(start_s, start_s + _ACTIVE * slot_s, CLIENTS, order.pop(), server))
    return found


def _files(total_s: float, server: str) -> list[Event]:
    slot_s = _slot_s(total_s, len(CHANGES), _FILE_SLOT_S)
    again = CHANGES[1:]
    found = []
    for number in range(int(total_s / slot_s)):
        kind = CHANGES[number] if number < len(CHANGES) else again[(number - len(CHANGES)) % len(again)]
        # The two servers are not disturbed at the same moment.
        start_s = number * slot_s + (0.1 if server == FOLDER else 0.55) * slot_s
        found.append(Event(start_s, start_s + 1.0, FILES, kind, server))
    return found


def _store(total_s: float, servers: Sequence[str]) -> list[Event]:
    """The cache folders are corrupted twice, and S3 is away twice."""
    away_s = min(_LONGEST_AWAY_S, total_s / 15)
    found = []
    for share, kind in zip((0.15, 0.35, 0.6, 0.8), STORE_EVENTS, strict=True):
        start_s = share * total_s
        if kind in (REFUSE, HANG):
            found += [Event(start_s, start_s + away_s, STORE, kind, S3)] if S3 in servers else []
        else:
            found += [Event(start_s, start_s + 1.0, STORE, kind, server) for server in servers]
    return found
