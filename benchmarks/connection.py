"""A small HTTP/1.1 client on a raw socket: what it costs must not blur what is measured."""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

BROWSER = "gzip, deflate, br, zstd"
IDENTITY = "identity"
_BUFFER_BYTES = 1 << 20


class Reply(NamedTuple):
    """One answer: `seconds` from the first byte sent to the last received, `size` of the body as it travelled."""

    status: int
    seconds: float
    size: int
    encoding: str
    body: bytes


class Head(NamedTuple):
    """What the head of an answer says; `length` is None when the body ends with the connection."""

    status: int
    length: int | None
    encoding: str
    closes: bool


def parse_head(head: bytes) -> Head:
    """Read status line and header fields, without the empty line at the end.

    Raises
    ------
    ValueError
        It is not HTTP, or the body comes in chunks, which neither server does.
    """
    first, *lines = head.decode("latin-1").split("\r\n")
    version, status = first.split(" ")[:2]
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "transfer-encoding" in fields:
        raise ValueError("The answer comes in chunks, which this client does not read.")
    length = fields.get("content-length")
    closes = fields.get("connection", "").lower() == "close" or version == "HTTP/1.0"
    empty = status in ("204", "304")
    return Head(
        int(status), 0 if empty else None if length is None else int(length), fields.get("content-encoding", ""), closes
    )


def request_bytes(
    path: str, encoding: str, body: bytes | None = None, accept: str = "application/octet-stream"
) -> bytes:
    """One request as it goes over the wire, with the header fields a browser sends for data."""
    lines = [
        f"{'GET' if body is None else 'POST'} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Accept: {accept}, */*;q=0.5",
        f"Accept-Encoding: {encoding}",
        "Accept-Language: en",
        "User-Agent: benchmark",
    ]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def connect(port: int, timeout_s: float | None = 10.0) -> socket.socket:
    """Open a connection to a server on loopback."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


class Connection:
    """One client: a connection that is kept, and opened again (outside the time measured) when the server closed it."""

    def __init__(self, port: int, encoding: str = BROWSER, timeout_s: float = 300.0) -> None:
        self._port, self._encoding, self._timeout_s = port, encoding, timeout_s
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._sock: socket.socket | None = None

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
            self._sock = None

    def ask(self, path: str, body: bytes | None = None, *, keep: bool = False, accept: str = "*/*") -> Reply:
        """Send one request and receive all of its answer.

        Parameters
        ----------
        keep : return the body too, else it is received and forgotten

        Raises
        ------
        OSError
            The server closed the connection in the middle, or was silent for too long.
        """
        if self._sock is None:
            self._sock = connect(self._port, self._timeout_s)
        sent = request_bytes(path, self._encoding, body, accept)
        started = time.perf_counter()
        self._sock.sendall(sent)
        head, rest = self._receive_head(self._sock)
        parts = [rest] if keep else []
        size = len(rest)
        while head.length is None or size < head.length:
            count = self._sock.recv_into(self._buffer)
            if count == 0:
                break
            size += count
            if keep:
                parts.append(bytes(self._buffer[:count]))
        seconds = time.perf_counter() - started
        if head.closes or head.length is None:
            self.close()
        if head.length is not None and size != head.length:
            raise OSError(f"{path}: the body ended after {size} of {head.length} bytes.")
        return Reply(head.status, seconds, size, head.encoding, b"".join(parts))

    def _receive_head(self, sock: socket.socket) -> tuple[Head, bytes]:
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            count = sock.recv_into(self._buffer)
            if count == 0:
                self.close()
                raise OSError("The server closed the connection instead of answering.")
            received += self._buffer[:count]
        return parse_head(received[:end]), received[end + 4 :]
