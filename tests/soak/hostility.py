"""Hostile clients: one function for each kind, which goes on until it is told to stop.

They live in a process of their own and come from an address of their own. Their rate is
bounded, so that a server that is fair to all has processors left for the others.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import resource
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple

from tests.integration.hostile import API, Generator
from tests.integration.hostile_client import Client as OddClient
from tests.soak.client import Client, end_with_a_thread
from tests.soak.datasets import ALL, LARGE
from tests.soak.schedule import ODD

SOURCE = "127.0.0.2" if sys.platform == "linux" else ""
_HELD, _MOST_IDLE, _SPARE_FILES = 20, 2_100, 400
_ODD_PER_S, _RELOADS_PER_S = 8.0, 10.0
# Requests at once. Between two bursts a server has time for others, as processors are few.
_COMPARISONS, _WIDE, _BURST_EVERY_S = 16, 8, 4.0
_BODY_BYTES, _BODY_EVERY_S, _PIECE = 60_000_000, 4.0, 1 << 18
_LARGE = f"/d/large.cxg/{API}"
_TAKE_S = 15.0


class Told(NamedTuple):
    """What the parent is told of one kind when it ends: statuses by number (0: no answer), and server errors."""

    kind: str
    server: str
    statuses: dict[int, int]
    faults: list[str]


class Attack:
    """What one kind works with.

    Attributes
    ----------
    statuses : Counter of int
        Of the answers; 0 where none came.
    faults : list of str
        Server errors, with what was asked.
    """

    def __init__(self, port: int, seed: int, done: threading.Event) -> None:
        self.port, self.seed, self.done = port, seed, done
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []

    def note(self, status: int, what: str) -> None:
        """Count an answer."""
        self.statuses[status] += 1
        if status >= 500 and status not in (501, 503):
            self.faults.append(f"{status} to {what[:300]}")

    def connect(self) -> socket.socket:
        """Open a connection from the hostile address."""
        return socket.create_connection(("127.0.0.1", self.port), _TAKE_S, (SOURCE, 0) if SOURCE else None)

    def ask(self, path: str, body: bytes | None = None) -> None:
        """Ask over a connection of its own."""
        client = Client(self.port, SOURCE, _TAKE_S)
        status = 0
        with contextlib.suppress(OSError, EOFError, http.client.HTTPException):
            status = client.ask(path, body)[0]
        client.close()
        self.note(status, path)

    def ask_at_once(self, asked: Sequence[tuple[str, bytes | None]]) -> None:
        """Ask all of it side by side."""
        threads = [threading.Thread(target=self.ask, args=one) for one in asked]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def paced(self, every_s: float) -> Iterator[int]:
        """Count up, at most once in `every_s` seconds, until the end."""
        for number in itertools.count():
            began_s = time.monotonic()
            yield number
            if self.done.wait(max(0.01, began_s + every_s - time.monotonic())):
                return


def odd_requests(attack: Attack) -> None:
    """Send what the generator makes: broken paths, queries, headers, bodies and framing."""
    client = OddClient(attack.port, SOURCE)
    made = Generator(ALL, attack.seed).requests(1 << 40)
    for _ in attack.paced(1 / _ODD_PER_S):
        client.send(next(made))
    client.close()
    attack.statuses.update(client.statuses)
    attack.statuses[0] += len(client.unanswered)
    attack.faults += [
        f"{status} to {asked[:300]!r}: {answer[:300]!r}" for status, asked, answer in client.faults if status != 503
    ]


def large_bodies(attack: Attack) -> None:
    """Send bodies of 60 MB, whole and in chunks, to each route that takes one."""
    index = b'{"filter":{"var":{"index":[' + b"[0,1]," * (_BODY_BYTES // 6) + b"0]}}}"
    routes = (("PUT", "data/var"), ("POST", "diffexp/obs"), ("POST", "summarize/var"))
    for number in attack.paced(_BODY_EVERY_S):
        method, route = routes[number % len(routes)]
        attack.note(_send_large(attack, method, route, index, is_chunked=number % 2 == 1), f"{method} {route}, 60 MB")


def _send_large(attack: Attack, method: str, route: str, body: bytes, *, is_chunked: bool) -> int:
    kind = "application/x-www-form-urlencoded" if "summarize" in route else "application/json"
    framing = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(body)}"
    head = f"{method} {_LARGE}{route} HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\n{framing}\r\n\r\n"
    with contextlib.suppress(OSError), attack.connect() as sock:
        with contextlib.suppress(OSError):  # it may answer and close before it has all
            sock.sendall(head.encode())
            for start in range(0, len(body), _PIECE):
                piece = body[start : start + _PIECE]
                sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
                if attack.done.is_set():
                    return 0
            sock.sendall(b"0\r\n\r\n" if is_chunked else b"")
        with contextlib.suppress(ValueError, IndexError):
            return int(sock.recv(4096).split(b" ", 2)[1])
    return 0


def _hold(attack: Attack, count: int, first: bytes, more: bytes) -> None:
    """Keep connections open, send `first`, and a little of `more` each second."""
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(count):
            with contextlib.suppress(OSError):
                sock = stack.enter_context(attack.connect())
                sock.sendall(first)
                held.append(sock)
            if attack.done.is_set():
                return
        attack.statuses[0] += len(held)
        while more and not attack.done.wait(1.0):
            for sock in held:
                with contextlib.suppress(OSError):
                    sock.sendall(more)
        attack.done.wait()


def half_headers(attack: Attack) -> None:
    """Hold connections with half a header, to which another line comes every second."""
    _hold(attack, _HELD, b"GET / HTTP/1.1\r\nHost: h\r\n", b"X-A: b\r\n")


def half_bodies(attack: Attack) -> None:
    """Hold connections with half a body, to which another byte comes every second."""
    head = f"POST {_LARGE}diffexp/obs HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n"
    _hold(attack, _HELD, head.encode() + b"{", b" ")


def idle_connections(attack: Attack) -> None:
    """Hold as many connections as this process may, after one answer each."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _SPARE_FILES
    _hold(attack, max(_HELD, min(_MOST_IDLE, most)), b"GET /health/live HTTP/1.1\r\nHost: h\r\n\r\n", b"")


def slow_readers(attack: Attack) -> None:
    """Ask for an answer of megabytes, and read a few bytes of it each second."""
    genes = "&".join(f"var:name_0=gene{i}" for i in range(20))
    asked = f"GET {_LARGE}data/var?{genes} HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(_HELD):
            sock = stack.enter_context(socket.socket())
            sock.settimeout(_TAKE_S)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            with contextlib.suppress(OSError):
                sock.bind((SOURCE, 0))
                sock.connect(("127.0.0.1", attack.port))
                sock.sendall(asked)
                sock.settimeout(0.01)
                held.append(sock)
        attack.statuses[0] += len(held)
        while not attack.done.wait(1.0):
            for sock in held:
                with contextlib.suppress(OSError):
                    sock.recv(100)


def comparison_bursts(attack: Attack) -> None:
    """Ask for many comparisons of all cells at once, again and again."""
    bodies = []
    for share in range(_COMPARISONS):
        cut = LARGE.n_obs // 2 + share
        runs = ([[0, cut]], [[cut, LARGE.n_obs]])
        first, second = ({"filter": {"obs": {"index": run}}} for run in runs)
        bodies.append(json.dumps({"mode": "topN", "count": 10, "set1": first, "set2": second}).encode())
    for _ in attack.paced(_BURST_EVERY_S):
        attack.ask_at_once([(f"{_LARGE}diffexp/obs", body) for body in bodies])


def wide_filters(attack: Attack) -> None:
    """Ask many times at once for all the genes that one range selects, for their mean, and for all columns."""
    paths = ("data/var?var:number=*,310", "data/var?var:number=10,320", "annotations/obs?")
    paths = (*paths, "summarize/var?method=mean&var:number=*,390")
    for number in attack.paced(_BURST_EVERY_S):
        asked = (paths[share % len(paths)] for share in range(_WIDE))
        attack.ask_at_once([(f"{_LARGE}{path}&nbins={number}-{share}", None) for share, path in enumerate(asked)])


def start_page_reloads(attack: Attack) -> None:
    """Reload the start page without pause."""
    for _ in attack.paced(1 / _RELOADS_PER_S):
        attack.ask("/")


ATTACKS: dict[str, Callable[[Attack], None]] = {
    ODD: odd_requests,
    "large bodies": large_bodies,
    "half headers": half_headers,
    "half bodies": half_bodies,
    "slow readers": slow_readers,
    "idle connections": idle_connections,
    "comparison bursts": comparison_bursts,
    "wide filters": wide_filters,
    "start page reloads": start_page_reloads,
}


def run(ports: dict[str, int], seed: int, parent: Connection) -> None:
    """Attack as the parent says, with ("begin" or "end", kind, server), until it sends None; for a process of its own."""
    end_with_a_thread()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    running: dict[tuple[str, str], tuple[Attack, threading.Thread]] = {}
    ending: list[threading.Thread] = []
    lock = threading.Lock()

    def end(kind: str, server: str) -> None:
        attack, thread = running.pop((kind, server))
        attack.done.set()
        thread.join(2 * _TAKE_S)
        with lock:
            parent.send(Told(kind, server, dict(attack.statuses), attack.faults[:20]))

    while (told := parent.recv()) is not None:
        what, kind, server = told
        if what == "begin":
            attack = Attack(ports[server], seed, threading.Event())
            running[kind, server] = attack, threading.Thread(target=ATTACKS[kind], args=(attack,), daemon=True)
            running[kind, server][1].start()
        else:  # some are in the middle of something
            ending.append(threading.Thread(target=end, args=(kind, server)))
            ending[-1].start()
    for thread in ending:
        thread.join()
    parent.send(None)
