"""Plain copies of the columns of `obs` and of the embeddings: a `.npy` file each, read in one piece.

TileDB takes some milliseconds for a column however few bytes it has. A file holds what the
CXG stores, codes of labels as codes, so that it means the same; it is called after the
position of its column or embedding in the dataset. Columns of text are not copied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.format.dataset import Dataset

# Bytes of a cell in one copy: an integer or float of 64 bits, or two coordinates of 32.
_WIDEST = 8


def write_columns(folder: Path, dataset: Dataset, most_bytes: int) -> bool:
    """Copy what can be copied into an empty folder; False when it would take more than `most_bytes`.

    Raises
    ------
    OSError
        The disk is full or not writable.
    DatasetInvalid, StorageUnavailable
        A column or embedding cannot be read.
    """
    numeric = [number for number, column in enumerate(dataset.obs.columns) if dataset.obs.is_numeric(column.name)]
    if _WIDEST * dataset.n_obs * (len(numeric) + len(dataset.embeddings)) > most_bytes:
        return False
    for number in numeric:
        np.save(folder / f"obs-{number}.npy", dataset.obs.read_stored(dataset.obs.columns[number].name))
    for number, name in enumerate(dataset.embeddings):
        np.save(folder / f"emb-{number}.npy", np.asfortranarray(dataset.read_embedding(name)))
    return True


def load_column(folder: Path, dataset: Dataset, name: str) -> NDArray[Any] | None:
    """One column of `obs` as `Annotations.read_stored` gives it, (n_obs,); None where there is no copy."""
    numbers = (number for number, column in enumerate(dataset.obs.columns) if column.name == name)
    return _load(folder, "obs", next(numbers, None), dataset.n_obs)


def load_embedding(folder: Path, dataset: Dataset, name: str) -> NDArray[np.float32] | None:
    """One embedding, (n_obs, 2) float32 in Fortran order; None where there is no copy."""
    number = dataset.embeddings.index(name) if name in dataset.embeddings else None
    return _load(folder, "emb", number, dataset.n_obs)


def _load(folder: Path, kind: str, number: int | None, n_obs: int) -> NDArray[Any] | None:
    try:
        values: NDArray[Any] = np.load(folder / f"{kind}-{number}.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return values if len(values) == n_obs else None
