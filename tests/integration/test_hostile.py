"""A hundred thousand hostile requests: no fault, no worker lost, memory within the plan, right answers afterwards."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import cxgs
from tests.integration.hostile import API, Generator, Hostile
from tests.integration.launched import Launched, launched

pytestmark = pytest.mark.integration

REQUESTS, CONNECTIONS, SEED = 100_000, 12, 20
LIMIT_S = 30.0
MEMORY_MB = 1500
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class Client:
    """One connection at a time; sends what it is given and notes the statuses that come back."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self._rest = b""
        self.statuses: Counter[int] = Counter()
        self.faults: list[tuple[int, bytes, bytes]] = []
        self.unanswered: list[bytes] = []

    def send(self, hostile: Hostile) -> None:
        """Send it and read every answer."""
        for last in (False, True):
            try:
                self._exchange(hostile)
                return
            except OSError as error:
                # The server may close a connection that it kept for the next request; what is refused is read no further.
                self.close()
                if hostile.ends:
                    return
                if last or isinstance(error, TimeoutError):
                    self.unanswered.append(hostile.raw[:300])
                    return

    def close(self) -> None:
        """End the connection."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._rest = None, b""

    def _exchange(self, hostile: Hostile) -> None:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), LIMIT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(hostile.raw)
        if hostile.ends:
            self._read_to_the_end(hostile)
            return
        for method in hostile.methods:
            if self._answer(method, hostile.raw):
                self.close()
                return

    def _read_to_the_end(self, hostile: Hostile) -> None:
        assert self._socket is not None
        self._socket.shutdown(socket.SHUT_WR)
        received = self._rest
        while piece := self._socket.recv(1 << 16):
            received += piece
        for status in _STATUS.findall(received):
            self._note(int(status), hostile.raw, received)
        self.close()

    def _answer(self, method: str, asked: bytes) -> bool:
        """Read one answer; whether the server closes the connection after it."""
        while b"\r\n\r\n" not in self._rest:
            self._more()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        length = _LENGTH.search(head)
        has_body = method != "HEAD" and status not in (204, 304)
        assert length or not has_body or _CLOSES.search(head), head
        size = int(length[1]) if length and has_body else 0
        while len(self._rest) < size:
            self._more()
        body, self._rest = self._rest[:size], self._rest[size:]
        self._note(status, asked, head + body)
        return _CLOSES.search(head) is not None

    def _more(self) -> None:
        assert self._socket is not None
        piece = self._socket.recv(1 << 16)
        if not piece:
            raise ConnectionResetError("the server closed the connection")
        self._rest += piece

    def _note(self, status: int, asked: bytes, answer: bytes) -> None:
        self.statuses[status] += 1
        if status >= 500 and status != 501:
            self.faults.append((status, asked[:600], answer[:600]))


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
