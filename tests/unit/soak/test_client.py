"""The visitors' connection, hostile connections that are held, and bounds on memory."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.soak import hostility, limits
from tests.soak.client import Client
from tests.soak.limits import Limit, limited
from tests.soak.schedule import HOSTILE, ODD

ROOT = Path(__file__).resolve().parents[3]
ANSWER = b"HTTP/1.1 503 x\r\nRetry-After: 5\r\nContent-Length: 2\r\n\r\nhi"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        found.settimeout(20)
        yield found


def answering(listener: socket.socket, *connections: int) -> threading.Thread:
    """Take one connection after the other, answer so many requests on each, and close it."""

    def serve() -> None:
        for count in connections:
            accepted, _ = listener.accept()
            with accepted:
                for _ in range(count):
                    assert accepted.recv(1 << 16)
                    accepted.sendall(ANSWER)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


def test_a_kept_connection_that_was_closed_is_made_anew(listener: socket.socket) -> None:
    serving = answering(listener, 2, 1)
    client = Client(listener.getsockname()[1], timeout_s=20)
    assert [client.ask("/") for _ in range(3)] == [(503, b"hi", True)] * 3
    client.close()
    serving.join()


def test_a_new_connection_that_is_closed_is_told(listener: socket.socket) -> None:
    serving = answering(listener, 0, 1)
    client = Client(listener.getsockname()[1], timeout_s=20)
    with pytest.raises((OSError, http.client.HTTPException)):
        client.ask("/")
    assert client.ask("/") == (503, b"hi", True)
    client.close()
    serving.join()


def test_a_fault_of_one_client_ends_its_process() -> None:
    code = "import threading; from tests.soak.client import end_with_a_thread; end_with_a_thread()\n"
    code += "threading.Thread(target=lambda: 1 / 0).start(); threading.Event().wait(60)"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, cwd=ROOT, timeout=60)
    assert done.returncode == 3
    assert b"ZeroDivisionError" in done.stderr


def test_each_hostile_kind_has_its_attack() -> None:
    assert set(hostility.ATTACKS) == {ODD, *HOSTILE}


@pytest.mark.parametrize("kind", ["half headers", "half bodies"])
def test_half_requests_are_held_and_never_end(listener: socket.socket, kind: str) -> None:
    attack = hostility.Attack(listener.getsockname()[1], 1, threading.Event())
    thread = threading.Thread(target=hostility.ATTACKS[kind], args=(attack,))
    thread.start()
    held = [listener.accept()[0] for _ in range(20)]
    received = held[0].recv(1 << 16)
    assert received.startswith((b"GET ", b"POST "))
    received += held[0].recv(1 << 16)
    assert (b"\r\n\r\n" in received) == (kind == "half bodies")
    attack.done.set()
    thread.join()
    assert held[0].recv(1 << 16) == b""
    assert attack.statuses == {0: 20}
    for sock in held:
        sock.close()


@pytest.mark.parametrize(
    "files",
    [
        {
            "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
            "memory.max_usage_in_bytes": "5242880\n",
        },
        {"memory.events": "low 0\noom 3\noom_kill 2\n", "memory.peak": "5242880\n"},
    ],
)
def test_both_versions_of_control_groups_are_read(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    limit = Limit((), "", tmp_path)
    assert (limit.kills(), limit.peak_mb()) == (2, 5)
    assert (Limit((), "").kills(), Limit((), "").peak_mb()) == (0, 0)


def test_a_bound_is_enforced_or_says_that_it_is_not() -> None:
    with limited("test", 60) as limit:
        done = subprocess.run(
            [*limit.within, sys.executable, "-c", "print(len(bytearray(400 << 20)))"], check=False, capture_output=True
        )
        assert (done.returncode == 0) == ("NOT ENFORCED" in limit.how)
        assert limit.group is None or limit.kills() == 1


def test_where_nothing_can_bind_memory_the_report_says_so(monkeypatch) -> None:
    monkeypatch.setattr(limits, "make_group", lambda *_: None)
    monkeypatch.setattr(limits.shutil, "which", lambda _: None)
    with limited("test", 60) as limit:
        assert limit.within == ()
        assert limit.how == "NOT ENFORCED, as no control group can be made here; held to 60 MB by measurement only"
    monkeypatch.setattr(limits.shutil, "which", lambda name: name)
    monkeypatch.setattr(limits, "works", lambda *command: command[0] == "systemd-run")
    with limited("test", 60) as limit:
        assert "MemoryMax=60M" in limit.within
        assert limit.group is None
