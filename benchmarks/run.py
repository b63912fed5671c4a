"""One run of one server: what is asked of it, in which order, and what is written down."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import load
from benchmarks.connection import BROWSER, Connection, Reply
from benchmarks.processes import PeakWatch, is_running, memory, wait_idle
from benchmarks.questions import (
    CATEGORICAL,
    EMBEDDINGS,
    FLOATS,
    GENES_PER_SET,
    Questions,
    contiguous_sets,
    diffexp_body,
    random_sets,
    set_and_rest,
)
from benchmarks.results import OURS, REFERENCE, Results
from benchmarks.servers import Running, planned
from benchmarks.sizes import Sizes

_BROWSER_CONNECTIONS = 6
_LISTED_VISITS = 20_000
# Our server starts to decode X a moment after it is first asked to compare; this long without work means done.
_DECODING_QUIET_S = 3.0
_DECODING_LIMIT_S = 1800.0
# A parameter that means nothing to a server.
_ANEW = "anew=1"


class ServerEnded(RuntimeError):
    """A server ended by itself while it was measured; that is a result too."""


class Run:
    """Measurements of one running server, written into `results`.

    Parameters
    ----------
    number : of the round; another one asks for other genes and cells
    column : where there is no other server to compare with; else the server's own name
    """

    def __init__(self, server: Running, sizes: Sizes, results: Results, number: int, column: str = "") -> None:
        self.server, self.sizes, self.results = server, sizes, results
        self.ours, self.column, self._alone = server.kind.name == OURS, column or server.kind.label, bool(column)
        self._number = number
        # The name of the gene column is known once the schema was read.
        self.questions = Questions(server.api, "", server.data.cells, server.data.genes)
        # Every gene is asked for in one of the parts only, so that first-time means what it says.
        self._genes = iter(self.questions.genes_in_order(number))
        self._seed = 1000 * (number + 1)
        self._decoded_s: float | None = None

    def start(self) -> None:
        """Time to the first healthy answer, memory when it has come to rest."""
        self.results.add("start to first healthy answer, s", self.column, [self.server.healthy_s])
        wait_idle(self.server.pid, 0.5, 20)
        self.results.add("memory (PSS) after start, MB", self.column, [memory(self.server.pid).mb])

    def prepare(self) -> None:
        """Read the name of the gene column from the schema, untimed."""
        with Connection(self.server.port, "gzip") as connection:
            reply = _require(connection.ask(f"{self.server.api}schema", keep=True), "schema")
        text = gzip.decompress(reply.body) if reply.encoding == "gzip" else reply.body
        index, data = json.loads(text)["schema"]["annotations"]["var"]["index"], self.server.data
        self.questions = Questions(self.server.api, index, data.cells, data.genes)

    def latency(self, header: str, repeats: int | None = None) -> None:
        """First-time and repeated latency of every kind of answer, one request at a time on one connection."""
        repeats = self.sizes.repeats if repeats is None else repeats
        with Connection(self.server.port, header) as connection:
            opened = _require(connection.ask(f"{self.server.api}config"), "config")
            self._keep("first request to a dataset (`/config`), ms", "first", [opened])
            self.prepare()
            for row, paths in [("schema, ms", [f"{self.server.api}schema"]), *self._paths()]:
                # The first answer of a kind also pays for what is loaded once; it counts like the others.
                first, again = [], []
                for path in paths:
                    first.append(_require(connection.ask(path), path))
                    again += [_require(connection.ask(path), path) for _ in range(repeats)]
                self._keep(row, "first", first)
                self._keep(row, "repeat", again)
                if not self._alone:
                    self.results.add(row, "kB" if self.ours else f"{REFERENCE} kB", [one.size / 1000 for one in first])

    def latency_decoded(self, header: str) -> None:
        """First-time latency of the same answers, once our server has decoded the dataset in the background."""
        self.decode()
        with Connection(self.server.port, header) as connection:
            # Another worker than before may answer this connection; let it open the dataset.
            _require(connection.ask(f"{self.server.api}schema"), "schema")
            for row, paths in self._paths(f"&{_ANEW}"):
                self._keep(row, "decoded", [_require(connection.ask(path), path) for path in paths])

    def _paths(self, suffix: str = "") -> list[tuple[str, list[str]]]:
        """Rows and what is asked for them: genes that nobody asked for, columns with a suffix the second time."""
        ask = self.questions
        sets = [list(itertools.islice(self._genes, GENES_PER_SET)) for _ in range(self.sizes.sets)]
        return [
            ("categorical obs column, ms", [ask.column(name) + suffix for name in CATEGORICAL]),
            ("float obs column, ms", [ask.column(name) + suffix for name in FLOATS]),
            ("embedding, ms", [ask.embedding(name) + suffix for name in EMBEDDINGS]),
            ("gene, ms", [ask.gene(gene) for gene in itertools.islice(self._genes, self.sizes.genes)]),
            (f"mean of {GENES_PER_SET} genes, ms", [ask.mean(genes) for genes in sets]),
        ]

    def _keep(self, row: str, when: str, replies: Sequence[Reply]) -> None:
        column = self.column if self._alone and when == "first" else f"{self.column}, {when}"
        if replies:
            self.results.add(row, column, [1000 * reply.seconds for reply in replies])

    def diffexp(self, *, decoded: bool = True, column: str = "") -> None:
        """Comparisons of sets of cells, each asked once."""
        if decoded:
            self.decode()
        column = column or self.column
        few = not (decoded and self.ours)
        with Connection(self.server.port) as connection:
            self._first_comparison(connection)
            for cells, ours_times, their_times in self.sizes.diffexp:
                times = their_times if not self.ours else 1 if few else ours_times
                self._compare(connection, f"{cells:,} + {cells:,} random cells, s", column, times, random_sets, cells)
            for cells in self.sizes.contiguous:
                row = f"{cells:,} + {cells:,} neighbouring cells, s"
                self._compare(connection, row, column, 1 if few else 3, contiguous_sets, cells)
            for cells in self.sizes.rest:
                row = f"{cells:,} random cells against all others, s"
                self._compare(connection, row, column, 1 if few else 3, set_and_rest, cells)

    def _compare(
        self, connection: Connection, row: str, column: str, times: int, choose: Callable[..., Any], cells: int
    ) -> None:
        seconds = []
        for number in range(times):
            body = diffexp_body(*choose(self.server.data.cells, cells, self._seed + number))
            reply = connection.ask(f"{self.server.api}diffexp/obs", body, accept="application/json")
            seconds.append(_require(reply, row).seconds)
        self.results.add(row, column, seconds)

    def decode(self) -> float:
        """Let our server finish what it prepares in the background after the first comparison.

        Returns
        -------
        float
            Seconds from that comparison until it was done; 0.0 for a server that prepares nothing.
        """
        if self._decoded_s is None:
            with Connection(self.server.port) as connection:
                self._first_comparison(connection)
            self._decoded_s = 0.0
            if self.ours:
                waited_s = wait_idle(self.server.pid, _DECODING_QUIET_S, _DECODING_LIMIT_S)
                self._decoded_s = max(0.0, waited_s - _DECODING_QUIET_S)
        return self._decoded_s

    def _first_comparison(self, connection: Connection) -> None:
        """Pay, untimed, for what the process at the other end loads when it is first asked to compare."""
        body = diffexp_body(*random_sets(self.server.data.cells, 5, self._seed))
        _require(connection.ask(f"{self.server.api}diffexp/obs", body), "diffexp")

    def throughput(self, vegeta: Path, row: str, clients: int, *, again: bool = True, header: str = BROWSER) -> None:
        """Requests per second from many visitors at once."""
        genes = list(itertools.islice(self._genes, self.sizes.popular)) if again else list(self._genes)
        visits = itertools.islice(self.questions.visits(self._seed, genes, again=again), _LISTED_VISITS)
        paths, seconds = [path for _, path in visits], (self.sizes.warm_s, self.sizes.load_s)
        server = self.server
        try:
            seen = load.run(vegeta, server.port, server.pid, paths, clients, *seconds, again=again, encoding=header)
        except RuntimeError as error:
            # The published server may take all memory there is.
            if is_running(server.pid):
                raise RuntimeError(f"{self.column}: {error}") from error
            raise ServerEnded(f"{self.column} ended by itself under {clients} clients") from error
        self.results.add(row, self.column, [seen["per_s"]])
        if self.ours:
            self.results.add(row, "median, ms", [1000 * seen["median_s"]])
            self.results.add(row, "p95, ms", [1000 * seen["p95_s"]])
            self.results.add(row, "server, CPUs", [seen["server_cpus"]])
            self.results.add(row, "clients, CPUs", [seen["client_cpus"]])

    def busy(self) -> None:
        """Latency of `/schema` on six connections in turn while another visitor compares cells."""
        path, stop = f"{self.server.api}schema", threading.Event()
        body = diffexp_body(*random_sets(self.server.data.cells, self.sizes.busy_cells, self._seed + 500))

        def compare() -> None:
            with Connection(self.server.port) as connection:
                while not stop.is_set():
                    connection.ask(f"{self.server.api}diffexp/obs", body)

        connections = [Connection(self.server.port) for _ in range(_BROWSER_CONNECTIONS)]
        for connection in connections:
            _require(connection.ask(path), path)
        other, seconds = threading.Thread(target=compare), []
        other.start()
        time.sleep(0.05)
        until = time.monotonic() + self.sizes.busy_s
        for connection in itertools.cycle(connections):
            if time.monotonic() > until:
                break
            seconds.append(1000 * connection.ask(path).seconds)
            time.sleep(0.01)
        stop.set()
        other.join()
        for connection in connections:
            connection.close()
        self.results.add("`/schema` while another user's diffexp runs, ms", self.column, seconds)

    def memory(self, vegeta: Path | None, asked: Callable[[], None] = lambda: None) -> None:
        """Largest memory over everything a server is asked, beside what ours plans; nothing is timed.

        The published server is asked by one visitor only, as many can make it take more than there is.
        """
        apart = Run(self.server, self.sizes, _Forgotten(), self._number)
        with PeakWatch(self.server.pid) as watch:
            apart.latency(BROWSER)
            apart.diffexp()
            if self.ours:
                apart.latency_decoded(BROWSER)
                apart.busy()
            if self.ours and vegeta:
                apart.throughput(vegeta, "", 64)
            asked()
        if self.ours:
            self.results.add("memory planned, MB", self.column, [planned(self.server.kind)["mb"]])
        self.results.add("peak memory over everything, MB", self.column, [watch.peak.mb])
        self.results.add("of it anonymous, at most, MB", self.column, [watch.peak.anonymous_mb])
        wait_idle(self.server.pid, 1.0, 30)
        self.results.add("memory afterwards, MB", self.column, [memory(self.server.pid).mb])


class _Forgotten(Results):
    """Keeps nothing."""

    def __init__(self) -> None:
        super().__init__(Path("/nonexistent"))

    def add(self, row: str, column: str, values: Sequence[float]) -> None:
        """Forget it."""


def _require(reply: Reply, what: str) -> Reply:
    if reply.status != 200:
        raise RuntimeError(f"{what} was answered with status {reply.status}.")
    return reply
