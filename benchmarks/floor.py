"""What the bytes cost at least: a memory copy and a socket for an answer, one pass over the values for a comparison."""

from __future__ import annotations

import contextlib
import multiprocessing
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from benchmarks.connection import Connection
from benchmarks.questions import random_sets

_MOST_BYTES = 64 << 20
_BLOCK_VALUES = 1 << 20


def _serve(listener: socket.socket) -> None:
    """Answer GET /N with N bytes, copied once, over connections that come one after the other."""
    source = memoryview(bytearray(_MOST_BYTES))
    with listener:
        while True:
            sock, _ = listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with sock, contextlib.suppress(OSError):
                while request := sock.recv(1 << 16):
                    count = int(request.split(b" ", 2)[1][1:])
                    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % count
                    sock.sendall(head + source[:count])


@contextlib.contextmanager
def byte_server() -> Iterator[int]:
    """A process that sends as many bytes as it is asked for; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(listener,), daemon=True)
    process.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.close()
        process.terminate()
        process.join(10)


def answer_s(port: int, size: int, times: int = 60) -> list[float]:
    """Seconds that `size` bytes take from the byte server to the client of these measurements."""
    with Connection(port) as connection:
        seconds = [connection.ask(f"/{min(size, _MOST_BYTES)}").seconds for _ in range(times)]
    return seconds[5:]


def comparison_s(h5ad: Path, sizes: list[int], times: int = 3) -> dict[int, list[float]]:
    """Seconds for sums and sums of squares per gene of two random sets of cells, X (CSR) being in memory.

    One thread, numpy: the rows' values are gathered block by block and scattered with
    `numpy.bincount`. The t-test itself is left out.
    """
    with h5py.File(h5ad) as root:
        group = root["X"]
        n_cells, n_genes = (int(n) for n in group.attrs["shape"])
        indptr, indices, values = group["indptr"][:], group["indices"][:], group["data"][:]
    found = {}
    for size in sizes:
        seconds = []
        for number in range(times):
            pair = random_sets(n_cells, size, 100 + number)
            started = time.perf_counter()
            for cells in pair:
                _add_up(indptr, indices, values, cells, n_genes)
            seconds.append(time.perf_counter() - started)
        found[size] = seconds
    return found


def _add_up(indptr: np.ndarray, indices: np.ndarray, values: np.ndarray, cells: np.ndarray, n_genes: int) -> np.ndarray:
    sums = np.zeros((2, n_genes))
    per_cell = max(1, int(indptr[-1]) // max(1, len(indptr) - 1))
    step = max(1, _BLOCK_VALUES // per_cell)
    starts, stops = indptr[cells].tolist(), indptr[cells + 1].tolist()
    for first in range(0, len(cells), step):
        runs = list(zip(starts[first : first + step], stops[first : first + step], strict=True))
        gene = np.concatenate([indices[a:b] for a, b in runs])
        value = np.concatenate([values[a:b] for a, b in runs]).astype(np.float64)
        sums[0] += np.bincount(gene, value, n_genes)
        sums[1] += np.bincount(gene, value * value, n_genes)
    return sums
