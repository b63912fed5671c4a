"""The rows of the comparison, and what we want each to be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the tables.

    Attributes
    ----------
    first, again : most seconds (or MB) for a first-time and a repeated request
    at_least : for a throughput: requests per second
    """

    key: str
    text: str
    first: float | None = None
    again: float | None = None
    at_least: float | None = None


START = Row("start", "start to first healthy answer, s", 1.0)
OPEN = Row("open", "first request to a dataset (`/config`), ms")
SCHEMA = Row("schema", "schema, ms", 0.002, 0.0007)
CATEGORICAL = Row("categorical", "categorical obs column, ms", 0.006, 0.0015)
FLOAT = Row("float", "float obs column, ms", 0.003, 0.0008)
EMBEDDING = Row("embedding", "embedding, ms", 0.004, 0.001)
GENE = Row("gene", "gene, ms", 0.004, 0.0008)
MEAN = Row("mean", "mean of 20 genes, ms", 0.015, 0.001)
LATENCY = (OPEN, SCHEMA, CATEGORICAL, FLOAT, EMBEDDING, GENE, MEAN)

PSS_START = Row("pss-start", "memory (PSS) after start, MB", 120)
PSS_PEAK = Row("pss-peak", "peak memory over everything, MB", 600)
PSS_ANONYMOUS = Row("pss-anonymous", "of it anonymous, at most, MB")
PSS_64 = Row("pss-64", "peak memory with 64 clients, MB")
PSS_LOAD = Row("pss-load", "memory after the load, MB")
MEMORY = (PSS_START, PSS_PEAK, PSS_ANONYMOUS, PSS_64, PSS_LOAD)

BUSY = Row("busy", "`/schema` while another user's diffexp runs, ms", 0.005)

LOAD_8 = Row("load-8", "8 clients, requests/s", at_least=1000)
LOAD_64 = Row("load-64", "64 clients, requests/s")
LOAD_NEW = Row("load-new", "8 clients, every gene a new one, requests/s")
LOAD_PLAIN = Row("load-plain", "8 clients, uncompressed answers, requests/s")
LOAD_SMALL = Row("load-small", "*small*, 8 clients, requests/s", at_least=3000)
REFERENCE_SMALL = 474.0
"""Requests/s of cellxgene 1.3.0 in the last row, on the machine and day that the goals were set: how fast that was."""
LOAD = (LOAD_8, LOAD_64, LOAD_NEW, LOAD_PLAIN, LOAD_SMALL)

_RANDOM_GOALS = {1_000: 0.08, 10_000: 0.3, 50_000: 1.0}


def random_row(cells: int) -> Row:
    """Comparison of two random sets of `cells` cells each."""
    return Row(f"diffexp-random-{cells}", f"{cells:,} + {cells:,} random cells, s", _RANDOM_GOALS.get(cells))


def contiguous_row(cells: int) -> Row:
    """Comparison of two runs of neighbouring cells."""
    return Row(f"diffexp-contiguous-{cells}", f"{cells:,} + {cells:,} neighbouring cells, s")


def rest_row(cells: int) -> Row:
    """Comparison of a random set with all other cells."""
    return Row(f"diffexp-rest-{cells}", f"{cells:,} random cells against all others, s")
