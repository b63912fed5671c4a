"""The loop of the worker: accepts, watches and closes connections."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from cxg.worker.client_socket import ClientSocket
from cxg.worker.connection import Connection, State
from cxg.worker.connections import Connections, most_connections
from cxg.worker.limits import ClientLimits
from cxg.worker.receiving import Receiving
from cxg.worker.sending import LingeringThreads, Sending
from cxg.worker.threads import Threads

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_ACCEPT_AT_ONCE = 32
# gunicorn's master ends a worker after the graceful timeout; the loop stops this much earlier.
_BEFORE_THE_MASTER_S = 2.0
# Health checks, each kind with a thread of its own: the process lives, the dataroot answers.
_RESERVED = (("/health/live",), ("/health", "/health/ready"))


class Loop(ThreadWorker):  # type: ignore[misc]
    """Accepts, watches and closes connections; a subclass handles their bytes."""

    limits = ClientLimits()

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse settings that this worker does not support.

        Raises
        ------
        RuntimeError
            gunicorn is configured for TLS, HTTP/2 or uwsgi.
        """
        if cfg.is_ssl or cfg.http2_cleartext != "off" or cfg.protocol != "http":
            raise RuntimeError("The server speaks plain HTTP/1.1: use a proxy in front of it for TLS and HTTP/2.")

    def init_process(self) -> None:
        """Set up the state of this process, and run the loop."""
        self._connections = Connections(self.limits, most_connections(self.cfg.worker_connections, self.limits))
        self._sending = Sending(self.limits, self.cfg.threads)
        self._lingering = LingeringThreads(self.cfg.threads // 4 or 1)
        self._held: set[ClientSocket] = set()
        self._receiving = Receiving(
            self.limits, self._connections, self._held, lambda conn: self._close(conn, reset=True), self._watch_rest
        )
        self._refused: dict[Connection, None] = {}  # in the order of arrival
        self._looked = 0.0
        self._pools = {path: pool for paths in _RESERVED for pool in [Threads(1, "health")] for path in paths}
        self._servers = {listener: listener.getsockname() for listener in self.sockets}
        for listener in self.sockets:
            _set_options(listener, self.limits)
        super().init_process()

    def get_thread_pool(self) -> Threads:
        """Make the threads for answers, including those that may wait for slow clients."""
        self._pool = Threads(self.cfg.threads + self.limits.held_threads, "answers")
        return self._pool

    # The loop

    def run(self) -> None:
        """Serve until gunicorn stops the worker, then finish the requests under way."""
        self.poller.register(self.method_queue.fileno(), READ, self.method_queue.run_callbacks)
        self.set_accept_enabled(True)
        while self.alive and self._turn():
            pass
        self.set_accept_enabled(False)
        self._looked = 0.0
        deadline = time.monotonic() + self.cfg.graceful_timeout - _BEFORE_THE_MASTER_S
        idle = time.monotonic() + self.limits.stopping_s
        while self._connections.all and time.monotonic() < deadline:
            for conn in list(self._connections.all):
                if conn.state in (State.IDLE, State.HEADER, State.REFUSED):
                    conn.deadline = min(conn.deadline, idle)
            self._turn()
        for conn in list(self._connections.all):
            self._close(conn)
        for pool in (self._pool, *self._pools.values()):
            pool.shutdown()
        self.poller.close()
        self.method_queue.close()
        for listener in self.sockets:
            listener.close()

    def _turn(self) -> bool:
        """Handle the events of up to `tick_s`; return False when gunicorn's master is gone."""
        self.wait_for_and_dispatch_events(self.limits.tick_s)
        now = time.monotonic()
        if now - self._looked < self.limits.tick_s:
            return True
        self._looked = now
        self.notify()
        for conn in list(self._connections.all):
            self._look_at(conn, now)
        self._receiving.relieve()
        if self.alive:
            self.set_accept_enabled(
                len(self._connections.all) < self._connections.most or self._connections.victim(now) is not None
            )
        return bool(self.is_parent_alive())

    def _look_at(self, conn: Connection, now: float) -> None:
        """Close a connection that has taken too long."""
        if conn.state in (State.BODY, State.SENDING) and not conn.paused:
            conn.observe(now)
            if conn.sock.pace is not None and conn.sock.pace.has_stalled:
                if conn.state is State.SENDING:
                    self._close(conn, reset=True)
                else:
                    self._refuse_slow(conn)
        elif conn.paused and now > conn.deadline:
            self._close(conn, reset=True)
        elif conn.state is State.HEADER and now > conn.deadline:
            self._refuse_slow(conn)
        elif conn.state is State.REFUSED and now > conn.deadline:
            self._send_refusal(conn)
        elif conn.state in (State.IDLE, State.CLOSING) and now > conn.deadline:
            self._close(conn)

    # For the subclass

    def _on_event(self, conn: Connection) -> None:
        """Receive or send, as the socket is ready."""
        raise NotImplementedError

    def _refuse_slow(self, conn: Connection) -> None:
        """Refuse a request that has not arrived in time."""
        raise NotImplementedError

    def _send_refusal(self, conn: Connection) -> None:
        """Send a refusal that was held back."""
        raise NotImplementedError

    # Accepting and closing

    def accept(self, listener: socket.socket) -> None:
        """Accept new connections; close old ones for them when there are too many."""
        for _ in range(_ACCEPT_AT_ONCE):
            try:
                sock, client = listener.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                self.set_accept_enabled(self._make_place())
                return
            sock.setblocking(False)
            has_place = len(self._connections.all) < self._connections.most or self._make_place()
            conn = Connection(self.cfg, sock, client, self._servers[listener], self.limits, self._held)
            conn.on_event = lambda _, conn=conn: self._on_event(conn)  # type: ignore[misc]
            self._connections.all.add(conn)
            self._be_idle(conn)
            if not has_place:
                self.set_accept_enabled(False)
                return

    def _make_place(self) -> bool:
        victim = self._connections.victim(time.monotonic())
        if victim is not None:
            self._close(victim, reset=victim.state in (State.BODY, State.SENDING))
        return victim is not None

    def _watch(self, conn: Connection, events: int) -> None:
        if events == conn.watched:
            return
        if not conn.watched:
            self.poller.register(conn.sock.raw, events, conn.on_event)
        elif events:
            self.poller.modify(conn.sock.raw, events, conn.on_event)
        else:
            self.poller.unregister(conn.sock.raw)
        conn.watched = events

    def _watch_rest(self, conn: Connection) -> None:
        """Watch for the rest of a request, unless it is paused."""
        if conn.state in (State.HEADER, State.BODY):
            self._watch(conn, 0 if conn.paused else READ)

    def _be_idle(self, conn: Connection) -> None:
        conn.wait_until(self.cfg.keepalive if self.alive else self.limits.stopping_s, State.IDLE)
        self._connections.add_idle(conn)
        self._watch(conn, READ)
        if self.alive and not self._accepting:  # this one can be closed for a new one
            self.set_accept_enabled(True)

    def _close(self, conn: Connection, *, reset: bool = False) -> None:
        if conn.state is State.CLOSED:
            return
        self._watch(conn, 0)
        self._connections.remove_idle(conn)
        self._connections.all.discard(conn)
        self._refused.pop(conn, None)
        self._sending.leave(conn)
        conn.sock.buffer.clear()
        conn.close(reset=reset)
        self._receiving.count(conn)
        self._receiving.release(conn)
        if self.alive and not self._accepting and len(self._connections.all) < self._connections.most:
            self.set_accept_enabled(True)

    def _end(self, conn: Connection) -> None:
        """Close a connection in two steps, so that the whole answer arrives (RFC 9112, 9.6)."""
        if conn.sock.failed or conn.sock.ended:
            self._close(conn, reset=conn.sock.failed)
            return
        try:
            conn.sock.raw.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(conn)
            return
        conn.sock.buffer.clear()
        self._receiving.count(conn)
        conn.wait_until(self.limits.linger_s, State.CLOSING)
        self._watch(conn, READ)


def _set_options(listener: socket.socket, limits: ClientLimits) -> None:
    """Set options that accepted sockets inherit: answers leave at once, vanished peers are detected."""
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        return
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_NOTSENT_LOWAT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, limits.unsent_bytes)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limits.unacknowledged_s * 1000)
