"""A client that sends hostile bytes and takes whatever comes back."""

from __future__ import annotations

import re
import socket
from collections import Counter

from tests.integration.hostile import Hostile

LIMIT_S = 30.0
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


class Client:
    """One connection at a time; sends what it is given and notes the statuses that come back.

    Parameters
    ----------
    source : str
        Address of this machine to come from; empty for any.
    """

    def __init__(self, port: int, source: str = "") -> None:
        self._port, self._source = port, source
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
            source = (self._source, 0) if self._source else None
            self._socket = socket.create_connection(("127.0.0.1", self._port), LIMIT_S, source)
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
