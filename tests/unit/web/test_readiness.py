"""Whether the dataroot answers: one sentence, asked rarely, never waited for long."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import cast

import pytest

from cxg.datasets.catalog import Catalog
from cxg.errors import StorageUnavailable
from cxg.web.readiness import Readiness
from tests.background import Clock
from tests.listed import wait_until


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
def clock() -> Clock:
    return Clock()


@pytest.fixture
def root() -> Root:
    return Root()


def of(root: Root, clock: Clock, wait_s: float = 30.0) -> Readiness:
    return Readiness(cast("Catalog", SimpleNamespace(root=root)), wait_s=wait_s, clock=clock)


def test_a_dataroot_that_answers_has_no_problem(root: Root, clock: Clock) -> None:
    assert of(root, clock).problem() is None


def test_a_problem_is_reported_until_it_ends(root: Root, clock: Clock) -> None:
    ready = of(root, clock)
    root.away = True
    assert ready.problem() == "The dataroot cannot be listed."
    root.away = False
    clock.now += 60
    assert ready.problem() is None


def test_many_calls_check_the_storage_once(root: Root, clock: Clock) -> None:
    ready = of(root, clock)
    assert [ready.problem() for _ in range(50)] == [None] * 50
    assert root.asked == 1
    clock.now += 60
    ready.problem()
    assert root.asked == 2


def test_a_silent_storage_is_not_awaited_and_not_checked_twice(root: Root, clock: Clock) -> None:
    ready = of(root, clock, wait_s=0.01)
    root.answers.clear()
    for _ in range(3):
        assert ready.problem() == "The dataroot has not answered yet."
        clock.now += 60
    assert root.asked == 1
    root.answers.set()
    wait_until(lambda: ready.problem() is None)
    assert root.asked == 1


def test_an_unexpected_error_is_raised_and_the_next_call_checks_again(root: Root, clock: Clock) -> None:
    ready = of(root, clock)
    check, root.check = root.check, lambda: 1 / 0  # type: ignore[method-assign,assignment]
    with pytest.raises(ZeroDivisionError):
        ready.problem()
    root.check = check  # type: ignore[method-assign]
    assert ready.problem() is None
