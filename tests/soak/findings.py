"""What a soak found: faults with what went on at that time, and latencies with and without disturbance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.results import percentile
from tests.soak import questions as kinds
from tests.soak.judge import OUTDATED, STRANGER, WRONG, Answer, RightAnswers, holders_of, judge
from tests.soak.places import Disturbed
from tests.soak.schedule import CUT_CACHE, FLIP_CACHE, LOOK_ALIKE
from tests.soak.timeline import Span

# What happened so shortly before a fault may have caused it.
AFTER_S = 10.0
# What these leave behind may be met at any later time.
LASTING = (CUT_CACHE, FLIP_CACHE, LOOK_ALIKE)
RATIO_LIMIT = 2.0
# Below this nobody notices a difference, and a scheduler makes it.
UNNOTICED_S = 0.02
_FEWEST = 100
ALL_KINDS = "all"
SLOWED = f"p95 of ordinary visitors {RATIO_LIMIT:.0f} times that of the calm, or more"


class Happened(NamedTuple):
    """An event as it came: on which server, from when to when, and what was done."""

    kind: str
    server: str
    span: Span
    text: str = ""

    @property
    def label(self) -> str:
        """Name in the report."""
        return f"{self.kind} ({self.server})"


class Fault(NamedTuple):
    """One thing that must not be.

    Attributes
    ----------
    sort, server : str
    at_s : float
        As `time.monotonic` tells it.
    during : tuple of str
        Labels of what went on at that server, or had just ended.
    text : str
        What was asked and what came.
    dataset : str
        Empty where it is about no dataset.
    detail : str
        What tells it from others of its sort: the message, or the kind of question.
    """

    sort: str
    server: str
    at_s: float
    during: tuple[str, ...]
    text: str
    dataset: str = ""
    detail: str = ""


class Latency(NamedTuple):
    """Seconds that answers of one kind took: how many, and percentiles, in the calm and in the soak."""

    server: str
    kind: str
    calm: tuple[int, float, float]
    soak: tuple[int, float, float]

    @property
    def ratio(self) -> float:
        """How much longer the p95 is in the soak."""
        return self.soak[2] / self.calm[2] if self.calm[2] else 0.0

    @property
    def is_slowed(self) -> bool:
        """Whether visitors notice."""
        enough = min(self.calm[0], self.soak[0]) >= _FEWEST
        return enough and self.ratio >= RATIO_LIMIT and self.soak[2] >= UNNOTICED_S


def during(happened: Iterable[Happened], server: str, began_s: float, ended_s: float) -> tuple[str, ...]:
    """Labels of what went on at a server in a time, or had just ended; `since` goes before what lasts."""
    found = set()
    for one in happened:
        if one.server != server:
            continue
        if one.span.touches(began_s, ended_s, AFTER_S):
            found.add(one.label)
        elif one.kind in LASTING and one.span.began_s <= ended_s:
            found.add(f"since {one.label}")
    return tuple(sorted(found))


def judge_all(
    answers: Sequence[Answer],
    right: RightAnswers,
    places: Mapping[str, Disturbed],
    happened: Sequence[Happened],
    difference: Callable[[Answer, str], str],
) -> list[Fault]:
    """Faults among the answers to ordinary visitors.

    Parameters
    ----------
    difference : callable
        Says how a wrong body differs from the right one of a version.
    """
    found = []
    for answer in answers:
        place = places[answer.server]
        is_storage_fault = place.outages.touch(answer.began_s, answer.ended_s)
        allowed = place.timelines[answer.dataset].allowed(answer.began_s, answer.ended_s)
        sort = judge(answer, right, allowed, is_storage_fault=is_storage_fault)
        if sort is None:
            continue
        text = f"{answer.path} -> {answer.status or 'nothing'}, {answer.size} bytes, {answer.ended_s - answer.began_s:.2f} s"
        text += f"; allowed: {', '.join(sorted(one or 'not there' for one in allowed.versions))}"
        if sort == WRONG:
            text += "".join(f"; {difference(answer, one)}" for one in sorted(allowed.versions - {""}))
        if sort in (OUTDATED, STRANGER):
            text += f"; right for {', '.join(holders_of(answer, right))}"
        if answer.status != 200:
            text += f"; {answer.error[:160]}"
        labels = during(happened, answer.server, answer.began_s, answer.ended_s)
        detail = answer.kind if answer.status == 200 else f"{answer.status} {answer.error[:160]}"
        found.append(Fault(sort, answer.server, answer.began_s, labels, text, answer.dataset, detail))
    return found


def latencies(answers: Sequence[Answer], calm: Span, soak: Span, places: Mapping[str, Disturbed]) -> list[Latency]:
    """Latencies of each server, by kind and of all kinds; what met the store's absence is left out."""
    found = []
    for server, place in places.items():
        counted = [
            one
            for one in answers
            if one.server == server and not place.outages.touch(one.began_s, one.ended_s) and one.status in (0, 200)
        ]
        for kind in (*kinds.KINDS, ALL_KINDS):
            mine = [one for one in counted if kind in (one.kind, ALL_KINDS)]
            inside = [[one for one in mine if span.began_s <= one.began_s < span.ended_s] for span in (calm, soak)]
            found.append(Latency(server, kind, *(_percentiles(one) for one in inside)))
    return found


def _percentiles(answers: Sequence[Answer]) -> tuple[int, float, float]:
    seconds = sorted(one.ended_s - one.began_s for one in answers)
    return (len(seconds), percentile(seconds, 0.5), percentile(seconds, 0.95)) if seconds else (0, 0.0, 0.0)


def slowed(found: Iterable[Latency], at_s: float, when: str = "") -> list[Fault]:
    """A fault for each latency that visitors notice."""
    return [
        Fault(
            SLOWED,
            one.server,
            at_s,
            (),
            f"{when}{one.kind}: {1e3 * one.soak[2]:.0f} ms, {1e3 * one.calm[2]:.0f} ms in the calm",
        )
        for one in found
        if one.is_slowed
    ]


def by_event(
    answers: Sequence[Answer], faults: Sequence[Fault], happened: Sequence[Happened], calm: Mapping[str, float]
) -> list[dict[str, Any]]:
    """For each label: how often, how many answers, their p95 and its ratio to the calm one, and faults by sort."""
    rows = []
    for label in sorted({one.label for one in happened}):
        mine = [one for one in happened if one.label == label]
        server = mine[0].server
        inside = [
            one
            for one in answers
            if one.server == server and any(each.span.touches(one.began_s, one.ended_s) for each in mine)
        ]
        count, _, p95_s = _percentiles(inside)
        sorts = Counter(one.sort for one in faults if label in one.during)
        ratio = p95_s / calm[server] if calm.get(server) else 0.0
        times = len(mine)
        rows.append({"label": label, "times": times, "answers": count, "p95_s": p95_s, "ratio": ratio, "faults": sorts})
    return rows


def first_difference(found: bytes, right: bytes) -> str:
    """Say where two bodies differ first."""
    if len(found) != len(right):
        return f"{len(found)} bytes instead of {len(right)}, equal up to {_equal(found, right)}"
    at = _equal(found, right)
    return f"byte {at} is {found[at]:#04x} instead of {right[at]:#04x}" if at < len(found) else "no difference"


def _equal(first: bytes, second: bytes) -> int:
    shortest = min(len(first), len(second))
    return next((at for at in range(shortest) if first[at] != second[at]), shortest)
