"""Which versions may answer a request, around changes and outages."""

from __future__ import annotations

import pytest

from tests.soak.timeline import GONE, RECOVERY_S, SEEN_S, SETTLE_S, Outages, Span, Timeline

OLD, NEW = "swapped.1", "swapped.2"


@pytest.fixture
def swapped() -> Timeline:
    """A dataset that is replaced between 100 and 102 s."""
    timeline = Timeline(OLD)
    timeline.begin(NEW, 100.0)
    timeline.end(102.0)
    return timeline


@pytest.mark.parametrize(
    "began_s, ended_s, versions, is_changing",
    [
        (10.0, 99.9, {OLD}, False),
        (99.0, 100.0, {OLD, NEW}, True),
        (101.0, 101.5, {OLD, NEW}, True),
        (102 + SETTLE_S, 200.0, {OLD, NEW}, True),
        (102.1 + SETTLE_S, 200.0, {OLD, NEW}, False),
        (102 + SEEN_S, 200.0, {OLD, NEW}, False),
        (102.1 + SEEN_S, 200.0, {NEW}, False),
    ],
)
def test_old_or_new_around_a_change(
    swapped: Timeline, began_s: float, ended_s: float, versions: set[str], is_changing: bool
) -> None:
    assert swapped.allowed(began_s, ended_s) == (versions, is_changing)
    assert swapped.version == NEW


def test_a_change_under_way_has_no_end() -> None:
    timeline = Timeline(OLD)
    timeline.begin(GONE, 100.0)
    assert timeline.allowed(5000.0, 5001.0) == ({OLD, GONE}, True)


def test_three_changes_follow_each_other(swapped: Timeline) -> None:
    swapped.begin(GONE, 110.0)
    swapped.end(111.0)
    assert swapped.allowed(112.0, 113.0).versions == {OLD, NEW, GONE}
    assert swapped.allowed(103 + SEEN_S, 140.0).versions == {NEW, GONE}
    assert swapped.allowed(112 + SEEN_S, 200.0).versions == {GONE}


def test_what_changes_while_the_store_is_away_is_seen_later() -> None:
    outages = Outages()
    timeline = Timeline(OLD, outages)
    outages.begin(95.0)
    timeline.begin(NEW, 100.0)
    timeline.end(102.0)
    assert timeline.allowed(1000.0, 1001.0).versions == {OLD, NEW}
    outages.end(130.0)
    last_s = 130 + RECOVERY_S + SEEN_S
    assert timeline.allowed(last_s, last_s).versions == {OLD, NEW}
    assert timeline.allowed(last_s + 0.1, last_s + 1).versions == {NEW}


def test_an_outage_long_before_a_change_does_not_matter() -> None:
    outages = Outages([Span(10.0, 20.0)])
    assert outages.deadline_s(100.0) == 100.0 + SEEN_S
    assert outages.touch(19.0, 21.0)
    assert outages.touch(20 + RECOVERY_S, 50.0)
    assert not outages.touch(20.1 + RECOVERY_S, 50.0)
    assert not outages.touch(1.0, 9.9)
