"""Threads that take jobs from a queue."""

from __future__ import annotations

import threading

from cxg.worker.threads import Threads


def blocked(threads: Threads) -> threading.Event:
    """Keep the only thread busy until the event is set."""
    begun, release = threading.Event(), threading.Event()

    def wait(_: object) -> None:
        begun.set()
        release.wait(10)

    threads.submit("somebody", wait, None)
    assert begun.wait(10)
    return release


def order_of(threads: Threads, jobs: list[tuple[str, str]]) -> list[str]:
    """Submit (client, name) while the thread is busy; return the names in the order in which they ran."""
    release, ran, done = blocked(threads), [], threading.Event()

    def run(name: str) -> None:
        ran.append(name)
        if len(ran) == len(jobs):
            done.set()

    for client, name in jobs:
        threads.submit(client, run, name)
    release.set()
    assert done.wait(10)
    return ran


def test_a_flood_of_one_client_delays_the_others_by_one_job() -> None:
    threads = Threads(1, "test")
    flood = [("a", f"a{number}") for number in range(100)]
    ran = order_of(threads, [*flood, ("b", "b0"), ("c", "c0"), ("b", "b1")])
    assert ran[:4] == ["a0", "b0", "c0", "a1"]
    assert ran.index("b1") <= 5
    assert [name for name in ran if name.startswith("a")] == [name for _, name in flood]
    threads.shutdown(wait=True)


def test_jobs_of_one_client_keep_their_order() -> None:
    threads = Threads(1, "test")
    jobs = [("a", str(number)) for number in range(20)]
    assert order_of(threads, jobs) == [name for _, name in jobs]
    threads.shutdown(wait=True)


def test_jobs_that_wait_are_dropped_when_the_threads_end() -> None:
    threads = Threads(1, "test")
    release, ran = blocked(threads), []
    for client in ("a", "b"):
        threads.submit(client, ran.append, client)
    threads.shutdown()
    release.set()
    threads.shutdown(wait=True)
    assert ran == []
