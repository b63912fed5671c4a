"""A proxy before an S3 server that delays every request and notes what was asked.

Bytes go through unchanged, the Host header among them: clients sign for the proxy's address,
and a server that takes any Host finds the signature right. Connections are served side by
side, and each waits for itself, as distance makes them wait.

It is a process of its own, because a client may hold the lock of its interpreter while it
waits for an answer; the two talk in lines of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

GET, HEAD, LIST = "GET", "HEAD", "LIST"
_PIECE = 1 << 18
_END = b"\r\n\r\n"


class Asked(NamedTuple):
    """One request: its operation (`GET`, `HEAD`, `LIST`, or another method), and the key or prefix it names."""

    operation: str
    key: str


class Counts(NamedTuple):
    """What was asked during a while."""

    asked: tuple[Asked, ...]

    @property
    def total(self) -> int:
        """Number of requests."""
        return len(self.asked)

    def by_operation(self) -> dict[str, int]:
        """Requests of each kind."""
        return dict(Counter(one.operation for one in self.asked))

    def by_array(self, prefix: str) -> dict[str, int]:
        """Requests below `prefix` by the first folder inside it, where embeddings count each by themselves."""
        inside = (one.key[len(prefix) :].strip("/") for one in self.asked if one.key.startswith(prefix))
        return dict(Counter("/".join(key.split("/")[: 2 if key.startswith("emb/") else 1]) for key in inside))


class Proxy:
    """A running proxy; clients use its address `url`."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self._process, self.url = process, url

    def take(self) -> Counts:
        """Everything asked since the last call.

        Raises
        ------
        RuntimeError
            The proxy has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("take\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the proxy has ended")
        return Counts(tuple(Asked(*one) for one in json.loads(line)))


class _Forwarder:
    """What the proxy's process does."""

    def __init__(self, target: str, delay_s: float) -> None:
        parts = urlsplit(target)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._delay_s = delay_s
        self._asked: list[Asked] = []

    async def run(self) -> None:
        """Forward until standard input ends."""
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=_PIECE, backlog=512)
        _say(server.sockets[0].getsockname()[1])
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            asked, self._asked = self._asked, []
            _say(asked)
        server.close()

    async def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """Forward the requests of one connection, one after the other, over a connection of its own."""
        upstream: asyncio.StreamWriter | None = None
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            server, upstream = await asyncio.open_connection(self._host, self._port, limit=_PIECE)
            while True:
                head = await client.readuntil(_END)
                method = self._note(head)
                await asyncio.sleep(self._delay_s)
                upstream.write(head)
                await _body(head, client, upstream)
                while True:
                    reply = await server.readuntil(_END)
                    answer.write(reply)
                    status = int(reply.split(b" ", 2)[1])
                    if status >= 200:  # else "100 Continue", and the answer is still to come
                        break
                    await answer.drain()
                if method != "HEAD" and status not in (204, 304):
                    await _body(reply, server, answer)
                await answer.drain()
        for writer in (answer, upstream):
            if writer is not None:
                writer.close()

    def _note(self, head: bytes) -> str:
        method, target = head.split(b" ", 2)[:2]
        self._asked.append(operation(method.decode(), target.decode("latin-1")))
        return method.decode()


def operation(method: str, target: str) -> Asked:
    """Tell what a request of the S3 protocol, in path style, is about."""
    parts = urlsplit(target)
    _, _, key = unquote(parts.path).lstrip("/").partition("/")
    query = parse_qs(parts.query, keep_blank_values=True)
    if method == "GET" and not key and ("list-type" in query or "prefix" in query):
        return Asked(LIST, query.get("prefix", [""])[0])
    return Asked(method, key)


@contextlib.contextmanager
def running(target: str, delay_s: float = 0.03) -> Iterator[Proxy]:
    """Run a proxy before the server at the URL `target` until the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.s3_proxy", target, str(delay_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Proxy(process, f"http://127.0.0.1:{json.loads(process.stdout.readline())}")
        # It ends with its input; what it still forwards is of no use to anybody.
        process.stdin.close()
        process.terminate()


def _say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


async def _body(head: bytes, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Copy the body that belongs to a head, by its length or chunk by chunk."""
    fields = _fields(head.split(b"\r\n")[1:])
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        while True:
            line = await source.readuntil(b"\r\n")
            sink.write(line)
            size = int(line.split(b";")[0], 16)
            await _copy(size + 2, source, sink)  # its end of line too; trailers are not used by S3
            if size == 0:
                return
    await _copy(int(fields.get(b"content-length", b"0")), source, sink)


async def _copy(size: int, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while size:
        piece = await source.read(min(size, _PIECE))
        if not piece:
            raise OSError("the other side closed the connection")
        sink.write(piece)
        await sink.drain()
        size -= len(piece)


def _fields(lines: Sequence[bytes]) -> dict[bytes, bytes]:
    return {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}


if __name__ == "__main__":
    asyncio.run(_Forwarder(sys.argv[1], float(sys.argv[2])).run())
