"""A real gunicorn with one worker on loopback, and clients that do as they are told."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.unit.worker.site import content

ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 8.0
THREADS = 2
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Server:
    """A running server; `port` on 127.0.0.1."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        self.process, self.port, self.folder = process, port, folder

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def connect(self, *, source: str = "127.0.0.1", window: int = 0) -> socket.socket:
        """A connection; with a window the system takes only about that much before the client reads."""
        sock = socket.socket()
        sock.settimeout(LIMIT_S)
        if window:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", self.port))
        return sock

    def ask(self, raw: bytes) -> tuple[bytes, bytes]:
        """Head and body of the answer to a request, over a connection of its own."""
        with self.connect() as sock:
            sock.sendall(raw)
            return read_answer(sock)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LIMIT_S)


def get(target: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: here", *headers, "", ""]).encode()


def post(target: str, body: bytes, *headers: str) -> bytes:
    return get(target, f"Content-Length: {len(body)}", *headers, method="POST") + body


def read_answer(sock: socket.socket, *, has_body: bool = True) -> tuple[bytes, bytes]:
    """Head and body of one answer with a length; fails when the connection ends before."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = sock.recv(1)
        assert byte, f"the connection ended after {head!r}"
        head += byte
    if head.startswith(b"HTTP/1.1 100"):
        return head, b""
    found = _LENGTH.search(head)
    assert found, head
    return head, read_exactly(sock, int(found[1])) if has_body else b""


def read_exactly(sock: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(min(1 << 20, size - len(data)))
        assert piece, f"the connection ended after {len(data)} of {size} bytes"
        data += piece
    return bytes(data)


def read_to_the_end(sock: socket.socket) -> bytes:
    data = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(1 << 20):
            data += piece
    return bytes(data)


def is_served(server: Server) -> None:
    """Everything that somebody else may want is answered."""
    assert server.ask(get("/health/live"))[1] == b"alive"
    assert server.ask(get("/environ"))[0].startswith(b"HTTP/1.1 200")
    assert server.ask(post("/echo", b"x" * 20_000))[1] == b"x" * 20_000
    assert server.ask(post("/echo", b"y" * 200_000))[1] == b"y" * 200_000
    assert server.ask(get("/big"))[1] == content(5_000_000)


@contextlib.contextmanager
def serving(
    folder: Path,
    worker: str = "tests.unit.worker.workers.PatientWorker",
    *options: str,
    descriptors: int | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Server]:
    """Run gunicorn until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "file").write_bytes(content(5_000_000))
    (folder / "gate").touch()
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512)
    command = [
        *(sys.executable, "-m", "gunicorn", "tests.unit.worker.site:application", "--preload"),
        *("--bind", f"fd://{listener.fileno()}", "--workers", "1", "--worker-class", worker),
        *(
            "--threads",
            str(THREADS),
            "--keep-alive",
            "60",
            "--graceful-timeout",
            "4",
            "--limit-request-line",
            "1000",
        ),
        *("--no-control-socket", "--log-level", "warning", *options),
    ]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "SITE_FOLDER": str(folder)}

    if descriptors:
        # Not by a function between fork and exec: the tests' process has threads, whose locks would stay held.
        command = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=env,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
        )
    server = Server(process, listener.getsockname()[1], folder)
    try:
        if ":" not in host:
            with server.connect() as sock:  # waits in the backlog until the worker is there
                sock.settimeout(30)
                sock.sendall(get("/health/live"))
                read_answer(sock)
        yield server
    finally:
        listener.close()
        process.terminate()
        try:
            process.wait(LIMIT_S)
        finally:
            process.kill()
