"""Whether an answer to an ordinary visitor is right, allowed, or a fault; the kinds of faults have names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tests.soak.questions import START
from tests.soak.timeline import GONE, Allowed

LIMIT_S = 15.0
# While the store hangs, the server waits for it this long; see docs/deploy.md.
STORE_LIMIT_S = 60.0

WRONG = "wrong bytes"
OUTDATED = "bytes of a version that is gone"
STRANGER = "bytes of another dataset"
FAILED = "server error (5xx)"
UNAVAILABLE = "503 while nothing was away"
BUSY = "429 to an ordinary visitor"
NO_RETRY = "503 or 429 without Retry-After"
MISSING = "404 for a dataset that is there"
REFUSED = "400 for a dataset that is well"
UNEXPECTED = "unexpected status"
DROPPED = "connection ended without an answer"
SLOW = f"no answer within {LIMIT_S:.0f} s, or {STORE_LIMIT_S:.0f} s while the store is away"


class Answer(NamedTuple):
    """What a visitor got.

    Attributes
    ----------
    server, dataset, key, kind, path : str
        What was asked; the key is one of `tests.soak.questions`.
    began_s, ended_s : float
        As `time.monotonic` tells it.
    status : int
        0 when no answer came.
    digest : str
        Of the body, as `digest_of` makes it.
    size : int
        Of the body, in bytes.
    retry_after : bool
        Whether that header was there.
    error : str
        What went wrong when no answer came.
    kept : str
        File that holds the body, where it is no known one.
    """

    server: str
    dataset: str
    key: str
    kind: str
    path: str
    began_s: float
    ended_s: float
    status: int
    digest: str = ""
    size: int = 0
    retry_after: bool = False
    error: str = ""
    kept: str = ""


class Right(NamedTuple):
    """The right answer of one version to one question."""

    status: int
    digest: str
    size: int


# Version -> key -> its right answer.
RightAnswers = Mapping[str, Mapping[str, Right]]


def judge(answer: Answer, right: RightAnswers, allowed: Allowed, *, is_storage_fault: bool) -> str | None:
    """Name the fault of an answer, or None.

    Parameters
    ----------
    right : mapping
        Of every version of every dataset.
    allowed : Allowed
        What it may have been answered from.
    is_storage_fault : bool
        Whether the store was away at that time.
    """
    versions = [right[version] for version in allowed.versions if version != GONE]
    expected = [answers[answer.key] for answers in versions if answer.key in answers]
    if answer.status == 200 and answer.kind == START:
        fault = WRONG if answer.kept else None  # the visitor has looked at it
    elif answer.status == 200:
        fault = _judge_body(answer, right, expected)
    elif answer.status == 0:
        fault = SLOW if "timed out" in answer.error else DROPPED
    elif answer.status in (429, 503):
        fault = _judge_refusal(answer, is_excused=is_storage_fault or allowed.is_changing)
    elif answer.status >= 500:
        fault = FAILED
    elif answer.status in (400, 404):
        is_right = answer.status in {one.status for one in expected} or (
            GONE in allowed.versions and answer.status == 404
        )
        fault = None if is_right or allowed.is_changing else {400: REFUSED, 404: MISSING}[answer.status]
    else:
        fault = UNEXPECTED
    if fault is None and answer.ended_s - answer.began_s > (STORE_LIMIT_S if is_storage_fault else LIMIT_S):
        return SLOW
    return fault


def _judge_body(answer: Answer, right: RightAnswers, expected: list[Right]) -> str | None:
    if answer.digest in {one.digest for one in expected if one.status == 200}:
        return None
    holders = holders_of(answer, right)
    if not holders:
        return WRONG
    return OUTDATED if any(is_version_of(version, answer.dataset) for version in holders) else STRANGER


def holders_of(answer: Answer, right: RightAnswers) -> list[str]:
    """Versions of whatever dataset to which a body is the right answer."""
    return [version for version, answers in right.items() if answer.digest in _digest(answers.get(answer.key))]


def _digest(right: Right | None) -> tuple[str, ...]:
    return () if right is None or right.status != 200 else (right.digest,)


def _judge_refusal(answer: Answer, *, is_excused: bool) -> str | None:
    if not is_excused:
        return BUSY if answer.status == 429 else UNAVAILABLE
    return None if answer.retry_after else NO_RETRY


def is_version_of(version: str, dataset: str) -> bool:
    """Whether a version, such as `changing.2`, belongs to a dataset, such as `changing.cxg`."""
    return version.partition(".")[0] == dataset.removesuffix(".cxg")
