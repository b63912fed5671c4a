"""Whether the dataroot answers: one sentence, asked rarely, never waited for long."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import cast

import pytest

from cxg.datasets.catalog import Catalog
from cxg.errors import StorageUnavailable
from cxg.web import readiness
from cxg.web.readiness import Readiness


class Root:
    """A dataroot that is well, away or silent, as the test says; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.away = False
        self.answers = threading.Event()
        self.answers.set()

    def check(self) -> None:
        self.asked += 1
        assert self.answers.wait(30)
        if self.away:
            raise StorageUnavailable("The dataroot cannot be listed.")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(s=100.0)
    monkeypatch.setattr(readiness, "time", SimpleNamespace(monotonic=lambda: now.s))
    return now


@pytest.fixture
def root() -> Root:
    return Root()


def of(root: Root) -> Readiness:
    return Readiness(cast("Catalog", SimpleNamespace(root=root)))


@pytest.mark.usefixtures("clock")
def test_all_is_well(root: Root) -> None:
    assert of(root).problem() is None


def test_what_is_wrong_is_told_and_its_end_noticed(root: Root, clock: SimpleNamespace) -> None:
    ready = of(root)
    root.away = True
    assert ready.problem() == "The dataroot cannot be listed."
    root.away = False
    clock.s += 60
    assert ready.problem() is None


def test_many_questions_are_one_look_at_the_store(root: Root, clock: SimpleNamespace) -> None:
    ready = of(root)
    assert [ready.problem() for _ in range(50)] == [None] * 50
    assert root.asked == 1
    clock.s += 60
    ready.problem()
    assert root.asked == 2


def test_a_silent_store_is_not_waited_for_and_not_asked_twice(
    root: Root, clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "_WAIT_S", 0.01)
    ready = of(root)
    root.answers.clear()
    for _ in range(3):
        assert ready.problem() == "The dataroot has not answered yet."
        clock.s += 60
    assert root.asked == 1
    root.answers.set()
    monkeypatch.setattr(readiness, "_WAIT_S", 30.0)
    assert ready.problem() is None


def test_a_fault_of_ours_is_raised_and_the_next_one_asks_anew(root: Root, clock: SimpleNamespace) -> None:
    ready = of(root)
    check, root.check = root.check, lambda: 1 / 0  # type: ignore[method-assign,assignment]
    with pytest.raises(ZeroDivisionError):
        ready.problem()
    root.check = check  # type: ignore[method-assign]
    assert ready.problem() is None
