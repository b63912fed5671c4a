"""Copies of sums over the cells of each label, for datasets whose CXG stores none.

Other converters write no `X_label_sums`. X is then read once by gene, and the sums are written here,
for columns of obs with few labels. With them a comparison of labels reads no expression.

Folder: `columns.json`, the columns with their labels and the cells of each; `codes-<number>.npy`, the
code of each cell in that column; `sums.f8`, for each label (n_var) little-endian float64 sums, then
sums of squares. Beside them is the manifest of `cxg.storage.checksums`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cxg.compute.label_sums import MOST_LABELS, LabelColumn, LabelSumsBuilder, choose_columns
from cxg.decoded.items import ItemsFile
from cxg.decoded.matrix import ReadRange
from cxg.format.annotations import Annotations
from cxg.format.columns import Column, Label, Labels
from cxg.format.dataset import Dataset
from cxg.format.text import Text, encode_labels
from cxg.memory_bounds import LABEL_BLOCK_BYTES, LABEL_CODES_BYTES, LABEL_SUMS_BYTES, OPEN_DECODED_BYTES
from cxg.storage.checksums import CheckedFile, CopyWriter, load_array, read_manifest

FloatArray = NDArray[np.float64]
_HEAD, _SUMS, _SUM_DTYPE = "columns.json", "sums.f8", np.dtype("<f8")
_BUILD_VALUES, _MOST_GENES = 1 << 20, 512
# A column of longer text is not looked at: it is in memory as a whole meanwhile.
_MOST_TEXT_BYTES = 32 << 20


class _Genes(NamedTuple):
    """Consecutive genes as the builder takes them: a line for each, in the form of a CSR matrix."""

    indptr: NDArray[np.int64]
    indices: NDArray[Any]
    data: NDArray[np.float32]


def write_label_sums(copy: CopyWriter, dataset: Dataset, read_range: ReadRange, most_bytes: int) -> bool:
    """Add up X over the cells of each label; False when no column is suitable.

    Parameters
    ----------
    copy : CopyWriter
    dataset : Dataset
    read_range : callable
        Reads consecutive genes.
    most_bytes : int
        Most bytes that the copy may take.

    Raises
    ------
    OSError
        The disk is full or not writable.
    DatasetInvalid, StorageUnavailable
        A column or X cannot be read.
    """
    columns, labels = _columns(dataset, min(LABEL_SUMS_BYTES, most_bytes))
    if not columns:
        return False
    n_rows, n_var = sum(column.n_labels for column in columns), dataset.n_var
    log1p = dataset.looks_like_counts
    # Genes come one after the other, and labels are read one after the other: the file turns one into the other.
    with tempfile.TemporaryFile(dir=copy.folder) as scratch:
        turned = np.memmap(scratch, _SUM_DTYPE, "w+", shape=(n_rows, 2, n_var))
        builder = LabelSumsBuilder(columns, min(n_var, _MOST_GENES), (log1p,))
        for start, genes in _slices(read_range, n_var):
            builder.clear()
            builder.add(0, genes)
            found, n = builder.result(log1p, LABEL_SUMS_BYTES), len(genes.indptr) - 1
            turned[:, 0, start : start + n] = found.sums[:, :n]
            turned[:, 1, start : start + n] = found.squares[:, :n]
        with copy.open(_SUMS) as file:
            for row in turned:
                file.write(np.ascontiguousarray(row))
        del turned
    for number, column in enumerate(columns):
        dtype = np.min_scalar_type(-column.n_labels)
        copy.save(_codes_file(number), column.codes.astype(dtype))
    head = {
        "log1p": log1p,
        "n_var": n_var,
        "columns": [[column.name, labels[column.name], column.counts.tolist()] for column in columns],
    }
    with copy.open(_HEAD) as file:
        file.write(json.dumps(head).encode())
    return True


def _codes_file(number: int) -> str:
    return f"codes-{number}.npy"


def _slices(read_range: ReadRange, n_var: int) -> Iterator[tuple[int, _Genes]]:
    """Read all genes, some at a time."""
    start, step, values = 0, 1, 0
    while start < n_var:
        stop = min(n_var, start + step)
        counts, cells, numbers = read_range(start, stop)
        yield start, _Genes(np.concatenate(([0], np.cumsum(counts))), cells, numbers)
        values += len(numbers)
        start = stop
        step = min(_MOST_GENES, max(1, int(_BUILD_VALUES * start / max(1, values))))


def _columns(dataset: Dataset, room_bytes: int) -> tuple[tuple[LabelColumn, ...], dict[str, Sequence[Label]]]:
    """Choose the columns of obs whose labels get sums; also the labels of all columns that could have been chosen."""
    labels, codes, room_codes = {}, {}, LABEL_CODES_BYTES
    for column in dataset.obs.columns:
        found = _encoded(dataset.obs, column) if 2 * dataset.n_obs <= room_codes else None
        if found is not None:
            codes[column.name], labels[column.name] = found
            room_codes -= 2 * dataset.n_obs
    n_labels = {name: len(found) for name, found in labels.items()}
    return choose_columns(codes, n_labels, dataset.n_var, room_bytes), labels


def _encoded(obs: Annotations, column: Column) -> tuple[NDArray[np.int16], Sequence[Label]] | None:
    """Codes of a column of labels, and its labels; None where it has none, or too many."""
    if obs.is_coded(column.name):
        if column.categories is None or not 1 < len(column.categories) <= MOST_LABELS:
            return None
        values = obs.read(column.name)
        return (values.codes.astype(np.int16), values.categories) if isinstance(values, Labels) else None
    text_bytes = obs.text_bytes(column.name)
    if column.name == obs.index or text_bytes is None or text_bytes > _MOST_TEXT_BYTES:
        return None
    values = obs.read(column.name)
    if isinstance(values, Labels):
        return values.codes.astype(np.int16), values.categories
    found = encode_labels(values, min(MOST_LABELS, obs.n // 4)) if isinstance(values, Text) else None
    return None if found is None else (found[0].astype(np.int16), found[1])


class CopiedLabelSums:
    """The sums of one dataset that are copied; safe to share between threads.

    Parameters
    ----------
    folder : Path
        Folder that `write_label_sums` filled.
    copy : str
        Name of the copy.

    Attributes
    ----------
    stamp : Stamp
        Tells this copy from one that is made later.
    columns : tuple of (str, tuple of labels, (labels,) int64)
        Name of each column, its labels, and the number of cells of each.
    log1p : bool
        Whether they are sums of ln(1+x), else of x.

    Raises
    ------
    FileNotFoundError
        There is no such folder.
    CopyDamaged
        It is not what was written; so does `add_up`.
    """

    def __init__(self, folder: Path, copy: str) -> None:
        manifest = read_manifest(folder, copy)
        self.stamp = manifest.stamp
        head = CheckedFile(folder, manifest, _HEAD)
        head.check_all()
        data = bytearray(head.size)
        head.read_into([memoryview(data)], [0])
        found = json.loads(data)
        self.log1p, self._n_var = bool(found["log1p"]), int(found["n_var"])
        self.columns = tuple(
            (str(name), tuple(labels), np.array(counts, np.int64)) for name, labels, counts in found["columns"]
        )
        self._folder, self._manifest = folder, manifest
        self._sums = ItemsFile(folder, manifest, _SUMS, _SUM_DTYPE)

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes, in bytes."""
        return sum(counts.nbytes for _, _, counts in self.columns)

    def held_bytes(self) -> int:
        """Return the memory that it takes while it is open, in bytes, with a share for its file."""
        return self.nbytes + self._manifest.nbytes + OPEN_DECODED_BYTES

    def is_unchanged(self) -> bool:
        """Tell whether nobody has written to its file, or removed it, since it was opened."""
        return self._sums.is_unchanged()

    def codes_bytes(self, column: int) -> int:
        """Return the size of the codes of a column, by its position, in bytes."""
        return self._manifest.files[_codes_file(column)][0]

    def read_codes(self, column: int) -> NDArray[Any]:
        """Read the codes of all cells, (n_obs,), of a column, by its position."""
        file = CheckedFile(self._folder, self._manifest, _codes_file(column))
        file.check_all()
        return load_array(file)

    def add_up(self, rows: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Return the sums and sums of squares over the cells of some labels, `rows` (sorted, unique): (n_var,) each."""
        total, width = np.zeros((2, self._n_var)), 2 * self._n_var
        step = max(1, LABEL_BLOCK_BYTES // (width * _SUM_DTYPE.itemsize))
        for start in range(0, len(rows), step):
            starts = rows[start : start + step] * width
            self._sums.check_items(starts, starts + width)
            part = self._sums.read(starts.tolist(), (starts + width).tolist())
            with np.errstate(all="ignore"):
                total += part.reshape(-1, 2, self._n_var).sum(axis=0)
        return total[0], total[1]
