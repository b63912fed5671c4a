"""Objects that are newer than what commits them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cxg.cli import doctor
from cxg.cli.rewritten_objects import rewritten
from tests.fake_aws import FakeAws, access

THEN = datetime(2026, 1, 1, tzinfo=UTC)
FRAGMENT = "__1_2_0123456789abcdef0123456789abcdef"
NEW = (f"Xr/__commits/{FRAGMENT}_22.wrt", f"Xr/__fragments/{FRAGMENT}_22/a0.tdb", "Xr/__schema/__1_1_ab")
OLD = (f"emb/umap/{FRAGMENT}_8.ok", f"emb/umap/{FRAGMENT}_8/a0.tdb", "emb/umap/__array_schema.tdb")


def written(later: dict[str, timedelta]) -> list[tuple[str, datetime]]:
    return [(path, THEN + later.get(path, timedelta())) for path in (*NEW, *OLD)]


@pytest.mark.parametrize("path", [NEW[1], OLD[1]])
def test_a_file_newer_than_its_commit_is_found(path: str) -> None:
    assert list(rewritten(written({path: timedelta(hours=2)}))) == [path]


@pytest.mark.parametrize(
    "later",
    [
        {},
        {NEW[1]: timedelta(minutes=50)},
        {NEW[0]: timedelta(days=1), OLD[0]: timedelta(days=1)},
        {NEW[1]: timedelta(days=-1)},
        {path: timedelta(days=1) for path in NEW},
        {NEW[2]: timedelta(days=1)},
    ],
    ids=["at once", "slowly", "commits last", "long before", "one array later", "a schema"],
)
def test_an_upload_in_any_order_is_not(later: dict[str, timedelta]) -> None:
    assert not list(rewritten(written(later)))


def test_the_doctor_tells() -> None:
    aws = FakeAws()
    aws.written = written({})
    sound = doctor.check_objects(["s3://b/a.cxg"], "eu-west-1", access(aws))
    assert (sound.status, sound.details) == ("ok", ())
    aws.written = written({NEW[1]: timedelta(days=3)})
    check = doctor.check_objects(["s3://b/a.cxg"], "eu-west-1", access(aws))
    assert check.status == "warning"
    assert "another name" in check.text
    assert all(part in check.details[0] for part in ("s3://b/a.cxg", NEW[1]))
    assert aws.calls == [("written", "s3://b/a.cxg", "eu-west-1")] * 2
