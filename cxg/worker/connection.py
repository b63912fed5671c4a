"""One connection: the received part of its request, and the state of its answer."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from gunicorn import http
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import ChunkMissingTerminator, InvalidRequestLine, NoMoreData
from gunicorn.http.unreader import IterUnreader

from cxg.worker.client_socket import ClientSocket
from cxg.worker.limits import ClientLimits
from cxg.worker.pace import TransferPace

_HEADER_END = b"\r\n\r\n"
# Searches for the end of a chunked body; each search decodes all of the body.
_MOST_TRIES = 16


class State(Enum):
    """The event that the loop waits for."""

    IDLE = auto()  # the first byte of a request
    HEADER = auto()
    BODY = auto()
    RUNNING = auto()  # a thread
    REFUSED = auto()  # the time at which the refusal is sent
    SENDING = auto()
    CLOSING = auto()  # the client's end of the connection
    CLOSED = auto()


class _ParsedRequest:
    """Stands in for a parser in gunicorn's worker: returns the request that the loop has parsed."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn

    def __next__(self) -> Any:
        return self._conn.request

    def finish_body(self, deadline: float | None = None) -> bool:
        return bool(self._conn.parsing.finish_body(deadline=deadline))


class Connection:
    """A client's connection; gunicorn's worker reads `sock`, `client`, `server`, `parser` and the flags.

    Parameters
    ----------
    client, server : tuple or str
        Addresses, as the socket reports them.
    held : set of ClientSocket
        Connections of the whole worker for which a thread waits.
    """

    initialized = data_ready = True
    is_http2 = False

    def __init__(
        self, cfg: Any, sock: socket.socket, client: Any, server: Any, limits: ClientLimits, held: set[ClientSocket]
    ) -> None:
        self.sock, self.client, self.server = ClientSocket(sock, limits, held), client, server
        self.address = str(client[0]) if isinstance(client, tuple) and client else ""  # shared on a UNIX socket
        self.parsing = http.get_parser(cfg, self.sock, client)
        self.parser = _ParsedRequest(self)
        self.state = State.IDLE
        self.request: Any = None
        self.deadline = 0.0
        self.watched = self.counted = self.lingered = 0
        self.keeps = self.paused = False
        self.on_event: Callable[[Any], None] = lambda _: None
        self._limits, self._request_line_bytes = limits, int(cfg.limit_request_line)
        self._scanned = self._tries = self._tried_bytes = 0
        self._has_line = False

    def init(self) -> None:
        """Do nothing; gunicorn's worker calls it."""

    # Receiving

    def has_header(self) -> bool:
        """Return whether the received bytes are enough for gunicorn's parser to accept or refuse a request."""
        buffer = self.sock.buffer
        if not buffer or self.sock.ended:
            return True
        if buffer[0] < 32 and buffer[0] not in _HEADER_END:
            return True
        start = self._scanned
        self._scanned = len(buffer)
        if buffer.find(_HEADER_END, max(0, start - 3)) >= 0:
            return True
        # The parser refuses a line feed without a carriage return before the header is complete.
        if start and buffer[start - 1] == 13:
            start -= 1
        if buffer.count(b"\n", start) != buffer.count(b"\r\n", start):
            return True
        self._has_line = self._has_line or buffer.find(b"\r\n", start) >= 0
        if not self._has_line:
            return len(buffer) > self._request_line_bytes + 2 > 2
        return len(buffer) > self._most_header_bytes()

    def parse(self) -> bool:
        """Parse the header, leaving the bytes after it in the buffer; return False if it is incomplete.

        Raises
        ------
        gunicorn.http.errors.ParseException, StopIteration
            The bytes are not a header; the client sends no more.
        """
        buffer = self.sock.buffer
        if buffer and buffer[0] < 32 and buffer[0] not in _HEADER_END:
            raise InvalidRequestLine("not HTTP")
        whole = bytes(buffer)
        try:
            self.request = next(self.parsing)
        except BlockingIOError:
            self.parsing.unreader.take_buffered()
            self.parsing.req_count -= 1
            self.sock.buffer[:] = whole
            return False
        self.take_back()
        self._scanned = self._tries = self._tried_bytes = 0
        return True

    def forget_request(self) -> None:
        """Forget a request that is answered; bytes received after it begin the next one."""
        self.take_back()
        self.request = self.sock.pace = None
        self.sock.in_thread = False
        self._scanned, self._has_line = 0, False

    def take_back(self) -> None:
        """Put the bytes that the parser has read ahead back at the front of the buffer."""
        ahead = self.parsing.unreader.take_buffered()
        if ahead:
            self.sock.buffer[:0] = ahead

    def has_body(self) -> bool:
        """Return whether a thread gets the body now: it is complete, or too long to be received beforehand."""
        buffer = self.sock.buffer
        if self.sock.ended or len(buffer) >= self._limits.spool_bytes:
            return True
        reader = self.request.body.reader
        if isinstance(reader, LengthReader):
            return len(buffer) >= int(reader.length)
        return self._chunks_end()

    def missing_bytes(self) -> int:
        """Return the most bytes to receive before a thread gets the request."""
        reader = self.request.body.reader if self.request is not None else None
        if isinstance(reader, LengthReader):
            return min(int(reader.length), self._limits.spool_bytes) - len(self.sock.buffer)
        return self._limits.spool_bytes - len(self.sock.buffer)

    def expects_continue(self) -> bool:
        """Return whether the client waits for `100 Continue` before it sends the body; True only once."""
        expects = bool(self.request._expected_100_continue)
        self.request._expected_100_continue = False
        return expects

    def _chunks_end(self) -> bool:
        buffer = self.sock.buffer
        if not buffer:
            return False
        if self._tries and buffer.find(_HEADER_END, max(0, self._scanned - 3)) < 0:
            self._scanned = len(buffer)
            return False
        self._scanned = len(buffer)
        if self._tries >= _MOST_TRIES and len(buffer) < 2 * self._tried_bytes:
            return True  # a thread reads the rest
        self._tries, self._tried_bytes = self._tries + 1, len(buffer)
        reader = ChunkedReader(self.request, IterUnreader([bytes(buffer)]))
        try:
            while reader.read(1 << 20):
                pass
        except (NoMoreData, ChunkMissingTerminator) as error:
            # The application finds and reports a body that is malformed, not only incomplete.
            return isinstance(error, ChunkMissingTerminator) and error.args[:1] not in ((), (b"",), (b"\r",))
        except Exception:  # noqa: BLE001 - as above
            return True
        return True

    def _most_header_bytes(self) -> int:
        cfg = self.parsing.cfg
        fields, size = cfg.limit_request_fields or 32768, cfg.limit_request_field_size or 8190
        return int(fields * (size + 2) + 4 + max(0, self._request_line_bytes) + 4)

    # Rates

    def start_pace(self, now: float) -> None:
        """Start to measure how fast the body arrives or the answer leaves."""
        self.sock.pace = TransferPace(self._limits, now, self._moved())

    def observe(self, now: float) -> None:
        """Note how many bytes have moved by now."""
        if self.sock.pace is not None and not self.paused:
            self.sock.pace.observe(now, self._moved())

    def rate(self, now: float) -> float:
        """Return the recent rate in bytes a second; infinite while there is no measurement."""
        self.observe(now)
        pace = self.sock.pace
        return math.inf if pace is None or self.paused else pace.rate

    def _moved(self) -> int:
        return self.sock.received if self.state is State.BODY else self.sock.taken()

    # Ending

    def close(self, *, reset: bool = False) -> None:
        """Close the socket."""
        self.state = State.CLOSED
        self.sock.forget()
        if reset:
            self.sock.hang_up()
        with contextlib.suppress(OSError):
            self.sock.raw.close()

    def wait_until(self, seconds: float, state: State) -> None:
        """Enter a state, with a deadline `seconds` from now."""
        self.state, self.deadline = state, time.monotonic() + seconds
