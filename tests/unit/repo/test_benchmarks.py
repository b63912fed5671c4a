"""The benchmark harness: what it asks, how it reads answers, and what it makes of the figures."""

from __future__ import annotations

import contextlib
import functools
import importlib
import itertools
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import document, goals, many, scale, scaling, stages
from benchmarks.connection import Connection, parse_head, request_bytes
from benchmarks.load import drive
from benchmarks.processes import cpu_s, machine, memory, own_cpu_s, tree
from benchmarks.questions import Questions, contiguous_sets, diffexp_body, random_sets, set_and_rest
from benchmarks.report import Tables, short, table, times
from benchmarks.results import FIRST, REPEAT, Results, percentile
from benchmarks.sections import Sections
from benchmarks.sizes import FULL, QUICK


class Echo:
    """Answers GET /N with N bytes; /close/N does so and closes; /fail says 500."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(sock,), daemon=True).start()

    def _talk(self, sock: socket.socket) -> None:
        # The load ends by closing its connections, in the middle of an answer if need be.
        with sock, contextlib.suppress(ConnectionError):
            while request := sock.recv(1 << 16):
                path = request.split(b" ", 2)[1].decode()
                status = "500 No" if path == "/fail" else "200 OK"
                count = 3 if path == "/fail" else int(path.rsplit("/", 1)[1])
                close = "Connection: close\r\n" if path.startswith("/close") else ""
                sock.sendall(
                    f"HTTP/1.1 {status}\r\nContent-Length: {count}\r\nContent-Encoding: gzip\r\n{close}\r\n".encode()
                    + b"x" * count
                )
                if close:
                    return


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.listener.close()


def test_an_answer_is_received_whole_and_measured(echo: Echo) -> None:
    with Connection(echo.port) as connection:
        small, large = connection.ask("/5", keep=True), connection.ask("/3000000", keep=True)
    assert (small.status, small.size, small.body, small.encoding) == (200, 5, b"xxxxx", "gzip")
    assert large.size == len(large.body) == 3_000_000
    assert 0 < small.seconds < 10


def test_a_connection_that_the_server_closes_is_opened_again(echo: Echo) -> None:
    with Connection(echo.port) as connection:
        assert [connection.ask("/close/7").size for _ in range(3)] == [7, 7, 7]


def test_heads_are_read_and_chunks_refused() -> None:
    head = parse_head(b"HTTP/1.0 200 OK\r\ncontent-length: 12\r\nContent-Encoding: zstd")
    assert (head.status, head.length, head.encoding, head.closes) == (200, 12, "zstd", True)
    assert parse_head(b"HTTP/1.1 304 Not Modified\r\nETag: x").length == 0
    assert parse_head(b"HTTP/1.1 200 OK").length is None
    with pytest.raises(ValueError, match="chunks"):
        parse_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked")


def test_a_body_is_declared_with_its_length() -> None:
    sent = request_bytes("/p", "gzip", b"{}")
    assert sent.startswith(b"POST /p HTTP/1.1\r\n")
    assert b"Content-Length: 2\r\n" in sent
    assert sent.endswith(b"\r\n\r\n{}")


def test_the_load_counts_answers_failures_and_its_own_processor_time(echo: Echo) -> None:
    # It ends when the questions do; the seconds only bound it.
    job = {
        "port": echo.port,
        "clients": 4,
        "encoding": "gzip",
        "warm_s": 0.0,
        "load_s": 60.0,
        "server_pid": os.getpid(),
        "again": False,
    }
    seen = drive({**job, "questions": [["gene", "/100"], ["obs", "/50"]] * 50})
    assert (seen["requests"], seen["failed"]) == (100, 0)
    assert set(seen["by_kind_median_s"]) == {"gene", "obs"}
    assert seen["client_cpus"] > 0
    failing = drive({**job, "questions": [["gene", "/fail"]] * 9})
    assert (failing["requests"], failing["failed"]) == (0, 9)


def test_the_load_ends_when_every_question_was_asked_once(echo: Echo) -> None:
    questions = [["gene", f"/close/{size}"] for size in range(1, 20)]
    job = {
        "port": echo.port,
        "clients": 3,
        "encoding": "gzip",
        "warm_s": 0.0,
        "load_s": 20.0,
        "server_pid": os.getpid(),
    }
    seen = drive({**job, "questions": questions, "again": False})
    assert seen["ran_out"]
    assert seen["requests"] == 19


def test_visits_have_the_mix_and_are_the_same_each_time() -> None:
    ask = Questions("/api/", "name_0", 100, 1000)
    first, second = (list(itertools.islice(ask.visits(3, list(range(50)), again=True), 4000)) for _ in range(2))
    assert first == second
    shares = {kind: count / 4000 for kind, count in Counter(kind for kind, _ in first).items()}
    assert shares == pytest.approx({"gene": 0.7, "obs": 0.2, "embedding": 0.1}, abs=0.03)


def test_new_genes_come_once_and_then_it_ends() -> None:
    ask = Questions("/api/", "name_0", 100, 1000)
    asked = [path for kind, path in ask.visits(3, list(range(50)), again=False) if kind == "gene"]
    assert len(asked) == len(set(asked)) == 50


def test_names_are_encoded_twice_as_the_web_client_does() -> None:
    assert Questions("/api/", "a b", 1, 1).gene(7) == "/api/data/var?var:a%2520b=GENE7"


@pytest.mark.parametrize("choose", [random_sets, contiguous_sets, set_and_rest])
def test_sets_of_cells_are_sorted_disjoint_and_repeatable(choose) -> None:
    first, second = choose(1000, 100, 7)
    again = choose(1000, 100, 7)
    assert len(first) == 100
    assert len(second) == (900 if choose is set_and_rest else 100)
    assert (np.diff(first) > 0).all()
    assert (np.diff(second) > 0).all()
    assert not np.intersect1d(first, second).size
    assert max(first.max(), second.max()) < 1000
    assert (first == again[0]).all()
    assert (second == again[1]).all()
    assert json.loads(diffexp_body(first, second))["set1"]["filter"]["obs"]["index"] == first.tolist()


def test_memory_and_processor_time_of_this_process_are_seen() -> None:
    assert os.getpid() in tree(os.getpid())
    seen = memory(os.getpid())
    assert seen.anonymous_mb > 5
    assert seen.mb >= max(seen.anonymous_mb, seen.file_mb) > 0
    used = cpu_s(os.getpid())
    assert own_cpu_s() >= used > 0
    assert machine()["cpus"] >= 1


def _results() -> Results:
    results = Results(
        {
            "machine": {"processor": "P", "cpus": 2, "memory_gb": 8, "kernel": "Linux 6"},
            "versions": {"ours": {"python": "3.11"}},
        }
    )
    about = {"command": "python -m benchmarks --rounds 2", "date": "2026-01-01 10:00", "minutes": 3.14}
    results.begin("latency", about | {"other_programs_cpus": 0.5, "finished": True})
    for server, first, again in (("ours", 0.002, 0.0005), ("1.3.0 csr", 0.2, 0.2), ("1.3.0 csc", 0.006, 0.006)):
        for when, value in ((FIRST, first), (REPEAT, again)):
            for row in (goals.GENE, goals.CATEGORICAL, goals.EMBEDDING, goals.MEAN):
                results.add(server, "big", row.key, (value,) * 20, encoding="browser", when=when, sizes=(40_000,))
        results.add(server, "big", goals.random_row(10_000).key, (first * 100,), when=FIRST)
        results.add(server, "big", goals.START.key, (1.5,))
        for row in (goals.LOAD_8, goals.LOAD_NEW):
            seen = {
                "median_s": 0.004,
                "p95_s": 0.01,
                "mb_per_s": 80,
                "server_cpus": 1.2,
                "client_cpus": 0.1,
                "per_s": 900.0,
            }
            results.add(server, "big", row.key, (900.0,), encoding="browser", extra=seen)
    return results


def test_goals_are_judged_and_ratios_taken_against_the_faster_form() -> None:
    tables = Tables(_results(), FULL, judged=True)
    gene = next(line for line in tables.latency("browser").splitlines() if line.startswith("| gene"))
    assert "| ×3 / ×12 |" in gene
    assert gene.endswith("| 4 / 0.8 | yes / yes |")
    assert "| 0.3 | yes |" in tables.comparisons()
    assert "| 1 | **no** |" in tables.start_and_memory()
    assert "| 1,000 | **no** |" in tables.throughput()


def test_a_machine_slower_than_that_of_the_goals_is_told() -> None:
    """By the published server in the same run; memory does not depend on it."""
    results = _results()
    results.add("1.3.0 dense", "small", goals.LOAD_SMALL.key, (237.0,))
    results.add("ours", "big", goals.PSS_PEAK.key, (700.0,))
    for when, seconds in (("first", 0.009), ("decoded", 0.0059), ("repeat", 0.0007)):
        results.add("ours", "big", goals.FLOAT.key, (seconds,), encoding="browser", when=when)
    text = document.full(results, FULL)
    assert "1.3.0 answered 474 requests/s on *small*; in this run it answered 237, so the machine was 2.0 times" in text
    tables = Tables(results, FULL, judged=True)
    assert "| 1,000 | slow machine |" in tables.throughput()
    assert "| 600 | **no** |" in tables.start_and_memory()
    assert "| 3 / 0.8 | once decoded, slow machine / yes |" in tables.latency("browser")


def test_a_quick_report_gives_ratios_without_a_verdict() -> None:
    text = document.quick(_results(), QUICK)
    assert "×" in text
    assert "goal" not in text
    assert "**no**" not in text


def test_the_document_names_machine_and_command() -> None:
    text = document.full(_results(), FULL)
    assert "Machine: P, 2 processors, 8 GB of memory, Linux 6." in text
    assert "| latency | 2026-01-01 10:00 | 3.1 | 0.50 | `python -m benchmarks --rounds 2` |" in text
    assert "up to 0.50 of 2 processors" in text
    assert "stopped before its end" not in text


def test_the_document_says_what_stopped_half_way() -> None:
    results = _results()
    results.facts["sections"]["latency"]["finished"] = False
    assert "3.1, **stopped before its end**" in document.full(results, FULL)


def test_peak_memory_stands_beside_the_plan() -> None:
    results = _results()
    seen = {"mb": 400.4, "anonymous_mb": 250.0, "file_mb": 170.0, "looks": 9}
    plan = {"mb": 1756, "workers": 2, "total_mb": 8000}
    results.add("ours", "big", goals.PSS_PEAK.key, (400.4,), extra=seen | {"plan": plan})
    results.add("ours", "big", goals.PSS_64.key, (333.0,))
    text = document.full(results, FULL)
    assert "planned 1,756 MB for its 2 workers at most (of 8,000 MB)" in text
    assert "Its peak was 400 MB, 333 MB with 64 clients; at most 250 MB was anonymous" in text


def test_a_section_measured_again_replaces_what_it_left_and_nothing_else(tmp_path) -> None:
    stored = tmp_path / "x.json"
    first = Results({"versions": {}})
    sections = Sections(first, stored, "one")
    for name, value in (("latency", 1.0), ("load", 2.0), ("latency", 3.0)):
        with sections.measuring(name):
            first.add("ours", "big", "gene", (value,))
    first.facts["load"] = {"kept": True}
    sections.finished()

    second = Results.load(stored)
    again = Sections(second, stored, "two")
    with again.measuring("latency"):
        second.add("ours", "big", "gene", (4.0,))
    saved = Results.load(stored)
    assert [(record.section, record.values) for record in saved.records] == [("load", (2.0,)), ("latency", (4.0,))]
    assert saved.facts["load"] == {"kept": True}
    assert [saved.facts["sections"][name]["command"] for name in ("load", "latency")] == ["one", "two"]
    assert [saved.facts["sections"][name]["finished"] for name in ("load", "latency")] == [True, False]
    assert list(tmp_path.iterdir()) == [stored]


def test_what_was_measured_before_a_failure_is_saved(tmp_path) -> None:
    results = Results()
    sections = Sections(results, tmp_path / "x.json", "one")
    with contextlib.suppress(RuntimeError), sections.measuring("latency"):
        results.add("ours", "big", "gene", (1.0,))
        raise RuntimeError("The server ended.")
    saved = Results.load(tmp_path / "x.json")
    assert saved.values(row="gene") == [1.0]
    assert saved.facts["sections"]["latency"]["finished"] is False


def test_results_of_another_machine_are_put_aside(tmp_path, capsys) -> None:
    stored, facts = tmp_path / "results.json", {"machine": {"cpus": 2}, "versions": {"ours": {"numpy": "2"}}}
    Results(facts | {"sections": {}}).save(stored)
    same = command._earlier(stored, facts | {"versions": {"ours": {"numpy": "2"}, "1.3.0": {"numpy": "1"}}})
    assert same.facts["sections"] == {}
    assert set(same.facts["versions"]) == {"ours", "1.3.0"}
    other = command._earlier(stored, facts | {"machine": {"cpus": 64}})
    assert "sections" not in other.facts
    assert (tmp_path / "results.old.json").is_file()
    assert "another machine" in capsys.readouterr().err


def test_s3_is_measured_only_when_named_or_in_a_full_run(monkeypatch, capsys) -> None:
    def wanted(*words: str) -> frozenset[str]:
        return command._wanted(command._arguments([*words]))

    monkeypatch.setattr(command, "_s3_problem", lambda: None)
    assert "s3" in wanted()
    assert "s3" not in wanted("--quick")
    assert wanted("--quick", "--only", "s3") == {"s3"}
    monkeypatch.setattr(command, "_s3_problem", lambda: "there is no Docker.")
    assert "s3" not in wanted()
    assert "s3 is left out: there is no Docker." in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="s3 cannot be measured: there is no Docker"):
        wanted("--only", "s3")


def test_too_little_disk_is_told_before_anything_is_measured(monkeypatch) -> None:
    monkeypatch.setattr(scale.shutil, "disk_usage", lambda _: SimpleNamespace(free=5e9))
    scale.check_room(QUICK.scale)
    with pytest.raises(RuntimeError, match=r"1,000,000 cells need \d\d GB in .*, where 5 GB are free"):
        scale.check_room(FULL.scale)


def test_growth_stands_between_two_sizes() -> None:
    measured = [
        {"cells": cells, "genes": 20, "values": {"gene": seconds, "peak-mb": 100.0}}
        for cells, seconds in ((1000, 0.002), (10_000, 0.01))
    ]
    lines = scale.section(measured, QUICK).splitlines()
    assert lines[0] == "|  | 1,000 cells | growth | 10,000 cells |"
    assert "| gene, ms | 2 | ×5 | 10 |" in lines
    assert "| peak memory, MB | 100 | ×1 | 100 |" in lines
    assert not any("diffexp" in line for line in lines)


def test_memory_stands_beside_the_number_of_datasets() -> None:
    text = many.section({"plan-mb": 1600, "open": {"1": 150.2, "50": 370.0}})
    assert "| 50 | 370 |" in text
    assert "Planned were 1,600 MB" in text


def test_a_stage_does_not_count_what_another_counts() -> None:
    clock = stages.Clock()
    inner = clock.timed("TileDB", lambda: time.sleep(0.05))
    outer = clock.timed("decoding", inner)
    outer()
    assert clock.spent["TileDB"] >= 0.05
    assert clock.spent["decoding"] < clock.spent["TileDB"]
    assert clock.calls == {"TileDB": 1, "decoding": 1, "encoding": 0, "compression": 0}


def test_what_is_timed_is_there_and_a_name_that_is_gone_is_told() -> None:
    for names in stages.HOOKS.values():
        for name in names:
            module, _, path = name.partition(":")
            assert callable(functools.reduce(getattr, path.split("."), importlib.import_module(module)))
    with pytest.raises(RuntimeError, match=r"cxg\.wire\.fbs:gone is gone; correct HOOKS"):
        stages.Clock().hook("encoding", "cxg.wire.fbs:gone")


def test_results_come_back_from_their_file(tmp_path) -> None:
    results = _results()
    results.save(tmp_path / "x.json")
    loaded = Results.load(tmp_path / "x.json")
    assert loaded.records == results.records
    assert loaded.facts == results.facts


def test_more_visits_need_more_machines_and_a_cdn_fewer() -> None:
    visit = scaling.Visit()
    cost = scaling.costs(_results(), visit)
    assert cost is not None
    direct, edge = (scaling.plan(cost, visit, scaling.Load(), scaling.Prices(), cdn=cdn) for cdn in (False, True))
    instances = [int(line[3].replace(",", "")) for line in direct]
    assert instances == sorted(instances)
    assert instances[0] == 1
    assert instances[-1] > int(edge[-1][3].replace(",", ""))
    assert scaling.page(Results({"machine": {"cpus": 2}})) is None
    assert "1,000,000" in str(scaling.page(_results()))


def test_numbers_are_short_and_percentiles_are_values_that_were_seen() -> None:
    assert [short(value) for value in (0.01234, 1.234, 12.34, 1234.5)] == ["0.012", "1.23", "12.3", "1,234"]
    assert times(3.0, 2.0) == "×1.5"
    assert times(None, 2.0) == "–"
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile([7], 0.5) == 7
    assert table([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |\n"
