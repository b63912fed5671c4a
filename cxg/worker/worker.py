"""The worker: what is done with the bytes of a connection."""

from __future__ import annotations

import time

from gunicorn import util
from gunicorn.http.errors import NoMoreData

from cxg.worker.connection import Connection, State
from cxg.worker.loop import WRITE, Loop
from cxg.worker.receiving import ALWAYS_BYTES

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODY_READ_BYTES = 256 << 10


class BufferingWorker(Loop):
    """Serves as gunicorn's threaded worker does, but a connection has a thread only while its answer is made.

    A request is received whole (long bodies: a good part of them) before a thread gets it; what its
    client does not take of the answer at once is sent by the loop.
    """

    # Receiving

    def _on_event(self, conn: Connection) -> None:
        state = conn.state
        if state in (State.RUNNING, State.REFUSED):  # the loop reads on when it is answered
            self._watch(conn, 0)
        elif state is State.SENDING:
            self._send(conn)
        elif state is not State.CLOSED and self._receiving.may_receive(conn):
            self._receive(conn)

    def _receive(self, conn: Connection) -> None:
        try:
            data = conn.sock.receive(_BODY_READ_BYTES if conn.state is State.BODY else ALWAYS_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._close(conn)
            return
        if conn.state is State.CLOSING:
            conn.lingered += len(data)
            if not data or conn.lingered > self.limits.linger_bytes:
                self._close(conn)
            return
        conn.sock.buffer += data
        if conn.state is State.IDLE:
            self._connections.remove_idle(conn)
            conn.wait_until(self.limits.header_s, State.HEADER)
        self._go_on(conn)

    def _go_on(self, conn: Connection) -> None:
        """Do what can be done with the bytes that are there."""
        if not conn.sock.buffer and conn.state is State.HEADER:
            self._close(conn)
        elif conn.state is not State.HEADER or (conn.has_header() and self._parse(conn)):
            self._receiving.count(conn)
            if conn.has_body():
                self._dispatch(conn)
                return
            self._await_body(conn)
        else:
            self._receiving.count(conn)
            self._watch_rest(conn)

    def _parse(self, conn: Connection) -> bool:
        """Parse the header; False when there is no request, and what that means has been done."""
        try:
            return conn.parse()
        except (NoMoreData, StopIteration):
            self._close(conn)
        except Exception as error:  # noqa: BLE001 - whatever a parser finds wrong is answered
            self.handle_error(None, conn.sock, conn.client, error)
            self._finish(conn)
        return False

    def _await_body(self, conn: Connection) -> None:
        if conn.state is State.HEADER:
            conn.state = State.BODY
            conn.start_pace(time.monotonic())
        if conn.expects_continue():
            try:
                conn.sock.send(_CONTINUE)
            except OSError:
                self._close(conn)
                return
        self._watch_rest(conn)

    def _refuse_slow(self, conn: Connection) -> None:
        try:
            util.write_error(conn.sock, 408, "Request Timeout", "The request did not arrive in time.")
        except OSError:
            self._close(conn)
        else:
            self._finish(conn)

    # Answering

    def _dispatch(self, conn: Connection) -> None:
        """Give the request to a thread."""
        conn.state = State.RUNNING
        self._receiving.release(conn)
        conn.sock.start_answer()
        self._pools.get(conn.request.path, self._pool).submit(self._answer, conn)

    def _answer(self, conn: Connection) -> None:
        """Make and send the answer to one request, in a thread."""
        keeps = False
        try:
            keeps = bool(self.handle(conn))
            if not conn.sock.is_refusal:
                self._lingering.flush(conn.sock)
        except OSError:
            keeps = False
        except BaseException:
            self.log.exception("Error handling request")
        finally:
            if conn.sock.pending:
                self._sending.enter(conn)
                self.method_queue.defer(self._answered, conn, keeps)
                self._sending.wait(conn)
            else:
                self.method_queue.defer(self._answered, conn, keeps)

    def _answered(self, conn: Connection, keeps: bool) -> None:
        """Take the connection back from a thread."""
        conn.keeps = keeps
        conn.forget_request()
        self._receiving.count(conn)
        if conn.sock.is_refusal and conn.sock.pending and self.alive:
            self._hold_back(conn)
        else:
            self._send(conn)

    def _hold_back(self, conn: Connection) -> None:
        """Send a refusal later: until then the client, which waits for it, asks for nothing."""
        conn.wait_until(self.limits.refused_s, State.REFUSED)
        self._refused[conn] = None
        if len(self._refused) > self.limits.most_refused:
            self._send_refusal(next(iter(self._refused)))

    def _send_refusal(self, conn: Connection) -> None:
        self._refused.pop(conn, None)
        self._send(conn)

    def _finish(self, conn: Connection) -> None:
        """Send what is left and end the connection."""
        conn.keeps = False
        conn.sock.buffer.clear()
        self._receiving.count(conn)
        self._receiving.release(conn)
        self._connections.remove_idle(conn)
        self._send(conn)

    def _send(self, conn: Connection) -> None:
        """Send what the socket takes; when all is sent, go on with the next request or end."""
        try:
            conn.sock.flush()
        except OSError:
            self._close(conn)
            return
        if conn.sock.pending:
            if conn.state is not State.SENDING:
                conn.state = State.SENDING
                conn.start_pace(time.monotonic())
            self._watch(conn, WRITE)
            return
        self._sending.leave(conn)
        conn.sock.pace = None
        if not conn.keeps or conn.sock.failed:
            self._end(conn)
        elif conn.sock.buffer or conn.sock.ended:
            conn.wait_until(self.limits.header_s, State.HEADER)
            self._go_on(conn)
        else:
            self._be_idle(conn)
