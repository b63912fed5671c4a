"""A connection's socket as gunicorn's parser and response see it.

Reading returns bytes that the loop has received, and writing keeps bytes that the socket does not accept. A
thread waits only for data that does not fit into memory: the rest of a long body, or of a streamed answer.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import select
import socket
import struct
import termios
import time
from collections import deque
from collections.abc import Callable
from typing import IO

from cxg.worker.file_part import FilePart
from cxg.worker.limits import ClientLimits
from cxg.worker.pace import TransferPace

_STEP_S = 0.1
_MOST_PARTS = 16
# The status, as it follows the HTTP version.
_REFUSAL = b" 429 "
# SO_LINGER on, for 0 seconds: the system drops all unsent bytes.
_RESET = struct.pack("ii", 1, 0)


class ClientSocket:
    """Stands in for a socket in gunicorn's parser, `Response` and `util`.

    Parameters
    ----------
    held : set of ClientSocket
        Connections of the whole worker for which a thread waits.
    """

    def __init__(self, sock: socket.socket, limits: ClientLimits, held: set[ClientSocket]) -> None:
        self.raw, self._limits, self._held = sock, limits, held
        self.buffer = bytearray()
        self.ended = False  # the client sends no more
        self.failed = False  # the client takes no more
        self.pending = self.sent = self.received = 0
        self.in_thread = False
        self.is_refusal = False  # the answer says that there were too many requests (429)
        self.pace: TransferPace | None = None
        self._out: deque[memoryview | FilePart] = deque()
        self._corked = self._draining = False
        self._paced = select.POLLIN

    def start_answer(self) -> None:
        """Prepare for an answer from a thread: its head is kept, to be sent together with the next bytes."""
        self.in_thread = self._corked = True
        self._draining, self._paced, self.is_refusal = False, select.POLLIN, False

    # Reading

    def receive(self, size: int) -> bytes:
        """Receive bytes that have arrived; b"" when the client sends no more.

        Raises
        ------
        BlockingIOError
            Nothing has arrived.
        """
        data = self.raw.recv(size)
        self.received += len(data)
        if not data:
            self.ended = True
        return data

    def recv(self, size: int) -> bytes:
        """Return received bytes to gunicorn's parser; in a thread, wait for them, which the loop must not.

        Raises
        ------
        BlockingIOError
            The request is incomplete.
        """
        if not self.buffer and not self.ended:
            if not self.in_thread:
                raise BlockingIOError(errno.EAGAIN, "the request is incomplete")
            self._receive_in_thread(size)
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    def _receive_in_thread(self, size: int) -> None:
        while not self.buffer and not self.ended:
            try:
                self.buffer += self.receive(max(size, 1 << 16))
            except BlockingIOError:
                if self._draining:
                    raise TimeoutError("the worker does not wait for the rest of the body") from None
                if not self._wait(select.POLLIN, lambda: self.received):
                    self.ended = True  # as if the client had hung up
            except OSError:
                self.ended = True

    # Writing

    def send(self, data: bytes) -> int:
        """Send a few bytes that come before an answer (100 Continue)."""
        return self.raw.send(data)

    def sendall(self, data: bytes) -> None:
        """Send all of `data`, or keep it to be sent; it must not change.

        Raises
        ------
        OSError
            The client is gone, or takes the pieces too slowly.
        """
        self._make_room()
        self._out.append(memoryview(data))
        self.pending += len(data)
        if self._corked:
            self._corked = False
            self.is_refusal = data[8:13] == _REFUSAL
        elif not self.is_refusal:
            self.flush()

    def sendfile(self, file: IO[bytes], offset: int = 0, count: int = 0) -> None:
        """Send part of a file, or keep it to be sent."""
        self._make_room()
        self._out.append(FilePart(file, offset, count))
        self.pending += count
        self.flush()

    def flush(self) -> None:
        """Send as much as the socket accepts.

        Raises
        ------
        OSError
            The client is gone.
        """
        try:
            while self._out:
                self._send_some()
        except BlockingIOError:
            return
        except OSError:
            self.forget()
            raise

    def flush_waiting(self) -> None:
        """Send as much as the client takes within `patience_s`.

        One system call sends megabytes this way, where the loop would need many.

        Raises
        ------
        OSError
            The client is gone.
        """
        seconds, rest = divmod(self._limits.patience_s, 1)
        self.raw.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(seconds), int(rest * 1_000_000))
        )
        self.raw.setblocking(True)
        try:
            self._send_some()
        except BlockingIOError:
            return
        except OSError:
            self.forget()
            raise
        finally:
            self.raw.setblocking(False)

    def _send_some(self) -> None:
        first = self._out[0]
        if isinstance(first, FilePart):
            sent = first.send(self.raw)
        elif len(self._out) == 1:
            sent = self.raw.send(first)
        else:
            sent = self.raw.sendmsg([part for part in list(self._out)[:_MOST_PARTS] if isinstance(part, memoryview)])
        self.sent += sent
        self.pending -= sent
        if isinstance(first, FilePart):
            if not first.count:
                first.close()
                self._out.popleft()
            return
        while sent or (self._out and not self._size(self._out[0])):
            part = self._out.popleft()
            assert isinstance(part, memoryview)  # noqa: S101 - narrowing: parts sent together contain no file
            if sent < len(part):
                self._out.appendleft(part[sent:])
                return
            sent -= len(part)

    @staticmethod
    def _size(part: memoryview | FilePart) -> int:
        return part.count if isinstance(part, FilePart) else len(part)

    def _make_room(self) -> None:
        """Wait, in a thread, until the client has taken enough of the earlier pieces of an answer."""
        while self.pending > self._limits.stream_bytes and not self.failed:
            if not self._wait(select.POLLOUT, self.taken):
                self.forget()
            self.flush()
        if self.failed:
            raise BrokenPipeError(errno.EPIPE, "the client takes no more")

    def forget(self) -> None:
        """Drop the unsent bytes; the client will not take them."""
        self.failed = True
        for part in self._out:
            if isinstance(part, FilePart):
                part.close()
        self._out.clear()
        self.pending = 0

    def taken(self) -> int:
        """Return how many of the sent bytes the client's system has acknowledged."""
        try:
            return self.sent - int(struct.unpack("i", fcntl.ioctl(self.raw, termios.TIOCOUTQ, b"\0" * 4))[0])
        except OSError:  # this system does not report it
            return self.sent

    def body_in_memory(self) -> tuple[int, int]:
        """Return identity and size of the largest unsent piece; pieces cut from the same bytes count as one."""
        sizes = [(len(part.obj), id(part.obj)) for part in self._out if isinstance(part, memoryview)]  # type: ignore[arg-type]
        size, identity = max(sizes, default=(0, 0))
        return identity, size

    def hang_up(self) -> None:
        """Reset the connection, from any thread; a thread that reads or sends gets an error."""
        with contextlib.suppress(OSError):
            self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.raw.shutdown(socket.SHUT_RDWR)

    # Waiting in a thread

    def _wait(self, event: int, moved: Callable[[], int]) -> bool:
        """Wait until the socket is ready; return False if the client is too slow for a thread to wait longer."""
        poller = select.poll()
        poller.register(self.raw, event)
        if self.pace is None or self._paced != event:
            self.pace, self._paced = TransferPace(self._limits, time.monotonic(), moved()), event
        pace = self.pace
        self._held.add(self)
        try:
            while not poller.poll(_STEP_S * 1000):
                pace.observe(time.monotonic(), moved())
                crowded = len(self._held) > self._limits.held_threads
                if pace.has_stalled or (crowded and pace.rate < self._limits.pressed_rate and self._is_slowest()):
                    return False
            return True
        finally:
            self._held.discard(self)

    def _is_slowest(self) -> bool:
        own = self.pace.rate if self.pace else 0.0
        return all(own <= other.pace.rate for other in list(self._held) if other.pace is not None)

    # Other methods of a socket that gunicorn calls

    def setblocking(self, flag: bool) -> None:
        """Do nothing: the socket never blocks."""

    def gettimeout(self) -> float | None:
        """Return None: there is no timeout."""
        return None

    def settimeout(self, seconds: float | None) -> None:
        """Note that gunicorn drains the rest of a body: it then gets only the bytes that are there."""
        self._draining = seconds is not None

    def shutdown(self, how: int) -> None:
        """Refuse: only the loop closes connections.

        Raises
        ------
        OSError
            Always.
        """
        raise OSError(errno.ENOTCONN, "only the loop closes connections")

    def close(self) -> None:
        """Do nothing: only the loop closes connections."""

    def fileno(self) -> int:
        """Return the socket's file descriptor."""
        return self.raw.fileno()
