"""What is seen of a server: workers that change, its end, memory and disk beyond their bounds, touched files."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.listed import wait_until
from tests.soak import watch
from tests.soak.limits import Limit
from tests.soak.places import Disturbed, Folder
from tests.soak.watch import Watch


class Server:
    """Stands in for a server: this very process, with workers and a log that a test chooses."""

    def __init__(self) -> None:
        self.children, self.text, self.code = (10, 11), "", None
        self.process = SimpleNamespace(pid=os.getpid(), poll=lambda: self.code, returncode=-9)
        self.port, self.planned = 1, 1 << 40

    def workers(self) -> tuple[int, ...]:
        return self.children

    def planned_bytes(self) -> int:
        return self.planned

    def log(self) -> str:
        return self.text


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def place(tmp_path: Path) -> Disturbed:
    found = Disturbed(Folder(tmp_path, tmp_path / "data"), tmp_path / "rows")
    found.prepare(())
    return found


def looked(server: Server, place: Disturbed, change, *, limit_mb: int = 1 << 20, cache_mb: int = 1) -> Watch:
    found = Watch(server, Limit((), ""), limit_mb, cache_mb, place)  # type: ignore[arg-type]
    found.look()
    assert limit_mb < 1000 or found.faults == []
    change()
    found.look()
    found.look()
    return found


def sorts(found: Watch) -> dict[str, int]:
    return Counter(one.sort for one in found.faults)


def test_a_quiet_server_has_no_fault(server: Server, place: Disturbed) -> None:
    found = looked(server, place, lambda: None)
    assert found.faults == []
    assert len(found.looks) == 3
    assert found.looks[0].used_mb > 10
    assert found.looks[0].threads > 0


def test_another_worker_is_a_restart(server: Server, place: Disturbed) -> None:
    found = looked(server, place, lambda: setattr(server, "children", (10, 12)))
    assert sorts(found) == {watch.RESTART: 1}
    assert found.faults[0].text == "processes (10, 11) are now (10, 12)"


def test_the_end_of_a_server_is_told_and_noted(server: Server, place: Disturbed) -> None:
    found = looked(server, place, lambda: setattr(server, "code", -9))
    assert set(sorts(found)) == {watch.ENDED}
    assert found.ended_s < float("inf")


def test_bounds_are_told_once(server: Server, place: Disturbed) -> None:
    server.planned = 1 << 20
    (place.cache / "big").write_bytes(bytes(3 << 20))
    found = looked(server, place, lambda: None, limit_mb=2, cache_mb=2)
    assert sorts(found) == {watch.PLAN: 1, watch.LIMIT: 1, watch.DISK: 1}


def test_a_touched_file_is_told_once(server: Server, place: Disturbed) -> None:
    found = looked(server, place, lambda: (place.cache / "lock").write_text(""))
    assert [(one.sort, one.text) for one in found.faults] == [(watch.SPOILED, "lock")]


def test_nobody_answering_is_a_fault_of_the_health(server: Server, place: Disturbed, monkeypatch) -> None:
    monkeypatch.setattr(watch, "PROBE_S", 0.01)
    found = Watch(server, Limit((), ""), 1 << 20, 1, place)  # type: ignore[arg-type]
    found.start()
    wait_until(lambda: found.health_s and found.looks)  # nothing listens on its port
    server.text = "fine\n[2026] [7] [ERROR] Worker (pid:8) was sent SIGKILL! Perhaps out of memory?\nTraceback (most\n"
    found.stop()
    assert sorts(found)[watch.HEALTH] >= 1
    assert sorts(found)[watch.LOG] == 2
