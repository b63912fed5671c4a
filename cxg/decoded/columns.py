"""Plain copies of the columns of `obs` and of the embeddings: a `.npy` file each, read in one piece.

TileDB takes some milliseconds for a column however few bytes it has. A file holds what the
CXG stores, codes of labels as codes, so that it means the same; it is called after the
position of its column or embedding in the dataset. Columns of text are not copied. Beside
the files is the manifest of `cxg.storage.checksums`: each is compared with its checksums when a process
reads it for the first time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.format.dataset import Dataset
from cxg.storage.checksums import CheckedFile, CopyDamaged, CopyWriter, Stamp, load_array, manifest_stamp, read_manifest

# Bytes of a cell in one copy: an integer or float of 64 bits, or two coordinates of 32.
_WIDEST = 8


def write_columns(copy: CopyWriter, dataset: Dataset, most_bytes: int) -> bool:
    """Copy what can be copied; False when it would take more than `most_bytes`.

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
        copy.save(f"obs-{number}.npy", dataset.obs.read_stored(dataset.obs.columns[number].name))
    for number, name in enumerate(dataset.embeddings):
        copy.save(f"emb-{number}.npy", np.asfortranarray(dataset.read_embedding(name)))
    return True


class ColumnStore:
    """The copied columns and embeddings of one dataset; safe to share between threads.

    Parameters
    ----------
    folder : Path
        Folder that `write_columns` filled.
    copy : str
        Name of the copy.

    Attributes
    ----------
    stamp : Stamp
        Tells this copy from one that is made later.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    CopyDamaged
        It is not what was written; so do all methods.
    """

    def __init__(self, folder: Path, copy: str) -> None:
        self._folder, self._manifest = folder, read_manifest(folder, copy)
        self.stamp = self._manifest.stamp
        self._checked: dict[str, Stamp] = {}

    def held_bytes(self) -> int:
        """Return the memory that it takes while it is open, in bytes."""
        return self._manifest.nbytes

    def is_unchanged(self) -> bool:
        """Tell whether its folder holds the same copy as when it was opened."""
        return manifest_stamp(self._folder) == self.stamp

    def column(self, dataset: Dataset, name: str) -> NDArray[Any] | None:
        """Return one column of `obs` as `Annotations.read_stored` gives it, (n_obs,); None where there is no copy."""
        numbers = (number for number, column in enumerate(dataset.obs.columns) if column.name == name)
        return self._load("obs", next(numbers, None), dataset.n_obs)

    def embedding(self, dataset: Dataset, name: str) -> NDArray[np.float32] | None:
        """Return one embedding, (n_obs, 2) float32 in Fortran order; None where there is no copy."""
        number = dataset.embeddings.index(name) if name in dataset.embeddings else None
        return self._load("emb", number, dataset.n_obs)

    def _load(self, kind: str, number: int | None, n_obs: int) -> NDArray[Any] | None:
        name = f"{kind}-{number}.npy"
        if name not in self._manifest.files:
            return None
        file = CheckedFile(self._folder, self._manifest, name)
        if self._checked.get(name) != file.stamp:
            file.check_all()
            self._checked[name] = file.stamp
        values = load_array(file)
        if len(values) != n_obs:
            raise CopyDamaged(f"{name} has another number of cells")
        return values
