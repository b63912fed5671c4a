"""Expression of one dataset for those who answer: from its decoded copies where they are sound, else from the CXG.

A copy that proves to be damaged while it is read costs nobody an answer: the rest is read from the CXG,
and the copy is made again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cxg.decoded.labels import CheckedLabels
from cxg.decoded.matrix import DecodedMatrix, read_columns, sum_columns
from cxg.format.dataset import Dataset
from cxg.format.matrix.dense import DenseBlock, FloatArray, IndexArray
from cxg.format.matrix.sparse import SparseBlock
from cxg.storage.checksums import CopyDamaged, Stamp

Pause = Callable[[], bool]
# Values read at a time from a decoded copy: they are added up in a few milliseconds.
_SLICE_VALUES = 250_000
# Cells in the first block from the CXG, fewest cells in a block, and values that later blocks aim at.
_FIRST_CELLS, _FEWEST_CELLS, _PIECE_VALUES = 1024, 128, 1 << 20
# The same where each block keeps another visitor waiting; reading everything then takes half as long again.
_SMALL_PIECE_VALUES = 1 << 17


class DecodedCopies(Protocol):
    """Where decoded copies come from: `cxg.decoded.cache.DecodedCache`."""

    def find(self, dataset: Dataset, axis: str) -> DecodedMatrix | None:
        """Return the decoded cells ("obs") or genes ("var"), or None."""

    def labels(self, dataset: Dataset) -> CheckedLabels | None:
        """Return the sums over the cells of each label, or None."""

    def drop_labels(self, dataset: Dataset) -> None:
        """Use the sums of labels no more; they cannot be read."""

    def replace(self, dataset: Dataset, what: str, stamp: Stamp, damage: CopyDamaged) -> None:
        """Have a damaged copy made again."""


class Expression:
    """Expression of one open dataset; share it between the threads of a request.

    All methods raise what those of `Dataset` do: DatasetInvalid, StorageUnavailable.
    """

    def __init__(self, dataset: Dataset, copies: DecodedCopies) -> None:
        self._dataset, self._copies = dataset, copies
        self._scan = threading.Lock()

    @property
    def rows_are_decoded(self) -> bool:
        """Tell whether there is a copy by cell, which several threads can read at a time."""
        return self._copies.find(self._dataset, "obs") is not None

    @property
    def rows_are_light(self) -> bool:
        """Tell whether several threads can read cells of the CXG at a time; raises as all methods."""
        return self._dataset.rows_are_light

    @property
    def labels(self) -> CheckedLabels | None:
        """Return the sums over the cells of each label, where there are any that belong to obs."""
        return self._copies.labels(self._dataset)

    def drop_labels(self) -> None:
        """Use the sums of labels of this dataset no more: they cannot be read."""
        self._copies.drop_labels(self._dataset)

    def read_columns(self, genes: IndexArray) -> FloatArray:
        """Return the expression of `genes` (sorted, unique) in every cell: (n_obs, k) float32, column-major."""
        store = self._copies.find(self._dataset, "var")
        if store is not None:
            with self._replacing("var", store):
                return read_columns(store, genes, self._dataset.n_obs)
        return self._dataset.read_X_columns(genes)

    def sum_columns(self, genes: IndexArray) -> NDArray[np.float64]:
        """Sum of `genes` (sorted, unique) in every cell: (n_obs,) float64."""
        store = self._copies.find(self._dataset, "var")
        if store is not None:
            with self._replacing("var", store):
                return sum_columns(store, genes, self._dataset.n_obs)
        return self._dataset.sum_X_columns(genes)

    def iter_rows(self, cells: IndexArray, pause: Pause = lambda: False) -> Iterator[SparseBlock | DenseBlock]:
        """Yield the values of `cells` (sorted, unique) in blocks of bounded size, each cell once.

        Parameters
        ----------
        pause : callable
            Called between blocks, where none of TileDB's memory is in use, so that other long reads get a turn; tells
            whether the next blocks should be read in small pieces.
        """
        store = self._copies.find(self._dataset, "obs")
        if store is not None:
            for part in store.parts(cells):
                try:
                    var, value = store.piece(part)
                except CopyDamaged as damage:
                    self._copies.replace(self._dataset, "obs", store.stamp, damage)
                    break
                for start in range(0, len(var), _SLICE_VALUES):
                    yield SparseBlock(var[start : start + _SLICE_VALUES], value[start : start + _SLICE_VALUES])
                    pause()
                cells = cells[len(part) :]
            else:
                return
        yield from self._iter_stored_rows(cells, pause)

    def _iter_stored_rows(self, cells: IndexArray, pause: Pause) -> Iterator[SparseBlock | DenseBlock]:
        start, step, values = 0, _FIRST_CELLS, 0
        # What one scan of the CXG takes is in the memory plan, what one for each thread would take is not.
        scan = nullcontext() if len(cells) and self._dataset.rows_are_light else self._scan
        while start < len(cells):
            with scan:
                for block in self._dataset.iter_X_rows(cells[start : start + step]):
                    values += len(block.value) if isinstance(block, SparseBlock) else block.values.size
                    yield block
            start += step
            piece_values = _SMALL_PIECE_VALUES if pause() else _PIECE_VALUES
            step = min(4 * step, max(_FEWEST_CELLS, piece_values * start // max(1, values)))

    @contextmanager
    def _replacing(self, axis: str, store: DecodedMatrix) -> Iterator[None]:
        """Go on behind the block when the copy is damaged, and have it made again."""
        try:
            yield
        except CopyDamaged as damage:
            self._copies.replace(self._dataset, axis, store.stamp, damage)
