"""Sums over the cells of each label, once it is certain that they belong to the labels in obs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cxg.decoded.label_sums import CopiedLabelSums
from cxg.errors import DatasetInvalid, UnknownColumn
from cxg.format.columns import ColumnValues, Label
from cxg.format.dataset import Dataset
from cxg.format.matrix.label_sums import codes_of
from cxg.memory_bounds import KEPT_CODES_BYTES
from cxg.storage.checksums import CopyDamaged

log = logging.getLogger(__name__)
FloatArray = NDArray[np.float64]
ReadColumn = Callable[[str], ColumnValues]
OnDamage = Callable[[CopyDamaged], None]


class Sums(Protocol):
    """Sums over the cells of each label, in a CXG or beside the decoded copies."""

    log1p: bool

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes, in bytes."""

    def add_up(self, rows: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Return the sums and sums of squares over the cells of some labels, `rows` (sorted, unique): (n_var,) each."""


class CodedColumn(NamedTuple):
    """A column of obs whose labels have sums.

    Attributes
    ----------
    name : str
    labels : tuple of labels
        Texts, or whatever the CXG holds, in the order of the codes.
    first : int
        Row of its first label among the sums; the others follow.
    counts : (labels,) int64
        Number of cells of each label.
    codes : (n_obs,) integer
        Code of each cell.
    """

    name: str
    labels: tuple[Label, ...]
    first: int
    counts: NDArray[np.int64]
    codes: NDArray[Any]


class CheckedLabels:
    """Columns of obs whose labels have sums, with the codes of all cells; safe to share between threads.

    Attributes
    ----------
    log1p : bool
        Whether they are sums of ln(1+x), else of x.
    columns : tuple of CodedColumn
    """

    def __init__(self, sums: Sums, columns: Sequence[CodedColumn], on_damage: OnDamage = lambda _: None) -> None:
        self._sums, self._on_damage = sums, on_damage
        self.log1p, self.columns = sums.log1p, tuple(columns)

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes, in bytes."""
        return self._sums.nbytes + sum(column.codes.nbytes for column in self.columns)

    def add_up(self, column: int, labels: NDArray[np.int64]) -> tuple[FloatArray, FloatArray]:
        """Return the sums and sums of squares over the cells of some labels (sorted) of the column at a position.

        Raises
        ------
        DatasetInvalid, StorageUnavailable
            They cannot be read.
        """
        try:
            return self._sums.add_up(self.columns[column].first + labels)
        except CopyDamaged as damage:
            self._on_damage(damage)
            raise DatasetInvalid(f"The copy of the sums of labels is damaged: {damage}.") from damage


def find_stored_labels(dataset: Dataset, read_column: ReadColumn) -> CheckedLabels | None:
    """Look for sums of labels in the CXG; None where there are none, or none that belong to obs.

    Parameters
    ----------
    dataset : Dataset
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
    columns, room_bytes = [], KEPT_CODES_BYTES
    for column in sums.columns:
        dtype = np.min_scalar_type(-len(column.counts))
        if dtype.itemsize * dataset.n_obs > room_bytes:
            continue
        try:
            codes = codes_of(column, read_column(column.name))
        except (DatasetInvalid, UnknownColumn):
            codes = None
        if codes is None:
            text = "The sums of labels of column %r of %s are of other cells, and not used."
            log.warning(text, column.name, dataset.name)
        else:
            labels = dataset.obs.column(column.name).categories or ()
            narrow = codes.astype(dtype, copy=False)
            columns.append(CodedColumn(column.name, labels, column.first, column.counts, narrow))
            room_bytes -= dtype.itemsize * dataset.n_obs
    return CheckedLabels(sums, columns) if columns else None


def open_copied_labels(copy: CopiedLabelSums, on_damage: OnDamage) -> CheckedLabels:
    """Read the codes of the columns of a copy, of as many as there is room for in memory.

    Parameters
    ----------
    copy : CopiedLabelSums
    on_damage : callable
        Called when the sums turn out to be damaged later.

    Raises
    ------
    CopyDamaged
        The codes are damaged.
    """
    columns, first, room_bytes = [], 0, KEPT_CODES_BYTES
    for position, (name, labels, counts) in enumerate(copy.columns):
        if (size := copy.codes_bytes(position)) <= room_bytes:
            columns.append(CodedColumn(name, labels, first, counts, copy.read_codes(position)))
            room_bytes -= size
        first += len(counts)
    return CheckedLabels(copy, columns, on_damage)
