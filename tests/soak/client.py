"""A client that keeps its connection, as browsers do, from an address of its own."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import os
import re
import socket
import sys
import threading

from tests.soak.judge import STORE_LIMIT_S
from tests.soak.questions import COMPARISON, PAGE, Question

# Twice as long as an answer may take, so that late ones are told from those that never come.
_TIMEOUT_S = STORE_LIMIT_S + 5.0
_BLOCK = re.compile(rb'(<script type="application/json" id="cxg-visit">)(.*?)(</script>)', re.DOTALL)


def digest_of(question: Question, body: bytes) -> str:
    """Short digest of the body that answers a question; the last digits of a comparison's numbers do not count.

    They depend on the order in which cells are added up, and that on whether they were decoded in advance. Of a page,
    what tells where its dataset is does not count either.
    """
    if question.kind == COMPARISON:
        body = rounded(body)
    elif question.kind == PAGE:
        body = placeless(body)
    return hashlib.blake2b(body, digest_size=12).hexdigest()


def placeless(body: bytes) -> bytes:
    """A page without the name of its dataset, its files and the address of its version."""

    def plain(found: re.Match[bytes]) -> bytes:
        data = json.loads(found[2])
        for key in ("dataset", "version", "api"):
            del data[key]
        return found[1] + json.dumps(data).encode() + found[3]

    return _BLOCK.sub(plain, body)


def rounded(body: bytes) -> bytes:
    """A comparison's answer with six digits of each number; any other body as it is."""
    try:
        found = json.loads(body, parse_float=lambda text: f"{float(text):.5e}")
    except ValueError:
        return body
    return json.dumps(found).encode()


def address(dataset: str, question: Question) -> str:
    """Path of a question about a dataset."""
    return f"/d/{dataset}/{question.route}"


class Client:
    """One connection that is kept, from one address.

    Parameters
    ----------
    source : str
        Address of this machine to come from; empty for any.
    """

    def __init__(self, port: int, source: str = "", timeout_s: float = _TIMEOUT_S) -> None:
        self._port, self._source, self._timeout_s = port, source, timeout_s
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, bytes, bool]:
        """Status, body, and whether it says when to ask again; a kept connection that was closed is made anew.

        Raises
        ------
        OSError, HTTPException
            No answer came, or only a part of one.
        """
        is_kept = self._connection is not None
        try:
            return self._ask(path, body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            self.close()
            if not is_kept:
                raise
            return self._ask(path, body)
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _ask(self, path: str, body: bytes | None) -> tuple[int, bytes, bool]:
        if self._connection is None:
            source = (self._source, 0) if self._source else None
            self._connection = http.client.HTTPConnection("127.0.0.1", self._port, self._timeout_s, source)
            self._connection.connect()
            self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        headers = {"Accept-Encoding": "gzip"} | ({"Content-Type": "application/json"} if body else {})
        self._connection.request("POST" if body else "GET", path, body, headers)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.headers.get("Content-Encoding") == "gzip":
            data = gzip.decompress(data)
        if answer.will_close:
            self.close()
        return answer.status, data, "Retry-After" in answer.headers


def end_with_a_thread() -> None:
    """From now on a fault in one thread ends this process, so that no client is missed silently."""
    told = threading.excepthook

    def end(arguments: threading.ExceptHookArgs) -> None:
        told(arguments)
        sys.stderr.flush()
        os._exit(3)

    threading.excepthook = end


def source_address(number: int) -> str:
    """The loopback address of one client; other systems than Linux have only one, which is chosen by itself."""
    return f"127.0.{1 + number // 200}.{1 + number % 200}" if sys.platform == "linux" else ""
