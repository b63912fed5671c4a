"""One run of one server: what is asked of it, in which order, and what is written down."""

from __future__ import annotations

import gzip
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmarks import goals, load
from benchmarks.connection import BROWSER, IDENTITY, Connection, Reply
from benchmarks.goals import Row
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
from benchmarks.results import DECODED, FIRST, REPEAT, UNDECODED, Results
from benchmarks.servers import OURS, Running, planned
from benchmarks.sizes import Sizes

ENCODINGS = {BROWSER: "browser", IDENTITY: "identity"}
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
    """Measurements of one running server, written into `results`."""

    def __init__(self, server: Running, sizes: Sizes, results: Results, number: int) -> None:
        self.server, self.sizes, self.results, self.number = server, sizes, results, number
        # The name of the gene column is known once the schema was read.
        self.questions = Questions(server.api, "", server.data.cells, server.data.genes)
        # Every gene is asked for in one of the parts only, so that first-time means what it says.
        self._genes = iter(self.questions.genes_in_order(number))
        self._seed = 1000 * (number + 1)
        self._decoded_s: float | None = None

    def add(self, row: Row, values: Iterable[float], **more: Any) -> None:
        """Write down one record of this run."""
        kind, data = self.server.kind, self.server.data
        self.results.add(kind.label, data.name, row.key, tuple(values), round=self.number, **more)

    def start(self) -> None:
        """Time to the first healthy answer, memory when it has come to rest."""
        self.add(goals.START, [self.server.healthy_s])
        wait_idle(self.server.pid, 0.5, 20)
        self.add(goals.PSS_START, [memory(self.server.pid).mb])

    def open(self, connection: Connection, encoding: str) -> None:
        """First request to the dataset, then its schema."""
        api = self.server.api
        reply = connection.ask(f"{api}config")
        _check(reply, "config")
        self.add(goals.OPEN, [reply.seconds], encoding=encoding, when=FIRST, sizes=(reply.size,))
        path = f"{api}schema"
        first = connection.ask(path)
        _check(first, path)
        self.prepare()
        again = [connection.ask(path) for _ in range(4 * self.sizes.repeats)]
        self._keep(goals.SCHEMA, encoding, [first], again)

    def prepare(self) -> None:
        """Read the name of the gene column from the schema, untimed."""
        with Connection(self.server.port, "gzip") as connection:
            reply = connection.ask(f"{self.server.api}schema", keep=True)
        _check(reply, "schema")
        text = gzip.decompress(reply.body) if reply.encoding == "gzip" else reply.body
        index, data = json.loads(text)["schema"]["annotations"]["var"]["index"], self.server.data
        self.questions = Questions(self.server.api, index, data.cells, data.genes)

    def latency(self, header: str) -> None:
        """First-time and repeated latency of every kind of answer, one request at a time on one connection."""
        encoding = ENCODINGS[header]
        with Connection(self.server.port, header) as connection:
            self.open(connection, encoding)
            ask = self.questions
            sets = [list(itertools.islice(self._genes, GENES_PER_SET)) for _ in range(self.sizes.sets)]
            for row, paths in (
                (goals.CATEGORICAL, [ask.column(name) for name in CATEGORICAL]),
                (goals.FLOAT, [ask.column(name) for name in FLOATS]),
                (goals.EMBEDDING, [ask.embedding(name) for name in EMBEDDINGS]),
                (goals.GENE, [ask.gene(gene) for gene in itertools.islice(self._genes, self.sizes.genes)]),
                (goals.MEAN, [ask.mean(genes) for genes in sets]),
            ):
                # The first answer of a kind also pays for what is loaded once; it counts like the others.
                first, again = [], []
                for path in paths:
                    first.append(connection.ask(path))
                    again += [connection.ask(path) for _ in range(self.sizes.repeats)]
                for reply in (*first, *again):
                    _check(reply, row.key)
                self._keep(row, encoding, first, again)

    def latency_decoded(self, header: str) -> None:
        """First-time latency of the same answers, once our server has decoded the dataset in the background."""
        self.decode()
        sets = [list(itertools.islice(self._genes, GENES_PER_SET)) for _ in range(self.sizes.sets)]
        genes = list(itertools.islice(self._genes, self.sizes.genes))
        with Connection(self.server.port, header) as connection:
            # Another worker than before may answer this connection; let it open the dataset.
            _check(connection.ask(f"{self.server.api}schema"), "schema")
            ask = self.questions
            for row, paths in (
                # These were asked for before: another URL for the same has them made again.
                (goals.CATEGORICAL, [f"{ask.column(name)}&{_ANEW}" for name in CATEGORICAL]),
                (goals.FLOAT, [f"{ask.column(name)}&{_ANEW}" for name in FLOATS]),
                (goals.EMBEDDING, [f"{ask.embedding(name)}&{_ANEW}" for name in EMBEDDINGS]),
                (goals.GENE, [ask.gene(gene) for gene in genes]),
                (goals.MEAN, [ask.mean(chosen) for chosen in sets]),
            ):
                replies = [connection.ask(path) for path in paths]
                for reply in replies:
                    _check(reply, row.key)
                self.add(row, [reply.seconds for reply in replies], encoding=ENCODINGS[header], when=DECODED)

    def _keep(self, row: Row, encoding: str, first: Sequence[Reply], again: Sequence[Reply]) -> None:
        for when, replies in ((FIRST, first), (REPEAT, again)):
            self.add(
                row,
                [reply.seconds for reply in replies],
                encoding=encoding,
                when=when,
                sizes=tuple(reply.size for reply in replies) if when == FIRST else (),
                extra={"content_encodings": sorted({reply.encoding for reply in replies})},
            )

    def diffexp(self, *, undecoded: bool = False) -> None:
        """Comparisons of sets of cells, each asked once."""
        n_cells, theirs = self.server.data.cells, self.server.kind.name != OURS
        when = UNDECODED if undecoded else FIRST
        if not undecoded:
            self.decode()
        with Connection(self.server.port) as connection:
            self._first_comparison(connection)
            for cells, ours_times, their_times in self.sizes.diffexp:
                times = 1 if undecoded else their_times if theirs else ours_times
                self._compare(connection, goals.random_row(cells), when, times, random_sets, n_cells, cells)
            times = 1 if undecoded or theirs else 3
            for cells in self.sizes.contiguous:
                self._compare(connection, goals.contiguous_row(cells), when, times, contiguous_sets, n_cells, cells)
            for cells in self.sizes.rest:
                self._compare(connection, goals.rest_row(cells), when, times, set_and_rest, n_cells, cells)

    def _compare(
        self, connection: Connection, row: Row, when: str, times: int, choose: Callable[..., Any], n: int, cells: int
    ) -> None:
        path, replies = f"{self.server.api}diffexp/obs", []
        for number in range(times):
            body = diffexp_body(*choose(n, cells, self._seed + number))
            replies.append(connection.ask(path, body, accept="application/json"))
            _check(replies[-1], row.key)
        sizes = tuple(reply.size for reply in replies)
        self.add(row, [reply.seconds for reply in replies], when=when, sizes=sizes)

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
            if self.server.kind.name == OURS:
                waited_s = wait_idle(self.server.pid, _DECODING_QUIET_S, _DECODING_LIMIT_S)
                self._decoded_s = max(0.0, waited_s - _DECODING_QUIET_S)
        return self._decoded_s

    def _first_comparison(self, connection: Connection) -> None:
        """Pay, untimed, for what the process at the other end loads when it is first asked to compare."""
        body = diffexp_body(*random_sets(self.server.data.cells, 5, self._seed))
        _check(connection.ask(f"{self.server.api}diffexp/obs", body), "diffexp")

    def throughput(self, row: Row, clients: int, *, again: bool = True, header: str = BROWSER) -> dict[str, Any]:
        """Requests per second from many visitors at once."""
        genes = list(itertools.islice(self._genes, self.sizes.popular)) if again else list(self._genes)
        visits = self.questions.visits(self._seed, genes, again=again)
        listed = list(itertools.islice(visits, _LISTED_VISITS))
        times = self.sizes.warm_s, self.sizes.load_s
        try:
            seen = load.run(self.server.port, self.server.pid, listed, clients, *times, again=again, encoding=header)
        except RuntimeError as error:
            # The published server may take all memory there is.
            if is_running(self.server.pid):
                raise
            raise ServerEnded(f"{self.server.kind.label} ended by itself under {clients} clients") from error
        if seen["failed"]:
            raise RuntimeError(f"{self.server.kind.label}: {seen['failed']} requests of the load failed.")
        self.add(row, [seen["per_s"]], encoding=ENCODINGS[header], extra=seen)
        return seen

    def busy(self) -> None:
        """Latency of `/schema` on six connections in turn while another visitor compares cells."""
        path, stop, compared = f"{self.server.api}schema", threading.Event(), []
        n_cells, cells = self.server.data.cells, self.sizes.busy_cells
        body = diffexp_body(*random_sets(n_cells, cells, self._seed + 500))

        def compare() -> None:
            with Connection(self.server.port) as connection:
                while not stop.is_set():
                    compared.append(connection.ask(f"{self.server.api}diffexp/obs", body).seconds)

        connections = [Connection(self.server.port) for _ in range(_BROWSER_CONNECTIONS)]
        seconds: list[float] = []
        for connection in connections:
            _check(connection.ask(path), path)
        other = threading.Thread(target=compare)
        other.start()
        time.sleep(0.05)
        until = time.monotonic() + self.sizes.busy_s
        for connection in itertools.cycle(connections):
            if time.monotonic() > until:
                break
            seconds.append(connection.ask(path).seconds)
            time.sleep(0.01)
        stop.set()
        other.join()
        for connection in connections:
            connection.close()
        self.add(goals.BUSY, seconds, encoding="browser", extra={"comparisons": len(compared)})

    def memory(self) -> None:
        """Largest memory over everything a server is asked, and what is left afterwards; nothing is timed.

        The published server is asked by one visitor only, as many can make it take more than there is.
        """
        ours = self.server.kind.name == OURS
        apart = Run(self.server, self.sizes, Results(), self.number)
        with PeakWatch(self.server.pid) as watch:
            apart.latency(BROWSER)
            apart.diffexp()
            if ours:
                apart.throughput(goals.LOAD_8, 8)
                apart.busy()
                with PeakWatch(self.server.pid) as crowd:
                    apart.throughput(goals.LOAD_64, 64)
                self.add(goals.PSS_64, [crowd.peak.mb], extra=crowd.peak._asdict())
                apart.throughput(goals.LOAD_NEW, 8, again=False)
        plan = {"plan": planned(self.server.kind)} if ours else {}
        self.add(goals.PSS_PEAK, [watch.peak.mb], extra=watch.peak._asdict() | plan)
        self.add(goals.PSS_ANONYMOUS, [watch.peak.anonymous_mb])
        wait_idle(self.server.pid, 1.0, 30)
        self.add(goals.PSS_LOAD, [memory(self.server.pid).mb])


def _check(reply: Reply, what: str) -> None:
    if reply.status != 200:
        raise RuntimeError(f"{what} was answered with status {reply.status}.")
