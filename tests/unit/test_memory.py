"""The memory plan: what is shared out never exceeds what there is, and can be overridden."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from cxg import memory, memory_bounds
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError
from cxg.memory import MemoryPlan, plan


@pytest.mark.parametrize("total", [300, 512, 1024, 2048, 8192, 200_000])
@pytest.mark.parametrize("cpus", [1, 2, 8, 64])
def test_the_workers_fit(monkeypatch: pytest.MonkeyPatch, total: int, cpus: int) -> None:
    monkeypatch.setattr(memory, "available_cpus", lambda: cpus)
    found = plan(Runtime.of({"CXG_MEMORY_MB": str(total)}))
    assert found.total_mb == total
    assert 1 <= found.workers <= min(cpus, 8)
    assert found.workers * found.worker_mb <= total * 0.65 or found.workers == 1
    assert found.answers_mb >= 16
    assert found.scan_mb >= memory_bounds.SCAN_MB


def test_more_memory_is_never_less_of_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_cpus", lambda: 2)
    plans = [plan(Runtime.of({"CXG_MEMORY_MB": str(total), "CXG_WORKERS": "2"})) for total in range(500, 20_000, 250)]
    for smaller, larger in itertools.pairwise(plans):
        assert larger.answers_mb >= smaller.answers_mb
        assert larger.scan_mb >= smaller.scan_mb


@pytest.mark.parametrize(
    "env, workers, threads",
    [
        ({"CXG_WORKERS": "3", "CXG_THREADS": "5"}, 3, 5),
        ({"WEB_CONCURRENCY": "3"}, 3, 8),
        ({"CXG_WORKERS": "1", "WEB_CONCURRENCY": "3"}, 1, 8),
        ({"CXG_WORKERS": "", "CXG_THREADS": ""}, 2, 8),
    ],
)
def test_overrides(monkeypatch: pytest.MonkeyPatch, env: dict[str, str], workers: int, threads: int) -> None:
    monkeypatch.setattr(memory, "available_cpus", lambda: 2)
    found = plan(Runtime.of({"CXG_MEMORY_MB": "4096", **env}))
    assert (found.workers, found.threads) == (workers, threads)


@pytest.mark.parametrize("name", ["CXG_MEMORY_MB", "CXG_WORKERS", "CXG_THREADS", "WEB_CONCURRENCY"])
@pytest.mark.parametrize("value", ["0", "-1", "many", "2GB"])
def test_what_is_no_number_is_told(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} is '{value}'"):
        plan(Runtime.of({name: value}))


def test_the_table_names_every_share() -> None:
    text = MemoryPlan(
        total_mb=4096, workers=2, threads=8, answers_mb=300, open_mb=40, making_mb=70, scan_mb=200, connections_mb=33
    ).table()
    for figure in (
        "4,096 MB",
        "2 x 8",
        "300 MB",
        "40 MB",
        "70 MB",
        "200 MB",
        "33 MB",
        f"{2 * (643 + memory_bounds.PROGRAM_MB + memory_bounds.LIST_MB):,} MB",
    ):
        assert figure in text
    assert len({len(line) for line in text.splitlines()}) == 1


def test_the_limit_of_a_container(tmp_path: Path) -> None:
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = tmp_path / "memory.max"
    limits = (str(tmp_path / "absent"), str(limit))
    assert memory.available_bytes(limits) == machine
    for text, expected in ((f"{64 << 20}\n", 64 << 20), ("max\n", machine), (str(1 << 63), machine), ("", machine)):
        limit.write_text(text)
        assert memory.available_bytes(limits) == expected


@pytest.mark.parametrize(
    "text, cpus",
    [("200000 100000", 2), ("150000 100000", 2), ("10000 100000", 1), ("max 100000", 16), ("", 16), ("5 0", 16)],
)
def test_the_processors_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, cpus: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert memory.available_cpus(str(tmp_path / "cpu.max")) == cpus
