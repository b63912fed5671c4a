"""Sums over a set of cells: from what is stored for whole labels where that helps, and from X."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from cxg.compute.diffexp import Moments
from cxg.compute.label_parts import LabelledCells, LabelParts, take_apart
from cxg.decoded.expression import Expression, Pause
from cxg.errors import DatasetInvalid, StorageUnavailable
from cxg.format.matrix.sparse import SparseBlock
from cxg.memory import available_cpus

log = logging.getLogger(__name__)
IndexArray = NDArray[np.int64]
# Adding up is done by as many threads as there are processors; below this many cells one is enough.
_CELLS_FOR_THREADS = 2_000
# The same where cells of a CXG are read from the files of tiles.
_STORED_CELLS_FOR_THREADS = 50
_MOST_THREADS = 4
# Reading the sums of one label takes as long as reading this many cells: decoded cells, or cells of a CXG.
_LABEL_COST_DECODED, _LABEL_COST = 16, 1


class SetReader:
    """Reads the moments of sets of cells of one dataset.

    Parameters
    ----------
    n_var : int
    expression : Expression
        Expression of the dataset.
    log1p : bool
        Whether moments are of ln(1 + x).
    pause : Pause
        Called between pieces, from several threads.
    """

    def __init__(self, n_var: int, expression: Expression, log1p: bool, pause: Pause) -> None:
        self._n_var, self._expression, self._log1p, self._pause = n_var, expression, log1p, pause
        labels = expression.labels
        # As with X, sums of another function of the values are of no use.
        self._labels = labels if labels is not None and labels.log1p == log1p else None
        self._columns = (
            [] if self._labels is None else [LabelledCells(each.codes, each.counts) for each in self._labels.columns]
        )

    def moments(self, cells: IndexArray) -> Moments:
        """Return the moments of a set of cells, (k,) sorted positions.

        Raises
        ------
        DatasetInvalid, StorageUnavailable
            X cannot be read. Sums of labels that cannot be read are done without.
        """
        parts = self._parts(cells)
        if parts is None or not len(parts.labels):
            return self.read(cells)
        base = self._of_labels(parts)
        if base is None:
            return self.read(cells)
        if not len(parts.surplus):
            return base if not len(parts.missing) else self._with(base, parts.missing)
        # Adding is as exact as reading. Subtracting is not where little is left, nor where a value is not finite: then
        # only labels are used that are whole.
        if base.is_finite:
            base = self._with(base, parts.missing)
            rest = base.minus(self.read(parts.surplus))
            if base.is_finite and rest.keeps_digits(base):
                return rest
        whole = self._parts(cells, only_whole=True)
        base = self._of_labels(whole) if whole is not None and len(whole.labels) else None
        return self.read(cells) if base is None or whole is None else self._with(base, whole.missing)

    def count_labels(self, cells: IndexArray) -> int | None:
        """Count the labels that make up a set of cells; None where cells must be read beside them."""
        parts = self._parts(cells)
        return None if parts is None or len(parts.missing) + len(parts.surplus) else len(parts.labels)

    def read(self, cells: IndexArray) -> Moments:
        """Return the moments of a set of cells, all of which are read; raises as `moments`."""
        threads = min(_MOST_THREADS, available_cpus()) if self._suits_threads(len(cells)) else 1
        if threads == 1:
            return self._add_up(cells)
        parts = np.array_split(cells, threads)
        with ThreadPoolExecutor(threads - 1) as pool:
            others = [pool.submit(self._add_up, part) for part in parts[1:]]
            total = self._add_up(parts[0])
            for other in others:
                total.add(other.result())
        return total

    def _suits_threads(self, n_cells: int) -> bool:
        if self._expression.rows_are_decoded:
            return n_cells >= _CELLS_FOR_THREADS
        return n_cells >= _STORED_CELLS_FOR_THREADS and self._expression.rows_are_light

    def _parts(self, cells: IndexArray, *, only_whole: bool = False) -> LabelParts | None:
        if self._labels is None or not len(cells):
            return None
        cost = _LABEL_COST_DECODED if self._expression.rows_are_decoded else _LABEL_COST
        return take_apart(cells, self._columns, cost, only_whole=only_whole)

    def _of_labels(self, parts: LabelParts) -> Moments | None:
        """Moments of whole labels; None when their sums cannot be read."""
        if self._labels is None:
            return None
        n = int(self._columns[parts.column].counts[parts.labels].sum())
        moments = Moments(self._n_var, n, self._log1p)
        try:
            moments.total, moments.total_squares = self._labels.add_up(parts.column, parts.labels)
        except (DatasetInvalid, StorageUnavailable) as error:
            log.warning("X is read instead of sums of labels: %s", error)
            self._labels = None
            # Damage may look like a lack of memory. Where the store is away, X cannot be read either, and says so.
            if isinstance(error, DatasetInvalid):
                self._expression.drop_labels()
            return None
        return moments

    def _with(self, base: Moments, cells: IndexArray) -> Moments:
        if len(cells):
            base.add(self.read(cells))
        return base

    def _add_up(self, cells: IndexArray) -> Moments:
        moments = Moments(self._n_var, len(cells), log1p=self._log1p)
        for block in self._expression.iter_rows(cells, self._pause):
            if isinstance(block, SparseBlock):
                moments.add_sparse(block.var, block.value)
            else:
                moments.add_dense(block.values)
        return moments
