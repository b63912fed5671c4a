"""The content of each kind of decoded copy, read from a dataset and written."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.decoded.columns import write_columns
from cxg.decoded.label_sums import write_label_sums
from cxg.decoded.matrix import ReadRange, build
from cxg.format.dataset import Dataset
from cxg.storage.checksums import CopyWriter


def write_copy(
    copy: CopyWriter, dataset: Dataset, what: str, polite: Callable[[ReadRange], ReadRange], budget_bytes: int
) -> bool:
    """Write a copy; False when the dataset does not suit it, or it would take too much of the budget.

    Parameters
    ----------
    copy : CopyWriter
    dataset : Dataset
    what : str
        "columns", "labels", "obs" or "var".
    polite : callable
        Makes a reader give way to visitors.
    budget_bytes : int
        Most bytes of all copies of this machine.

    Raises
    ------
    OSError
        The disk is full or not writable.
    DatasetInvalid, StorageUnavailable
        The dataset cannot be read.
    """
    if what == "columns":
        return write_columns(copy, dataset, budget_bytes * 3 // 16)
    matrix = dataset.sparse_expression()
    if what == "labels":
        read = partial(_read_dense, dataset) if matrix is None else partial(matrix.read_range, "var")
        return write_label_sums(copy, dataset, polite(read), budget_bytes // 16)
    if matrix is None:
        return False
    lengths = (dataset.n_obs, dataset.n_var) if what == "obs" else (dataset.n_var, dataset.n_obs)
    return build(copy, polite(partial(matrix.read_range, what)), *lengths, budget_bytes * 3 // 8)


def _read_dense(dataset: Dataset, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float32]]:
    """Read consecutive genes of an X that is not sparse, as `Sparse.read_range` does: every value is stored."""
    values = dataset.read_X_columns(np.arange(start, stop))
    n, k = values.shape
    return np.full(k, n), np.tile(np.arange(n, dtype=np.int32), k), values.ravel(order="F")
