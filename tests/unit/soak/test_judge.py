"""Each kind of fault is told from the others, and what is allowed is no fault."""

from __future__ import annotations

import pytest

from tests.soak import judge
from tests.soak.judge import Answer, Right
from tests.soak.questions import GENE, START
from tests.soak.timeline import GONE, Allowed

RIGHT = {
    "swapped.1": {"gene0": Right(200, "old", 9)},
    "swapped.2": {"gene0": Right(200, "new", 9)},
    "swapped.cut": {"gene0": Right(400, "refusal", 9)},
    "steady.1": {"gene0": Right(200, "other", 9)},
    "large.1": {},
}
OLD, NEW, CUT = (frozenset({f"swapped.{name}"}) for name in ("1", "2", "cut"))
AWAY, CHANGING = True, True


def answer(status: int, digest: str = "", took_s: float = 0.1, **more: object) -> Answer:
    fields = {"error": "", "retry_after": False, "kind": GENE, **more}
    kind = str(fields.pop("kind"))
    return Answer("folder", "swapped.cxg", "gene0", kind, "/", 50.0, 50.0 + took_s, status, digest, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "given, versions, changing, away, fault",
    [
        (answer(200, "old"), OLD, False, False, None),
        (answer(200, "new"), OLD | NEW, False, False, None),
        (answer(200, "old"), NEW, False, False, judge.OUTDATED),
        (answer(200, "new"), OLD, False, False, judge.OUTDATED),
        (answer(200, "other"), OLD, CHANGING, AWAY, judge.STRANGER),
        (answer(200, "mixed"), OLD | NEW, CHANGING, AWAY, judge.WRONG),
        (answer(200, "refusal"), CUT, False, False, judge.WRONG),
        (answer(200, "old"), frozenset({GONE}), False, False, judge.OUTDATED),
        (answer(400), CUT, False, False, None),
        (answer(400), OLD, False, False, judge.REFUSED),
        (answer(400), OLD, CHANGING, False, None),
        (answer(400), OLD, False, AWAY, judge.REFUSED),
        (answer(404), frozenset({GONE}), False, False, None),
        (answer(404), OLD, False, AWAY, judge.MISSING),
        (answer(404), OLD, CHANGING, False, None),
        (answer(503, retry_after=True), OLD, False, AWAY, None),
        (answer(503), OLD, False, AWAY, judge.NO_RETRY),
        (answer(503, retry_after=True), OLD, CHANGING, False, None),
        (answer(503, retry_after=True), OLD, False, False, judge.UNAVAILABLE),
        (answer(429, retry_after=True), OLD, False, False, judge.BUSY),
        (answer(500), OLD, CHANGING, AWAY, judge.FAILED),
        (answer(502), OLD, False, False, judge.FAILED),
        (answer(413), OLD, False, False, judge.UNEXPECTED),
        (answer(0, error="TimeoutError: timed out"), OLD, False, AWAY, judge.SLOW),
        (answer(0, error="RemoteDisconnected: closed"), OLD, False, False, judge.DROPPED),
        (answer(200, "old", 15.1), OLD, False, False, judge.SLOW),
        (answer(200, "old", 60.1), OLD, False, AWAY, judge.SLOW),
        (answer(200, "mixed", 15.1), OLD, False, False, judge.WRONG),
        (answer(200, kind=START), OLD, False, False, None),
        (answer(200, kind=START, kept="wrong-1"), OLD, False, False, judge.WRONG),
    ],
)
def test_faults(given: Answer, versions: frozenset[str], changing: bool, away: bool, fault: str | None) -> None:
    assert judge.judge(given, RIGHT, Allowed(versions, changing), is_storage_fault=away) == fault


def test_versions_belong_to_their_dataset_only() -> None:
    assert judge.is_version_of("swapped.2", "swapped.cxg")
    assert not judge.is_version_of("swapped2.1", "swapped.cxg")
