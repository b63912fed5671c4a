"""What our server costs when the data is on S3, and every request to it takes 30 ms longer.

The CXG is uploaded to an S3 server in a container on the same machine. Ours reads it through
a proxy that delays each request and counts it, so what is measured is how many requests wait
for each other; a real store's bandwidth comes on top.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks import datasets
from benchmarks.connection import Connection
from benchmarks.questions import VISITED, Questions, diffexp_body, random_sets
from benchmarks.results import OURS, Results
from benchmarks.servers import Kind, Running, running
from benchmarks.sizes import Data

# What is started here is ended here; no container is needed that sees to it.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
from tests.integration import minio, s3_proxy

DELAY_S = 0.03
_STARTS = 5
_AT_ONCE = 6  # connections that browsers open to one server
_GENES, _AT_ONE_REQUEST, _IN_SET = 50, 30, 20  # a request may name 32 columns
_CELLS = 1000
_PAUSE_S = 0.5
_DECODE_LIMIT_S = 900.0
_CACHE = datasets.FOLDER / "s3-cache"
_BUCKET = "benchmark"


class Tally:
    """Seconds of each operation, and the requests to the store that it cost, over several starts."""

    def __init__(self, proxy: s3_proxy.Proxy, results: Results) -> None:
        self._proxy, self._results = proxy, results

    @contextlib.contextmanager
    def noting(self, row: str) -> Iterator[None]:
        """Time the block, and count the requests to the store meanwhile."""
        self._proxy.take()
        began = time.perf_counter()
        yield
        elapsed = time.perf_counter() - began
        counts = self._proxy.take()
        operations = counts.by_operation()
        self._results.add(row, "seconds", [elapsed])
        self._results.add(row, "requests", [counts.total])
        for kind in (s3_proxy.GET, "HEAD", s3_proxy.LIST):
            self._results.add(row, kind, [operations.get(kind, 0)])


class Visitor:
    """Asks a server as the web client does."""

    def __init__(self, server: Running, data: Data) -> None:
        self._port = server.port
        self.page = server.api.removesuffix("api/v0.2/")
        self.api, self.questions = server.api, Questions(server.api, "name_0", data.cells, data.genes)

    def ask(self, *paths: str, body: bytes | None = None) -> None:
        """Ask for paths, each over a connection of its own, several at a time.

        Raises
        ------
        RuntimeError
            An answer is not 200.
        """

        def one(path: str) -> None:
            with Connection(self._port) as connection:
                status = connection.ask(path, body).status
            if status != 200:
                raise RuntimeError(f"{path[:200]} answered {status}")

        with ThreadPoolExecutor(_AT_ONCE) as browser:
            list(browser.map(one, paths))

    def open(self) -> None:
        """All that the client asks for until the first plot is complete."""
        self.ask(self.page)
        self.ask(*(self.api + route for route in ("schema", "config", "colors")))
        self.ask(self.questions.embedding("umap"), *(self.questions.column(name) for name in VISITED))

    def genes_together(self, numbers: list[int]) -> None:
        self.ask(f"{self.api}data/var?" + "&".join(self.questions.gene(number).partition("?")[2] for number in numbers))

    def compare(self, cells: int, seed: int) -> None:
        body = diffexp_body(*random_sets(self.questions.n_cells, cells, seed))
        self.ask(f"{self.api}diffexp/obs", body=body)


def measure(data: Data, results: Results) -> None:
    """Upload the CXG of `data`, converted now if need be, and measure our server on it.

    Raises
    ------
    RuntimeError
        The server did not start, or did not answer.
    """
    datasets.convert(data, again=False)
    folder = datasets.dataroot(data)
    with minio.running() as store, s3_proxy.running(store.url, DELAY_S) as proxy:
        store.client().create_bucket(Bucket=_BUCKET)
        store.upload(folder, _BUCKET, "data")
        settings = {**store.environment(), "AWS_ENDPOINT_URL_S3": proxy.url, "AWS_REGION": "us-east-1"}
        kind = Kind(
            OURS,
            environment=(*settings.items(), ("CXG_CACHE_DIR", str(_CACHE))),
            place=f"s3://{_BUCKET}/data",
        )
        tally = Tally(proxy, results)
        for number in range(_STARTS):
            _serve(kind, data, lambda visitor: _opened(visitor, tally))
            _serve(kind, data, lambda visitor, seed=number: _explored(visitor, tally, seed, data))
        _serve(kind, data, lambda visitor: _decoded(visitor, tally, data))
    shutil.rmtree(_CACHE, ignore_errors=True)


def _serve(kind: Kind, data: Data, visit: Callable[[Visitor], None]) -> None:
    """Visit a new server whose cache folder is empty."""
    shutil.rmtree(_CACHE, ignore_errors=True)
    with running(kind, data) as server:
        visit(Visitor(server, data))


def _opened(visitor: Visitor, tally: Tally) -> None:
    # Decoding begins two seconds after the page is asked for; this ends before.
    with tally.noting("open a dataset to the first plot"):
        visitor.open()
    time.sleep(_PAUSE_S)
    with tally.noting(f"first gene, {_PAUSE_S} s after that"):
        visitor.ask(visitor.questions.gene(5))


def _explored(visitor: Visitor, tally: Tally, seed: int, data: Data) -> None:
    """Expression without the page, which would have everything decoded in the background."""
    questions, genes, cells = visitor.questions, visitor.questions.genes_in_order(seed), _cells(data)
    with tally.noting("list of datasets, first time"):
        visitor.ask("/")
    visitor.ask(visitor.api + "schema", visitor.api + "config")
    with tally.noting("first gene at once, the page never asked for"):
        visitor.ask(questions.gene(genes[0]))
    visitor.ask(*(questions.gene(number) for number in genes[1:7]))  # so that each worker has the matrix open
    with tally.noting("next gene"):
        visitor.ask(questions.gene(genes[7]))
    with tally.noting(f"{_GENES} genes, one after the other"):
        for number in genes[8 : 8 + _GENES]:
            visitor.ask(questions.gene(number))
    after = genes[8 + _GENES :]
    with tally.noting(f"{_AT_ONE_REQUEST} genes in one request"):
        visitor.genes_together(after[:_AT_ONE_REQUEST])
    with tally.noting(f"mean of {_IN_SET} genes"):
        visitor.ask(questions.mean(after[_AT_ONE_REQUEST : _AT_ONE_REQUEST + _IN_SET]))
    with tally.noting(f"first diffexp, {cells:,} + {cells:,} cells"):
        visitor.compare(cells, seed)


def _decoded(visitor: Visitor, tally: Tally, data: Data) -> None:
    visitor.open()
    deadline = time.monotonic() + _DECODE_LIMIT_S
    while not (list(_CACHE.rglob("*-obs")) and list(_CACHE.rglob("*-var"))):
        if time.monotonic() > deadline:
            return  # where there is no room for it, say
        time.sleep(0.2)
    for number in range(_STARTS):
        with tally.noting("gene, decoded"):
            visitor.ask(visitor.questions.gene(number + 10))
        with tally.noting(f"diffexp, {_cells(data):,} + {_cells(data):,} cells, decoded"):
            visitor.compare(_cells(data), number + 200)


def _cells(data: Data) -> int:
    return min(_CELLS, data.cells // 4)
