"""Sums over the cells of each label, once it is certain that they belong to the labels in obs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.errors import DatasetInvalid, UnknownColumn
from cxg.format.columns import ColumnValues
from cxg.format.dataset import Dataset
from cxg.format.matrix.label_sums import LabelSums, SummedColumn, codes_of

log = logging.getLogger(__name__)
FloatArray = NDArray[np.float64]


class CheckedLabels:
    """Columns of obs whose labels have sums, with the codes of all cells; safe to share between threads.

    Attributes
    ----------
    log1p : bool
        Whether they are sums of ln(1+x), else of x.
    columns : list of (codes of all cells, cells of each label)
    """

    def __init__(self, sums: LabelSums, columns: list[tuple[SummedColumn, NDArray[Any]]]) -> None:
        self._sums, self._firsts = sums, [column.first for column, _ in columns]
        self.log1p = sums.log1p
        self.columns = [(codes, column.counts) for column, codes in columns]

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes, in bytes."""
        return self._sums.nbytes + sum(codes.nbytes for codes, _ in self.columns)

    def add_up(self, column: int, labels: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Return the sums and sums of squares over the cells of some labels (sorted) of the column at a position.

        Raises
        ------
        DatasetInvalid, StorageUnavailable
            They cannot be read.
        """
        return self._sums.add_up(self._firsts[column] + labels)


def find_labels(dataset: Dataset, read_column: Callable[[str], ColumnValues]) -> CheckedLabels | None:
    """Look for stored sums of labels; None where there are none, or none that belong to obs.

    Parameters
    ----------
    read_column : callable
        Reads a column of obs.

    Raises
    ------
    StorageUnavailable
        The store did not answer.
    """
    try:
        sums = dataset.open_label_sums()
    except DatasetInvalid as error:
        log.warning("The sums of labels of %s are not used: %s", dataset.name, error)
        return None
    if sums is None:
        return None
    columns = []
    for column in sums.columns:
        try:
            codes = codes_of(column, read_column(column.name))
        except (DatasetInvalid, UnknownColumn):
            codes = None
        if codes is None:
            text = "The sums of labels of column %r of %s are of other cells, and not used."
            log.warning(text, column.name, dataset.name)
        else:
            columns.append((column, codes))
    return CheckedLabels(sums, columns) if columns else None
