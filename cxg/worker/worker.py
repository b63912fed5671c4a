"""The worker: receives requests, hands them to threads, and sends the answers."""

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

    The loop receives a request whole (of a long body, `spool_bytes`) before a thread gets it, and sends the
    part of the answer that the client does not take at once.
    """

    # Receiving

    def _on_event(self, conn: Connection) -> None:
        state = conn.state
        if state in (State.RUNNING, State.REFUSED):  # the loop reads on after the answer
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
        """Parse, dispatch, or wait for more, as far as the received bytes allow."""
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
        """Parse the header; return False if it is incomplete, or if it is bad and this call has dealt with it."""
        try:
            return conn.parse()
        except (NoMoreData, StopIteration):
            self._close(conn)
        except Exception as error:  # noqa: BLE001 - gunicorn answers every fault its parser finds
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
        """Hand the request to a thread."""
        conn.state = State.RUNNING
        self._receiving.release(conn)
        conn.sock.start_answer()
        self._pools.get(conn.request.path, self._pool).submit(conn.address, self._answer, conn)

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
        """Delay a refusal, so that the client, which waits for it, does not ask again at once."""
        conn.wait_until(self.limits.refused_s, State.REFUSED)
        self._refused[conn] = None
        if len(self._refused) > self.limits.most_refused:
            self._send_refusal(next(iter(self._refused)))

    def _send_refusal(self, conn: Connection) -> None:
        self._refused.pop(conn, None)
        self._send(conn)

    def _finish(self, conn: Connection) -> None:
        """Send the remaining bytes and close the connection."""
        conn.keeps = False
        conn.sock.buffer.clear()
        self._receiving.count(conn)
        self._receiving.release(conn)
        self._connections.remove_idle(conn)
        self._send(conn)

    def _send(self, conn: Connection) -> None:
        """Send as much as the socket accepts; after all of it, go on with the next request or close."""
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
