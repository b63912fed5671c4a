"""A connection's socket as gunicorn's parser and response see it.

Reading gives what the loop has received, writing keeps what the socket does not take. Only what does not
fit into memory makes a thread wait: the rest of a long body, the next piece of an answer made in pieces.
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
from cxg.worker.limits import Limits
from cxg.worker.pace import Pace

_STEP_S = 0.1
_MOST_PARTS = 16
# After the version.
_REFUSAL = b" 429 "
# The system keeps nothing of what waits to be sent.
_RESET = struct.pack("ii", 1, 0)


class ClientSocket:
    """Stands in for a socket in gunicorn's parser, `Response` and `util`.

    Parameters
    ----------
    held : connections for which a thread waits, of the whole worker
    """

    def __init__(self, sock: socket.socket, limits: Limits, held: set[ClientSocket]) -> None:
        self.raw, self._limits, self._held = sock, limits, held
        self.buffer = bytearray()
        self.ended = False  # the client sends no more
        self.failed = False  # the client takes no more
        self.pending = self.sent = self.received = 0
        self.in_thread = False
        self.is_refusal = False  # the answer says that there were too many requests (429)
        self.pace: Pace | None = None
        self._out: deque[memoryview | FilePart] = deque()
        self._corked = self._draining = False
        self._paced = select.POLLIN

    def start_answer(self) -> None:
        """A request goes to a thread: its head will be sent together with what follows."""
        self.in_thread = self._corked = True
        self._draining, self._paced, self.is_refusal = False, select.POLLIN, False

    # Reading

    def receive(self, size: int) -> bytes:
        """Take what has arrived; b"" when the client sends no more.

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
        """What has been received, for gunicorn's parser. A thread waits for more; the loop must not.

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
                    raise TimeoutError("the rest of the body is not waited for") from None
                if not self._wait(select.POLLIN, lambda: self.received):
                    self.ended = True  # as if it had hung up
            except OSError:
                self.ended = True

    # Writing

    def send(self, data: bytes) -> int:
        """Send a few bytes that come before an answer (100 Continue)."""
        return self.raw.send(data)

    def sendall(self, data: bytes) -> None:
        """Send, or keep, all of `data`, which must not change.

        Raises
        ------
        OSError
            The client has gone, or takes pieces too slowly.
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
        """Send, or keep to be sent, part of a file."""
        self._make_room()
        self._out.append(FilePart(file, offset, count))
        self.pending += count
        self.flush()

    def flush(self) -> None:
        """Send what the socket takes.

        Raises
        ------
        OSError
            The client has gone.
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
        """Send what the client takes within `patience_s`.

        One call of the system sends megabytes that way, where the loop would need many.

        Raises
        ------
        OSError
            The client has gone.
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
            assert isinstance(part, memoryview)  # noqa: S101 - narrowing: what is sent together has no file in it
            if sent < len(part):
                self._out.appendleft(part[sent:])
                return
            sent -= len(part)

    @staticmethod
    def _size(part: memoryview | FilePart) -> int:
        return part.count if isinstance(part, FilePart) else len(part)

    def _make_room(self) -> None:
        """Wait, in a thread, until not too many pieces of an answer are waiting."""
        while self.pending > self._limits.stream_bytes and not self.failed:
            if not self._wait(select.POLLOUT, self.taken):
                self.forget()
            self.flush()
        if self.failed:
            raise BrokenPipeError(errno.EPIPE, "the client takes no more")

    def forget(self) -> None:
        """Drop what waits to be sent: nobody will take it."""
        self.failed = True
        for part in self._out:
            if isinstance(part, FilePart):
                part.close()
        self._out.clear()
        self.pending = 0

    def taken(self) -> int:
        """Bytes that the client's side has confirmed, of all that were sent."""
        try:
            return self.sent - int(struct.unpack("i", fcntl.ioctl(self.raw, termios.TIOCOUTQ, b"\0" * 4))[0])
        except OSError:  # not told by this system
            return self.sent

    def body_in_memory(self) -> tuple[int, int]:
        """Identity and size of the largest piece that waits to be sent; pieces cut from the same bytes are one."""
        sizes = [(len(part.obj), id(part.obj)) for part in self._out if isinstance(part, memoryview)]  # type: ignore[arg-type]
        size, identity = max(sizes, default=(0, 0))
        return identity, size

    def hang_up(self) -> None:
        """Reset the connection, from any thread; whoever reads or sends finds out."""
        with contextlib.suppress(OSError):
            self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.raw.shutdown(socket.SHUT_RDWR)

    # Waiting in a thread

    def _wait(self, event: int, moved: Callable[[], int]) -> bool:
        """Wait until the socket is ready; False when the client is too slow for a thread to wait longer."""
        poller = select.poll()
        poller.register(self.raw, event)
        if self.pace is None or self._paced != event:
            self.pace, self._paced = Pace(self._limits, time.monotonic(), moved()), event
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

    # What gunicorn asks of a socket and is without meaning here

    def setblocking(self, flag: bool) -> None:
        """Nothing: the socket never blocks."""

    def gettimeout(self) -> float | None:
        """None."""
        return None

    def settimeout(self, seconds: float | None) -> None:
        """Note that gunicorn sets a time to read what a body has left over: only what is there is read."""
        self._draining = seconds is not None

    def shutdown(self, how: int) -> None:
        """Fail: the loop ends connections.

        Raises
        ------
        OSError
            Always.
        """
        raise OSError(errno.ENOTCONN, "the loop ends connections")

    def close(self) -> None:
        """Nothing: the loop ends connections."""

    def fileno(self) -> int:
        """Descriptor of the socket."""
        return self.raw.fileno()
