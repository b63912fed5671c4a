"""What gunicorn's own worker does with HTTP, ours does too."""

from __future__ import annotations

import fcntl
import json
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.worker.serving import (
    LIMIT_S,
    Server,
    get,
    post,
    read_answer,
    read_exactly,
    read_to_the_end,
    serving,
)
from tests.unit.worker.site import content

CHUNKS = b"4\r\nabcd\r\n1;note=x\r\ne\r\n3\r\n\r\n\r\r\n0\r\n\r\n"
CHUNKED = get("/echo", "Transfer-Encoding: chunked", method="POST") + CHUNKS


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("http")) as running:
        yield running


def test_a_connection_is_kept(server: Server) -> None:
    with server.connect() as sock:
        for _ in range(3):
            sock.sendall(get("/health/live"))
            head, body = read_answer(sock)
            assert b"\r\nConnection: keep-alive\r\n" in head
            assert body == b"alive"


@pytest.mark.parametrize("raw", [get("/environ", "Connection: close"), b"GET /environ HTTP/1.0\r\n\r\n"])
def test_a_connection_is_closed_when_the_client_wants_it(server: Server, raw: bytes) -> None:
    with server.connect() as sock:
        sock.sendall(raw + get("/environ"))
        received = read_to_the_end(sock)
        assert received.count(b"HTTP/1.") == 1
        assert b"\r\nConnection: close\r\n" in received


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    bodies = [b"%d" % number * 50 for number in range(40)]
    with server.connect() as sock:
        sock.sendall(b"".join(post("/echo", body) + CHUNKED + get("/health/live") for body in bodies))
        for body in bodies:
            assert read_answer(sock)[1] == body
            assert read_answer(sock)[1] == b"abcde\r\n\r"
            assert read_answer(sock)[1] == b"alive"


def test_a_request_in_single_bytes(server: Server) -> None:
    with server.connect() as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for raw, answer in ((post("/echo", b"body"), b"body"), (CHUNKED, b"abcde\r\n\r"), (get("/x"), b"alive")):
            for place in range(len(raw)):
                sock.sendall(raw[place : place + 1])
            assert read_answer(sock)[1] == answer


@pytest.mark.parametrize("size", [0, 1, 4095, 65_536, 65_537, 1_000_000, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_of_any_length(server: Server, size: int, chunked: bool) -> None:
    body = content(size, 7)
    raw = post("/echo", body)
    if chunked:
        pieces = [body[start : start + 50_000] for start in range(0, size, 50_000)]
        raw = get("/echo", "Transfer-Encoding: chunked", method="POST")
        raw += b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nX-Trailer: x\r\n\r\n"
    with server.connect() as sock:
        sock.sendall(raw + get("/x"))
        assert read_answer(sock)[1] == body
        assert read_answer(sock)[1] == b"alive"


def test_a_body_that_looks_like_the_end_of_chunks(server: Server) -> None:
    piece = b"a\r\n0\r\n\r\nb"
    raw = get("/echo", "Transfer-Encoding: chunked", method="POST")
    with server.connect() as sock:
        sock.sendall(raw)
        for _ in range(40):
            sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")
        assert read_answer(sock)[1] == piece * 40


@pytest.mark.parametrize("body", [b"", b"x" * 100, b"y" * 200_000])
def test_a_client_that_waits_for_100_continue(server: Server, body: bytes) -> None:
    raw = post("/echo", body, "Expect: 100-continue")
    with server.connect() as sock:
        sock.sendall(raw[: len(raw) - len(body)])
        assert read_answer(sock)[0].startswith(b"HTTP/1.1 100")
        sock.sendall(body)
        assert read_answer(sock)[1] == body
        sock.sendall(raw)  # one that does not wait
        head, _ = read_answer(sock)
        assert head.startswith(b"HTTP/1.1 100")
        assert read_answer(sock)[1] == body


def test_head(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(get("/big", method="HEAD") + get("/x"))
        head, _ = read_answer(sock, has_body=False)
        assert b"Content-Length: 5000000\r\n" in head
        assert read_answer(sock)[1] == b"alive"


def test_answers_arrive_whole(server: Server) -> None:
    with server.connect(window=1 << 16) as sock:
        sock.sendall(get("/file") + get("/big?mark=3") + get("/pieces"))
        assert read_answer(sock)[1] == content(5_000_000)
        assert read_answer(sock)[1] == content(5_000_000, 3)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        assert b"Transfer-Encoding: chunked" in head
        for mark in range(40):
            assert read_exactly(sock, len(b"30D40\r\n")) == b"30D40\r\n"
            assert read_exactly(sock, 200_002) == content(200_000, mark) + b"\r\n"
        assert read_exactly(sock, 5) == b"0\r\n\r\n"


@pytest.mark.parametrize(
    "raw, status",
    [
        (b"GET /" + b"x" * 1000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"x" * 2000, 414),  # before the line has ended
        (get("/x", "X-Long: " + "x" * 9000), 431),
        (get("/x", *[f"X-{i}: y" for i in range(150)]), 431),
        (b"GET / HTTP/1.1\nHost: a\r\n", 400),  # before the header has ended
        (b"GET / HTTP/1.1\r\nHost: a\nX: y\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", 400),
        (b"\x00\x01\x02", 400),
        (get("/echo", "Content-Length: 3", "Transfer-Encoding: chunked", method="POST") + CHUNKS, 400),
        (get("/echo", "Content-Length: 3", "Content-Length: 4", method="POST") + b"abcd", 400),
        (get("/echo", "Transfer-Encoding: zip", method="POST"), 501),
        (get("/x", "Expect: everything"), 417),
        (get("/x", "Host: b"), 400),
    ],
)
def test_a_refused_request_ends_the_connection(server: Server, raw: bytes, status: int) -> None:
    with server.connect() as sock:
        sock.sendall(raw)
        received = read_to_the_end(sock)
        assert received.startswith(b"HTTP/1.1 %d " % status)
        assert b"Connection: close" in received
        assert received.count(b"HTTP/1.1") == 1


def test_malformed_chunks_are_refused_before_they_end(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(get("/echo", "Transfer-Encoding: chunked", method="POST") + b"zz\r\n")
        assert read_to_the_end(sock).startswith(b"HTTP/1.1 400")


def test_a_body_that_the_application_does_not_read(server: Server) -> None:
    """A short one is skipped; after a long one the connection ends, and the answer arrives nevertheless."""
    with server.connect() as sock:
        sock.sendall(post("/refuse", b"x" * 1000) + get("/x"))
        assert read_answer(sock)[1] == b"unread"
        assert read_answer(sock)[1] == b"alive"
    with server.connect() as sock:
        sock.sendall(get("/refuse", "Content-Length: 10000000", method="POST") + b"x" * 70_000)
        assert read_answer(sock)[1] == b"unread"
        assert sock.recv(1) == b""


def test_a_client_that_closes_its_side(server: Server) -> None:
    """It still gets answers to what it has sent whole; what is cut short is the application's to judge."""
    for raw, answers in ((get("/x") * 3, 3), (post("/echo", b"x" * 100)[:-1], 1), (get("/x")[:-1], 0), (b"", 0)):
        with server.connect() as sock:
            sock.sendall(raw)
            sock.shutdown(socket.SHUT_WR)
            assert read_to_the_end(sock).count(b"HTTP/1.1 200") == answers


def test_an_application_that_fails_in_the_middle(server: Server) -> None:
    with server.connect() as sock:
        sock.sendall(get("/broken"))
        assert read_to_the_end(sock).endswith(b"\r\n\r\nsome")


def test_the_environment_of_a_request(server: Server) -> None:
    told = json.loads(server.ask(get("/environ?a=%20b", "X-Twice: 1", "X-Twice: 2"))[1])
    assert told == {
        "REMOTE_ADDR": "127.0.0.1",
        "RAW_URI": "/environ?a=%20b",
        "PATH_INFO": "/environ",
        "QUERY_STRING": "a=%20b",
        "SERVER_PORT": str(server.port),
        "wsgi.url_scheme": "http",
        "HTTP_X_TWICE": "1,2",
    }


def test_ipv6(tmp_path: Path) -> None:
    with (
        serving(tmp_path / "server", host="::1") as server,
        socket.create_connection(("::1", server.port), 30) as sock,
    ):
        sock.sendall(get("/environ"))
        assert json.loads(read_answer(sock)[1])["REMOTE_ADDR"] == "::1"


def test_idle_connections_end(tmp_path: Path) -> None:
    worker = "tests.unit.worker.workers.StrictWorker"
    with serving(tmp_path / "server", worker, "--keep-alive", "1") as server, server.connect() as sock:
        sock.sendall(get("/x"))
        read_answer(sock)
        assert sock.recv(1) == b""


def test_a_reload_refuses_no_connection(tmp_path: Path) -> None:
    """SIGHUP replaces the worker; connections to the port are answered throughout."""
    with serving(tmp_path / "server", "tests.unit.worker.workers.StrictWorker") as server:
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + LIMIT_S
        while "hang up" not in server.log().lower() and time.monotonic() < deadline:
            assert server.ask(get("/x", "Connection: close"))[1] == b"alive"
            if time.monotonic() > deadline - LIMIT_S + 1:
                break
        assert server.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_a_signal_to_end_at_once_waits_for_nothing(tmp_path: Path, number: int) -> None:
    """Whatever threads and clients are doing; gunicorn would wait for the graceful timeout, and then kill the worker."""
    patient = "tests.unit.worker.workers.PatientWorker"
    with (
        serving(tmp_path / "server", patient, "--graceful-timeout", "600") as server,
        server.connect() as waiting,
        server.connect() as silent,
        (server.folder / "gate").open() as gate,
    ):
        fcntl.flock(gate, fcntl.LOCK_EX)
        waiting.sendall(get("/wait"))
        silent.sendall(b"GET /")
        assert server.ask(get("/x"))[1] == b"alive"
        server.process.send_signal(number)
        assert server.process.wait(LIMIT_S) == 0


def test_tls_is_left_to_a_proxy(tmp_path: Path) -> None:
    from gunicorn.config import Config

    from cxg.worker import BufferingWorker

    BufferingWorker.check_config(Config(), None)
    for name, value in (("certfile", "x"), ("http2_cleartext", "both"), ("protocol", "uwsgi")):
        config = Config()
        config.set(name, value)
        with pytest.raises(RuntimeError, match="proxy"):
            BufferingWorker.check_config(config, None)
