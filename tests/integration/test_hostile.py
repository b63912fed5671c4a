"""A hundred thousand hostile requests: no fault, no worker lost, memory within the plan, right answers afterwards."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import cxgs
from tests.integration.hostile import API, Generator
from tests.integration.hostile_client import Client
from tests.integration.launched import Launched, launched

pytestmark = pytest.mark.integration

REQUESTS, CONNECTIONS, SEED = 100_000, 12, 20
MEMORY_MB = 1500


@pytest.fixture(scope="module")
def dataroot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of dataset, the damaged ones among them, and what is none."""
    folder = tmp_path_factory.mktemp("hostile") / "data"
    for kind, build in cxgs.KINDS.items():
        build(folder / f"{kind}.cxg")
    cxgs.build(folder / "odd \u03b2 & 50%.cxg")
    (folder / "empty.cxg").mkdir()
    (folder / "file.cxg").write_text("no dataset")
    (folder / "truncated.cxg").mkdir()
    truncated = cxgs.build(folder / "truncated.cxg").path
    for file in truncated.rglob("*.tdb"):
        file.write_bytes(file.read_bytes()[:20])
    return folder


@pytest.fixture(scope="module")
def server(dataroot: Path) -> Iterator[Launched]:
    shares = {"CXG_WORKERS": "2", "CXG_MEMORY_MB": str(MEMORY_MB)}
    with launched(dataroot.parent / "server", str(dataroot), environment=shares) as running:
        yield running


def answers(server: Launched, names: list[str]) -> dict[str, tuple[int, bytes]]:
    """Statuses and bodies of the requests of a visit, for every dataset."""
    routes = [
        *("schema", "config", "colors", "genesets", "layout/obs?layout-name=umap"),
        *("annotations/obs?annotation-name=name_0", "annotations/obs?annotation-name=label"),
        *(
            "annotations/var?annotation-name=name_0",
            "data/var?var:name_0=gene1",
            "summarize/var?method=mean&var:name_0=gene0",
        ),
    ]
    paths = ["/", *(f"/d/{name}/{API}{route}" for name in names for route in routes)]
    found = {}
    for path in paths:
        answer = server.get(path.replace("%", "%25"))
        if b'http-equiv="refresh"' not in answer.content:  # a list that is still being read
            found[path] = answer.status_code, answer.content
    return found


def peak_bytes(server: Launched, done: threading.Event) -> Iterator[int]:
    """Memory in use, once a second until `done`."""
    while not done.wait(1.0):
        yield server.used_bytes()


def test_a_hundred_thousand_hostile_requests(server: Launched, dataroot: Path) -> None:
    names = sorted(path.name for path in dataroot.iterdir())
    # The list of datasets is complete after a while; only then are answers compared.
    for _ in range(20):
        before = answers(server, [])
        if "/" in before:
            break
    before = answers(server, names)
    assert sum(status == 200 for status, _ in before.values()) > 100
    workers, memory = server.workers(), []
    assert len(workers) == 2

    clients = [Client(server.port) for _ in range(CONNECTIONS)]
    done = threading.Event()

    def attack(number: int) -> None:
        for hostile in Generator(names, SEED + number).requests(REQUESTS // CONNECTIONS + 1):
            clients[number].send(hostile)
        clients[number].close()

    watcher = threading.Thread(target=lambda: memory.extend(peak_bytes(server, done)))
    threads = [threading.Thread(target=attack, args=(number,)) for number in range(CONNECTIONS)]
    started = time.monotonic()
    for thread in (watcher, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    watcher.join()
    print(f"{time.monotonic() - started:.0f} s, at most {max(memory) >> 20} MB", end=" ")

    statuses = sum((client.statuses for client in clients), Counter())
    print(dict(sorted(statuses.items())))
    assert [fault for client in clients for fault in client.faults][:5] == []
    assert [raw for client in clients for raw in client.unanswered][:5] == []
    assert statuses.total() > 0.9 * REQUESTS
    # They are hostile, and yet reach every part of the server.
    assert all(statuses[status] > 20 for status in (200, 304, 308, 400, 404, 405, 406, 413, 414, 415, 417, 431, 501)), (
        statuses
    )
    assert "Traceback" not in server.log()
    assert server.workers() == workers
    assert max(memory) <= server.planned_bytes()
    for _ in range(4):  # both workers, most likely
        assert answers(server, names) == before
