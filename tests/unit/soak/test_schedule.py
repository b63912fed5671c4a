"""What happens when: from the seed, within the time, one after the other in each lane."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from tests.soak.schedule import (
    CHANGES,
    CLIENTS,
    FILES,
    FLIP_CACHE,
    FOLDER,
    HANG,
    HOSTILE,
    KINDS,
    ODD,
    REFUSE,
    S3,
    SERVERS,
    STORE_EVENTS,
    schedule,
)


@pytest.mark.parametrize("minutes", [3, 10, 30])
def test_everything_happens_in_time(minutes: int) -> None:
    events = schedule(60.0 * minutes, 1, SERVERS)
    assert {event.kind for event in events} == set(KINDS)
    assert all(0 <= event.start_s < event.stop_s <= 60 * minutes for event in events)
    assert Counter(event.kind for event in events if event.server == S3 and event.kind in STORE_EVENTS) == Counter(
        dict.fromkeys(STORE_EVENTS, 1)
    )
    assert not [event for event in events if event.server == FOLDER and event.kind in (REFUSE, HANG)]


def test_lanes_are_in_order() -> None:
    events = schedule(1800.0, 7, SERVERS)
    lanes = [[event for event in events if event.lane == FILES and event.server == server] for server in SERVERS]
    lanes.append([event for event in events if event.lane == CLIENTS and event.kind != ODD])
    for lane in lanes:
        assert len(lane) > 8
        assert all(first.stop_s <= second.start_s for first, second in pairwise(lane))


def test_each_hostile_kind_meets_both_servers_within_two_rounds() -> None:
    met = {(event.kind, event.server) for event in schedule(1800.0, 3, SERVERS)}
    assert {(kind, server) for kind in HOSTILE for server in SERVERS} <= met


def test_damage_is_repaired_before_the_next_and_what_is_removed_was_added() -> None:
    kinds = [event.kind for event in schedule(1800.0, 1, (FOLDER,)) if event.lane == FILES]
    assert tuple(kinds[: len(CHANGES)]) == CHANGES
    assert kinds.count("look-alike") == 1
    for ending, beginning in (("repair", "damage"), ("remove", "add")):
        pairs = [kind for kind in kinds if kind in (ending, beginning)]
        assert pairs[::2] == [beginning] * len(pairs[::2])
        assert pairs[1::2] == [ending] * len(pairs[1::2])


def test_the_seed_decides() -> None:
    assert schedule(600.0, 5, SERVERS) == schedule(600.0, 5, SERVERS)
    assert schedule(600.0, 5, SERVERS) != schedule(600.0, 6, SERVERS)


def test_chosen_kinds_keep_their_times() -> None:
    whole = schedule(600.0, 1, SERVERS)
    assert schedule(600.0, 1, SERVERS, {FLIP_CACHE}) == tuple(event for event in whole if event.kind == FLIP_CACHE)
