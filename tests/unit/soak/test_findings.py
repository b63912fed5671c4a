"""Latencies and their ratio, what a fault is put down to, and where two bodies differ."""

from __future__ import annotations

import json

import pytest

from tests.soak import findings
from tests.soak.findings import ALL_KINDS, Happened, Latency, by_event, during, first_difference, latencies, slowed
from tests.soak.judge import Answer
from tests.soak.places import Disturbed, Folder
from tests.soak.report import fault_text, table, write
from tests.soak.schedule import FLIP_CACHE
from tests.soak.timeline import Span

CALM, SOAK = Span(0.0, 100.0), Span(100.0, 200.0)


@pytest.fixture
def place(tmp_path) -> Disturbed:
    return Disturbed(Folder(tmp_path, tmp_path / "data"), tmp_path / "rows")


def answer(began_s: float, took_s: float, kind: str = "gene", status: int = 200) -> Answer:
    return Answer("folder", "steady.cxg", "gene0", kind, "/", began_s, began_s + took_s, status)


def of_all(found: list[Latency]) -> Latency:
    return next(one for one in found if one.kind == ALL_KINDS)


@pytest.mark.parametrize("slow_s, is_slowed", [(0.019, False), (0.0399, False), (0.04, True), (2.0, True)])
def test_the_p95_is_compared(place: Disturbed, slow_s: float, is_slowed: bool) -> None:
    calm = [answer(number % 100, 0.02) for number in range(100)]
    soak = [answer(100 + number % 100, slow_s if number < 6 else 0.001) for number in range(100)]
    found = of_all(latencies(calm + soak, CALM, SOAK, {"folder": place}))
    assert (found.calm[0], found.soak[0]) == (100, 100)
    assert found.soak[2] == pytest.approx(slow_s)
    assert found.is_slowed == is_slowed
    assert bool(slowed([found], 0.0)) == is_slowed


def test_five_of_a_hundred_may_be_slow(place: Disturbed) -> None:
    calm = [answer(number % 100, 0.02) for number in range(100)]
    soak = [answer(100 + number % 100, 9.0 if number < 5 else 0.001) for number in range(100)]
    assert not of_all(latencies(calm + soak, CALM, SOAK, {"folder": place})).is_slowed


def test_what_is_never_answered_counts_and_what_meets_an_outage_does_not(place: Disturbed) -> None:
    lost = [answer(150.0, 30.0, status=0) for _ in range(10)]
    assert of_all(latencies(lost, CALM, SOAK, {"folder": place})).soak == (10, 30.0, 30.0)
    place.outages.spans.append(Span(140.0, 160.0))
    assert of_all(latencies(lost, CALM, SOAK, {"folder": place})).soak == (0, 0.0, 0.0)


def test_few_answers_are_not_judged() -> None:
    assert not Latency("folder", "gene", (99, 0.1, 0.1), (500, 1.0, 1.0)).is_slowed
    assert Latency("folder", "gene", (100, 0.1, 0.1), (500, 1.0, 1.0)).is_slowed


def test_a_fault_is_put_down_to_what_went_on_at_its_server() -> None:
    happened = [
        Happened("swap", "folder", Span(10.0, 11.0)),
        Happened("swap", "s3", Span(10.0, 11.0)),
        Happened(FLIP_CACHE, "folder", Span(20.0, 21.0)),
    ]
    assert during(happened, "folder", 5.0, 9.0) == ()
    assert during(happened, "folder", 9.0, 10.0) == ("swap (folder)",)
    assert during(happened, "folder", 21.0, 22.0) == (f"{FLIP_CACHE} (folder)", "swap (folder)")
    assert during(happened, "folder", 900.0, 901.0) == (f"since {FLIP_CACHE} (folder)",)


def test_events_have_their_own_p95() -> None:
    happened = [Happened("swap", "folder", Span(100.0, 110.0))]
    answers = [answer(105.0, 0.4), answer(150.0, 9.0)]
    (row,) = by_event(answers, [], happened, {"folder": 0.1})
    assert (row["label"], row["answers"], row["p95_s"]) == ("swap (folder)", 1, pytest.approx(0.4))
    assert row["ratio"] == pytest.approx(4.0)


@pytest.mark.parametrize(
    "found, right, text",
    [
        (b"abcd", b"abxd", "byte 2 is 0x63 instead of 0x78"),
        (b"abc", b"abcd", "3 bytes instead of 4, equal up to 3"),
        (b"", b"a", "0 bytes instead of 1, equal up to 0"),
        (b"abc", b"abc", "no difference"),
    ],
)
def test_the_first_difference(found: bytes, right: bytes, text: str) -> None:
    assert first_difference(found, right) == text


def test_the_report_tells_each_sort_once_with_an_example_of_each_detail() -> None:
    faults = [
        findings.Fault("wrong bytes", "s3", 101.0, ("swap (s3)",), "/a", "a.cxg", "gene"),
        findings.Fault("wrong bytes", "s3", 102.0, ("swap (s3)",), "/b", "a.cxg", "gene"),
        findings.Fault("wrong bytes", "s3", 103.0, (), "/c", "a.cxg", "column"),
        findings.Fault("a worker was replaced", "folder", 99.0, (), "1 is now 2"),
    ]
    text = fault_text(faults, 100.0)
    assert text.count("FAULT") == 2
    assert "FAULT wrong bytes [s3]: 3" in text
    assert "swap (s3) 2" in text
    assert text.index("/c") < text.index("/b")
    assert "at   -1.0 s: 1 is now 2" in text
    assert fault_text([], 0.0) == "no fault"


def test_the_report_as_json_has_names(tmp_path) -> None:
    fault = findings.Fault("wrong bytes", "s3", 1.5, ("swap (s3)",), "/a")
    write(tmp_path / "build" / "soak.json", {"faults": [fault], "folder": tmp_path})
    found = json.loads((tmp_path / "build" / "soak.json").read_text())
    assert found["faults"][0]["during"] == ["swap (s3)"]
    assert found["folder"] == str(tmp_path)


def test_a_table_has_even_columns() -> None:
    assert table(("a", "n"), [("bb", 5), ("c", 10)]) == "  a    n\n  bb   5\n  c   10"
