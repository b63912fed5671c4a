"""A client that is refused (429) is told so later, at the cost of nobody else."""

from __future__ import annotations

import contextlib
import select
import socket
from pathlib import Path

from tests.unit.worker.serving import Server, get, is_served, read_answer, serving

HOLDING = "tests.unit.worker.workers.HoldingWorker"
STRICT = "tests.unit.worker.workers.StrictWorker"


def refused(server: Server, mark: str) -> socket.socket:
    """A connection with a request that is refused."""
    sock = server.connect()
    sock.sendall(get(f"/busy?mark={mark}"))
    return sock


def is_silent(sock: socket.socket) -> bool:
    return not select.select([sock], [], [], 0)[0]


def test_refusals_are_held_back_without_a_thread(tmp_path: Path) -> None:
    with serving(tmp_path, HOLDING) as server, contextlib.ExitStack() as stack:
        held = [stack.enter_context(refused(server, mark)) for mark in "abc"]
        is_served(server)  # after more requests than there are threads
        assert all(is_silent(sock) for sock in held)


def test_beyond_the_bound_the_oldest_refusal_is_sent(tmp_path: Path) -> None:
    with serving(tmp_path, HOLDING) as server, contextlib.ExitStack() as stack:
        held = []
        for mark in "abc":
            held.append(stack.enter_context(refused(server, mark)))
            is_served(server)
        fourth = stack.enter_context(refused(server, "d"))
        head, body = read_answer(held[0])
        assert head.startswith(b"HTTP/1.1 429")
        assert body == b"a"
        is_served(server)
        assert all(is_silent(sock) for sock in (*held[1:], fourth))


def test_a_refusal_is_sent_late_and_the_connection_stays_open(tmp_path: Path) -> None:
    with serving(tmp_path, STRICT) as server, refused(server, "x") as sock:
        sock.sendall(get("/health/live"))
        head, body = read_answer(sock)
        assert (head[:12], body) == (b"HTTP/1.1 429", b"x")
        assert read_answer(sock)[1] == b"alive"


def test_a_client_that_hangs_up_before_the_refusal_leaves_nothing_behind(tmp_path: Path) -> None:
    with serving(tmp_path, STRICT) as server:
        for mark in "abcdefgh":
            refused(server, mark).close()
        is_served(server)
        assert server.stop() == 0
        assert "Traceback" not in server.log()


def test_refusals_do_not_keep_a_server_from_stopping(tmp_path: Path) -> None:
    with serving(tmp_path, HOLDING) as server, refused(server, "x") as sock:
        is_served(server)
        assert server.stop() == 0
        assert read_answer(sock)[1] == b"x"


def test_connections_with_refusals_are_closed_for_new_ones(tmp_path: Path) -> None:
    with serving(tmp_path, HOLDING, "--worker-connections", "3") as server, contextlib.ExitStack() as stack:
        held = [stack.enter_context(refused(server, mark)) for mark in "abc"]
        is_served(server)
        assert not all(is_silent(sock) for sock in held)
