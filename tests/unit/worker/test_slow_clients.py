"""Clients that are slow in every way there is cost nobody else anything, and are ended."""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.worker.serving import (
    LIMIT_S,
    Server,
    get,
    is_served,
    post,
    read_answer,
    read_exactly,
    read_to_the_end,
    serving,
)
from tests.unit.worker.site import content

MANY = 24
CHUNKED = get("/echo", "Transfer-Encoding: chunked", method="POST")
LONG = get("/echo", "Content-Length: 300000", method="POST")

# What such a client sends before it falls silent.
SILENT = {
    "nothing": b"",
    "half a method": b"GE",
    "half a request line": b"GET /health/li",
    "a request line": b"GET /health/live HTTP/1.1\r\n",
    "half a header": b"GET /health/live HTTP/1.1\r\nHost: he",
    "all but the end of a header": get("/environ")[:-1],
    "a long header": b"GET /environ HTTP/1.1\r\n" + b"X-Long: " + b"x" * 7000 + b"\r\n" + b"X-More: ",
    "an empty line": b"\r\n",
    "no body": post("/echo", b"x" * 1000)[:-1000],
    "half a body": post("/echo", b"x" * 1000)[:-500],
    "half a body for the health check": post("/health/live", b"x" * 1000)[:-500],
    "half a body after 100 Continue": post("/echo", b"x" * 1000, "Expect: 100-continue")[:-500],
    "most of a long body": LONG + b"x" * 60_000,
    "half of a body that is longer than what is received first": LONG + b"x" * 150_000,
    "no chunk": CHUNKED,
    "half a chunk size": CHUNKED + b"10",
    "half a chunk": CHUNKED + b"10\r\nabc",
    "no last chunk": CHUNKED + b"3\r\nabc\r\n",
    "no end after the last chunk": CHUNKED + b"3\r\nabc\r\n0\r\n",
    "half a trailer": CHUNKED + b"3\r\nabc\r\n0\r\nX-Trailer: x",
    "chunks that look like the last": CHUNKED + b"9\r\na\r\n0\r\n\r\nb\r\n" * 40,
    "more chunks than are received first": CHUNKED + (b"1000\r\n" + b"x" * 4096 + b"\r\n") * 20,
    "a second half request": get("/environ") + get("/environ")[:-1],
    "a body nobody reads": get("/refuse", "Content-Length: 300000", method="POST") + b"x" * 150_000,
}
# What a client asks for and does not read.
UNREAD = {
    "a big answer": get("/big"),
    "an answer in pieces": get("/pieces"),
    "a file": get("/file"),
    "pipelined answers": get("/big") * 20,
    "many small answers": get("/health/live") * 5_000,
}


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("patient")) as server:
        yield server


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("strict"), "tests.unit.worker.workers.StrictWorker") as server:
        yield server


def send_what_goes(sock: socket.socket, raw: bytes) -> None:
    """The server may stop reading, or refuse, before the end."""
    sock.setblocking(False)
    with contextlib.suppress(OSError):
        sock.sendall(raw)
    sock.settimeout(LIMIT_S)


@pytest.mark.parametrize("kind", SILENT)
def test_others_are_served_beside_silent_clients(patient: Server, kind: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MANY):
            send_what_goes(stack.enter_context(patient.connect()), SILENT[kind])
        is_served(patient)


@pytest.mark.parametrize("kind", UNREAD)
def test_others_are_served_beside_clients_that_do_not_read(patient: Server, kind: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(MANY):
            send_what_goes(stack.enter_context(patient.connect(window=4096)), UNREAD[kind])
        is_served(patient)


def test_others_are_served_beside_clients_with_different_answers(patient: Server) -> None:
    """They do not fit into memory together."""
    with contextlib.ExitStack() as stack:
        for mark in range(MANY):
            send_what_goes(stack.enter_context(patient.connect(window=4096)), get(f"/big?mark={mark + 1}"))
        is_served(patient)


def test_others_are_served_beside_tls_to_the_plain_port(patient: Server) -> None:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xab" * 400
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(patient.connect()) for _ in range(MANY)]
        for sock in socks:
            sock.sendall(hello)
        is_served(patient)
        assert read_to_the_end(socks[0]).startswith(b"HTTP/1.1 400")


def test_the_health_check_is_answered_while_all_threads_are_at_work(patient: Server) -> None:
    with contextlib.ExitStack() as stack:
        gate = stack.enter_context((patient.folder / "gate").open())
        fcntl.flock(gate, fcntl.LOCK_EX)
        waiting = [stack.enter_context(patient.connect()) for _ in range(MANY)]
        for sock in waiting:
            sock.sendall(get("/wait"))
        for path in ("/health/live", "/health", "/health/ready"):
            assert patient.ask(get(path))[1] == b"alive"
        fcntl.flock(gate, fcntl.LOCK_UN)
        for sock in waiting:
            assert read_answer(sock)[0].startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("kind", [kind for kind in SILENT if kind not in ("nothing", "a body nobody reads")])
def test_silent_clients_are_ended(strict: Server, kind: str) -> None:
    """Those that have sent part of a request; without any they may stay for their first one."""
    with strict.connect() as sock:
        send_what_goes(sock, SILENT[kind])
        received = read_to_the_end(sock)
        last = received.rsplit(b"HTTP/1.1 ", 1)[-1]
        if kind == "half of a body that is longer than what is received first":
            assert last.startswith(b"200")  # the application has what came, as when a client hangs up
        elif kind == "more chunks than are received first":
            assert received == b""  # likewise
        else:
            assert last.startswith(b"408"), received
            assert b"Connection: close" in last


def test_a_client_that_sends_a_byte_at_a_time_is_ended(strict: Server) -> None:
    for raw in (get("/environ", *[f"X-{i}: y" for i in range(60)]), post("/echo", b"x" * 5000)):
        with strict.connect() as sock:
            sock.settimeout(0.02)
            received = b""
            for place in range(len(raw) - 1):
                try:
                    sock.sendall(raw[place : place + 1])
                    received += sock.recv(1000)
                except TimeoutError:
                    continue
                except OSError:
                    break
                break
            assert received.startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("kind", ["a big answer", "an answer in pieces", "a file"])
def test_a_client_that_does_not_read_is_ended(strict: Server, kind: str) -> None:
    with strict.connect(window=4096) as sock:
        sock.sendall(UNREAD[kind])
        assert sock.recv(1) == b"H"
        poller = select.poll()
        poller.register(sock, select.POLLERR | select.POLLHUP)
        assert poller.poll(LIMIT_S * 1000), "it is still connected"


def test_a_slow_reader_that_reads_on_gets_everything(strict: Server) -> None:
    """For much longer than a silent one may stay."""
    size = 4_000_000
    with strict.connect(window=1 << 16) as sock:
        sock.sendall(get(f"/big?size={size}"))
        read_exactly(sock, len(strict.ask(get(f"/big?size={size}"))[0]))
        body = bytearray()
        while len(body) < size:
            piece = sock.recv(1 << 16)
            assert piece, f"ended after {len(body)} bytes"
            body += piece
            time.sleep(0.02)  # the slow reader
        assert bytes(body) == content(size)


@pytest.mark.parametrize("kind", ["nothing", "half a header", "half a body", "a big answer", "a kept connection"])
def test_more_connections_than_there_is_room_for(tmp_path: Path, kind: str) -> None:
    raw = {**SILENT, **UNREAD, "a kept connection": get("/environ")}[kind]
    with (
        serving(tmp_path / "server", "tests.unit.worker.workers.PatientWorker", "--worker-connections", "20") as server,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(100):
            sock = stack.enter_context(server.connect(window=4096))
            send_what_goes(sock, raw)
            if kind == "a kept connection":
                read_answer(sock)
        is_served(server)


def test_idle_connections_of_another_client_stay(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "server", "tests.unit.worker.workers.PatientWorker", "--worker-connections", "20") as server,
        contextlib.ExitStack() as stack,
    ):
        kept = stack.enter_context(server.connect())
        kept.sendall(get("/environ"))
        read_answer(kept)
        crowd = [stack.enter_context(server.connect(source="127.0.0.2")) for _ in range(60)]
        is_served(server)
        assert crowd[0].recv(1) == b""  # the oldest of them went
        kept.sendall(get("/environ"))
        assert read_answer(kept)[0].startswith(b"HTTP/1.1 200")


def test_few_descriptors(tmp_path: Path) -> None:
    with serving(tmp_path / "server", descriptors=64) as server, contextlib.ExitStack() as stack:
        for raw in (b"", get("/environ"), SILENT["half a header"], UNREAD["a file"]) * 30:
            send_what_goes(stack.enter_context(server.connect(window=4096)), raw)
        is_served(server)
        assert "Traceback" not in server.log()


def test_stopping_does_not_wait_for_silent_clients(tmp_path: Path) -> None:
    with serving(tmp_path / "server") as server, contextlib.ExitStack() as stack:
        for kind in ("nothing", "half a header", "a second half request"):
            send_what_goes(stack.enter_context(server.connect()), SILENT[kind])
        is_served(server)
        assert server.stop() == 0


def test_stopping_lets_a_slow_reader_have_its_answer(tmp_path: Path) -> None:
    with serving(tmp_path / "server") as server, server.connect(window=1 << 16) as sock:
        sock.sendall(get("/big"))
        read_exactly(sock, 100)
        server.process.terminate()
        rest = read_to_the_end(sock)
        assert rest.endswith(content(5_000_000)[-1000:])
        assert server.process.wait(LIMIT_S) == 0


def test_stopping_ends_while_a_client_does_not_read(tmp_path: Path) -> None:
    with serving(tmp_path / "server") as server, server.connect(window=4096) as sock:
        sock.sendall(get("/big"))
        read_exactly(sock, 1)
        assert server.stop() == 0
