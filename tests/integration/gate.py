"""A gate before a TCP server that can be shut in the two ways in which a network fails: refusal and silence."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

OPEN, REFUSING, SILENT = "open", "refusing", "silent"
_PIECE = 1 << 16


class Gate:
    """Passes connections on to `target`, a URL, while it is open; `url` is its own address."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._listener = self._listen(0)
        self._port: int = self._listener.getsockname()[1]
        self._passing = threading.Event()
        self._passing.set()
        self.url = f"http://127.0.0.1:{self._port}"

    def shut(self, how: str) -> None:
        """From now on refuse connections, or take them and stay silent; those that exist share the fate."""
        if how == SILENT:
            self._passing.clear()
            return
        # Waking `accept` needs more than `close`: the kernel keeps the socket while a thread waits in it.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._drop()

    def open(self) -> None:
        """Pass everything on again; connections that met silence are dropped, as their peers' routers would do."""
        if self._listener.fileno() < 0:
            self._listener = self._listen(self._port)
        self._passing.set()
        self._drop()

    def close(self) -> None:
        """End the gate and every connection."""
        self.shut(REFUSING)
        self._passing.set()

    def _listen(self, port: int) -> socket.socket:
        listener = socket.create_server(("127.0.0.1", port), backlog=256)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
        return listener

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        self._passing.wait()
        try:
            server = socket.create_connection(self._target, 10)
        except OSError:
            client.close()
            return
        pair = (client, server)
        with self._lock:
            self._pairs.add(pair)
        with contextlib.suppress(OSError), selectors.DefaultSelector() as ready:
            for one, other in (pair, pair[::-1]):
                ready.register(one, selectors.EVENT_READ, other)
            while True:
                for key, _ in ready.select():
                    self._passing.wait()
                    piece = key.fileobj.recv(_PIECE)  # type: ignore[union-attr]
                    if not piece:
                        raise OSError("one side has closed")
                    key.data.sendall(piece)
        for one in pair:
            one.close()
        with self._lock:
            self._pairs.discard(pair)

    def _drop(self) -> None:
        with self._lock:
            pairs = list(self._pairs)
        for one in (one for pair in pairs for one in pair):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def running(target: str) -> Iterator[Gate]:
    """Run a gate until the block ends."""
    gate = Gate(target)
    try:
        yield gate
    finally:
        gate.close()
