"""Estimates the memory that serving a dataset takes from its declared sizes, before any is allocated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxg.errors import DatasetTooLarge
from cxg.memory_bounds import CELL_BYTES, GENE_BYTES, MB, METADATA_TIMES, OPEN_ARRAY_BYTES


def text_columns_bytes(meta: Mapping[str, Any]) -> int:
    """Return the length of the texts in the metadata of an array."""
    return sum(len(value) for value in meta.values() if isinstance(value, str | bytes))


def needed_bytes(n_obs: int = 0, n_var: int = 0, n_arrays: int = 0, texts: int = 0) -> int:
    """Estimate what one worker needs at a time for a dataset: its largest answer, and the data kept while it is open.

    Parameters
    ----------
    texts : int
        Bytes of metadata.
    """
    return n_obs * CELL_BYTES + n_var * GENE_BYTES + n_arrays * OPEN_ARRAY_BYTES + texts * METADATA_TIMES


def too_large(needed: int, available: int | None) -> str | None:
    """Say that something needs more bytes than are available; None when it does not, or when `available` is unknown."""
    if available is None or needed <= available:
        return None
    return (
        f"This dataset needs about {-(-needed // MB):,} MB of memory to be served, and this server has "
        f"{available // MB:,} MB for one: give the server more memory, or fewer workers (CXG_WORKERS)."
    )


def require_room(needed: int, available: int | None) -> None:
    """Check that a dataset fits.

    Raises
    ------
    DatasetTooLarge
        The dataset does not fit.
    """
    problem = too_large(needed, available)
    if problem is not None:
        raise DatasetTooLarge(problem)
