"""A sample of cells of an embedding, read in blocks of bounded size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from cxg.format.coordinates import narrowed
from cxg.format.dataset import Dataset

# Cells that are read at a time.
BLOCK_CELLS = 1 << 20


def sample_embedding(
    dataset: Dataset, name: str, cells: NDArray[np.int64], block_cells: int = BLOCK_CELLS
) -> NDArray[np.float32]:
    """Read the first two dimensions of an embedding for some cells (sorted), in blocks: (k, 2) float32.

    Raises
    ------
    UnknownColumn, DatasetInvalid, StorageUnavailable
        As `Dataset.read_embedding`.
    """
    if dataset.n_obs <= block_cells:
        return dataset.read_embedding(name)[cells]
    blocks = _blocks(dataset.n_obs, cells, block_cells)
    parts = [dataset.stored_embedding(name, *span)[:, chosen] for span, chosen in blocks]
    return narrowed(np.concatenate(parts, axis=1)).T if parts else np.zeros((0, 2), np.float32)


def _blocks(n: int, rows: NDArray[np.int64], block_rows: int) -> Iterator[tuple[tuple[int, int], NDArray[np.int64]]]:
    """Yield first and last row of each block that holds some of `rows` (sorted), and their positions within it."""
    for first in range(0, n, block_rows):
        last = min(n, first + block_rows) - 1
        start, stop = np.searchsorted(rows, [first, last + 1])
        if stop > start:
            yield (first, last), rows[start:stop] - first
