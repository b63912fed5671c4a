"""The benchmark harness: what it asks, how it reads answers, and what it makes of the figures."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import alone, load
from benchmarks.__main__ import choose_sections
from benchmarks.connection import Connection, parse_head, request_bytes
from benchmarks.document import document
from benchmarks.processes import cpu_s, machine, memory, own_cpu_s, tree
from benchmarks.questions import Questions, contiguous_sets, diffexp_body, random_sets, set_and_rest
from benchmarks.results import Results, percentile, short, table
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


FACTS = {
    "machine": {"processor": "P", "cpus": 2, "memory_gb": 8, "kernel": "Linux 6"},
    "versions": {"ours": {"python": "3.11"}},
}


def measured(path: Path) -> Results:
    results = Results(path, FACTS, "python -m benchmarks --rounds 2")
    with results.measuring("latency"):
        for column, seconds in (("ours, first", 2.0), ("1.3.0 csr, first", 200.0), ("1.3.0 csc, first", 6.0)):
            results.add("gene, ms", column, [seconds] * 20)
        results.add("gene, ms", "ours, repeat", [0.5])
        results.add("gene, ms", "1.3.0 csr, repeat", [6.0])
    with results.measuring("load"):
        for column, rate in (("ours", 900.0), ("1.3.0 csr", 3.0), ("1.3.0 csc", 9.0)):
            results.add("8 clients, requests/s", column, [rate])
    return results


def test_ratios_are_taken_against_the_better_form_of_the_published_server(tmp_path: Path) -> None:
    results = measured(tmp_path / "x.json")
    assert "| gene, ms | 2 (2) | 0.5 | 200 (200) | 6 (6) | 6 | ×3 / ×12 |" in results.table("latency").splitlines()
    assert "| 8 clients, requests/s | 900 | 3 | 9 | ×100 |" in results.table("load").splitlines()


def test_the_document_names_machine_and_command(tmp_path: Path) -> None:
    text = document(measured(tmp_path / "x.json"), FULL)
    assert "Machine: P, 2 processors, 8 GB of memory, Linux 6." in text
    assert re.search(r"\| latency \| 20.* \| 0\.0 \| .* \| `python -m benchmarks --rounds 2` \|", text)
    assert "stopped before its end" not in text
    assert "## Many clients\n" in text
    assert "## Conversion\n" not in text, "it was not measured"


def test_a_section_measured_again_replaces_what_it_left_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    measured(path)
    second = Results(path, FACTS, "two")
    with second.measuring("latency"):
        second.add("gene, ms", "ours, first", [4.0])
        second.add("gene, ms", "ours, first", [6.0])
    saved = Results(path).sections
    assert saved["latency"]["rows"]["gene, ms"]["ours, first"] == [4.0, 6.0]
    assert saved["latency"]["rows"]["gene, ms"]["ours, repeat"] == [0.5]
    assert saved["load"]["rows"]["8 clients, requests/s"]["ours"] == [900.0]
    assert [saved[name]["command"] for name in saved] == ["two", "python -m benchmarks --rounds 2"]
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_measured_before_a_failure_is_saved_and_marked(tmp_path: Path) -> None:
    results = Results(tmp_path / "x.json", FACTS)
    with contextlib.suppress(RuntimeError), results.measuring("latency"):
        results.add("gene, ms", "ours", [1.0])
        raise RuntimeError("The server ended.")
    saved = Results(tmp_path / "x.json")
    assert saved.sections["latency"]["rows"] == {"gene, ms": {"ours": [1.0]}}
    assert "stopped before its end" in document(saved, FULL)


def test_results_of_another_machine_are_put_aside(tmp_path: Path, capsys) -> None:
    path = tmp_path / "results.json"
    measured(path)
    same = Results(path, FACTS | {"versions": {"ours": {"python": "3.11"}, "1.3.0": {"numpy": "1"}}})
    assert set(same.sections) == {"latency", "load"}
    assert set(same.facts["versions"]) == {"ours", "1.3.0"}
    assert Results(path, FACTS | {"machine": {"cpus": 64}}).sections == {}
    assert (tmp_path / "results.old.json").is_file()
    assert "another machine" in capsys.readouterr().err


def test_s3_is_measured_only_when_named_or_in_a_full_run(capsys) -> None:
    assert "s3" in choose_sections(None, False, lambda: None)
    assert "s3" not in choose_sections(None, True, lambda: None)
    assert choose_sections(["s3"], True, lambda: None) == {"s3"}
    assert "s3" not in choose_sections(None, False, lambda: "there is no Docker.")
    assert "s3 is left out: there is no Docker." in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="s3 cannot be measured: there is no Docker"):
        choose_sections(["s3"], False, lambda: "there is no Docker.")


def test_too_little_disk_is_told_before_anything_is_measured(monkeypatch) -> None:
    monkeypatch.setattr(alone.shutil, "disk_usage", lambda _: SimpleNamespace(free=5e9))
    alone.check_room(QUICK.scale)
    with pytest.raises(RuntimeError, match=r"1,000,000 cells need \d\d GB in .*, where 5 GB are free"):
        alone.check_room(FULL.scale)


VEGETA = """\
#!/bin/sh
[ "$1" = report ] || { echo "$@" >>"$0.asked"; exit 0; }
echo '{"latencies": {"50th": 2000000, "95th": 9000000}, "throughput": 750.5, "status_codes": {"STATUS": 9}, "errors": ["no"]}'
"""


@pytest.fixture
def vegeta(tmp_path: Path, monkeypatch) -> Callable[[str], Path]:
    """A stand-in for the load generator, which notes how it is called and answers with its form of a report."""
    monkeypatch.setattr(load, "FOLDER", tmp_path)

    def make(status: str) -> Path:
        program = tmp_path / "vegeta"
        program.write_text(VEGETA.replace("STATUS", status))
        program.chmod(0o755)
        return program

    return make


def test_the_load_is_warmed_up_and_its_report_read(vegeta, tmp_path: Path) -> None:
    seen = load.run(vegeta("200"), 5005, os.getpid(), ["/a", "/b", "/c", "/d"], 8, 3.0, 10.0, again=False)
    assert (seen["per_s"], seen["median_s"], seen["p95_s"]) == (750.5, 0.002, 0.009)
    warm, measured = (tmp_path / "vegeta.asked").read_text().splitlines()
    assert "-duration=3.0s" in warm
    assert {"-duration=10.0s", "-workers=8", "-max-workers=8", "-rate=0", "-lazy"} <= set(measured.split())
    assert (tmp_path / "targets.txt").read_text().splitlines()[0] == "GET http://127.0.0.1:5005/b", "/a was the warm-up"


def test_a_load_that_was_not_answered_is_told(vegeta) -> None:
    with pytest.raises(RuntimeError, match=r"8 clients: answers by status \{'503': 9\}, \['no'\]"):
        load.run(vegeta("503"), 5005, os.getpid(), ["/a"] * 4, 8, 1.0, 1.0)


def test_numbers_are_short_and_percentiles_are_values_that_were_seen() -> None:
    assert [short(value) for value in (0.01234, 1.234, 12.34, 1234.5)] == ["0.012", "1.23", "12.3", "1,234"]
    assert percentile(range(1, 101), 0.95) == 95
    assert percentile([7], 0.5) == 7
    assert table([["a", "b"], ["1", "2"]]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |\n"
