"""Sums per gene over the cells of each label of obs, gathered while X is read once by gene."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Bytes of two float64 sums for each label and gene. A CXG has about 4 bytes for each value of X.
_ROW_BYTES = 2 * 8
BYTES_PER_VALUE, LEAST_BYTES, _MOST_BYTES = 0.16, 4 << 20, 48 << 20
MOST_LABELS = 4096
# Columns whose labels occur in no more combinations than these are added up together.
MOST_COMBINATIONS = 256
# Values and sums handled per call into numpy: they fit the cache.
SLICE_VALUES, _SLICE_SUMS = 1 << 18, 1 << 18


@dataclass(frozen=True)
class LabelColumn:
    """A categorical column of obs: its name, (n_obs,) int16 codes, and how many labels it has."""

    name: str
    codes: NDArray[np.int16]
    n_labels: int

    @property
    def counts(self) -> NDArray[np.int64]:
        """Return the number of cells of each label, (n_labels,)."""
        return np.bincount(self.codes, minlength=self.n_labels)

    @property
    def checksum(self) -> int:
        """Return the CRC-32 of the codes as little-endian int32."""
        return zlib.crc32(self.codes.astype("<i4").tobytes())


def most_bytes(n_values: int) -> int:
    """Return the most bytes for the sums of a matrix of so many values: 4 % of the CXG, from 4 MB to 48 MB."""
    return min(_MOST_BYTES, max(LEAST_BYTES, int(n_values * BYTES_PER_VALUE)))


def choose_columns(
    columns: Mapping[str, Any], n_labels: Mapping[str, int], n_var: int, room_bytes: int
) -> tuple[LabelColumn, ...]:
    """Choose the columns whose labels get sums: those with the fewest labels first, as long as they fit the bound.

    Columns that have one label in use, or split the cells as another column does, are passed over.

    Parameters
    ----------
    columns : mapping of str to object
        Attributes of obs, at least the categorical ones.
    n_labels : mapping of str to int
        How many labels each categorical column has.
    room_bytes : int
        Most bytes that the sums may take.
    """
    room = min(MOST_LABELS, room_bytes // (_ROW_BYTES * n_var))
    chosen: list[LabelColumn] = []
    seen: set[int] = set()
    for name in sorted(n_labels, key=lambda name: n_labels[name]):
        if n_labels[name] > room:
            break
        codes = np.asarray(columns[name][:], np.int16)
        partition = _partition(codes, n_labels[name])
        if partition is None or partition in seen:
            continue
        seen.add(partition)
        chosen.append(LabelColumn(name, codes, n_labels[name]))
        room -= n_labels[name]
    return tuple(chosen)


def _partition(codes: NDArray[np.int16], n_labels: int) -> int | None:
    """A number that columns share which differ in nothing but the order and text of their labels."""
    used, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    if len(used) < 2 or used[0] < 0 or used[-1] >= n_labels:
        return None
    rank = np.empty(len(used), np.int16)
    rank[np.argsort(first)] = np.arange(len(used), dtype=np.int16)
    return hash(rank[inverse].tobytes())


class LabelSums(NamedTuple):
    """Sums over the cells of each label: (labels, n_var) sums and sums of squares, the labels column by column."""

    columns: tuple[LabelColumn, ...]
    sums: NDArray[np.float64]
    squares: NDArray[np.float64]


class LabelSumsBuilder:
    """Sum and sum of squares of f(x) over the cells of each label, for each gene, in float64.

    Parameters
    ----------
    columns : sequence of LabelColumn
        The columns that `choose_columns` chose.
    n_var : int
    transforms : iterable of bool
        Transforms to apply: True for ln(1+x), False for x itself.
    """

    def __init__(self, columns: Sequence[LabelColumn], n_var: int, transforms: Iterable[bool]) -> None:
        self._columns, self._n_var = columns, n_var
        self._groups = _grouped(columns)
        rows = sum(column.n_labels for column in columns)
        self._sums = {which: np.zeros((2, rows, n_var)) for which in transforms} if columns else {}

    def add(self, start: int, genes: Any, first_cell: int = 0) -> None:
        """Take in consecutive genes.

        Parameters
        ----------
        start : int
            Number of the first gene.
        genes : scipy.sparse.csr_matrix, or the transpose of a CSC matrix
            A line for each gene, an index for each cell.
        first_cell : int
            Cell of index 0.
        """
        if not self._columns:
            return
        indptr = genes.indptr
        widest = max(group.n for group in self._groups)
        step = max(1, _SLICE_SUMS // widest)
        n_lines, low = len(indptr) - 1, 0
        while low < n_lines:
            fits = int(np.searchsorted(indptr, indptr[low] + SLICE_VALUES, "right")) - 1
            high = min(n_lines, low + step, max(low + 1, fits))
            self._add_slice(start + low, indptr[low : high + 1], genes, first_cell)
            low = high

    def _add_slice(self, start: int, indptr: NDArray[Any], genes: Any, first_cell: int) -> None:
        n = len(indptr) - 1
        part = slice(int(indptr[0]), int(indptr[-1]))
        if part.start == part.stop:
            return
        gene = np.repeat(np.arange(n), np.diff(indptr))
        cells = genes.indices[part] + first_cell
        bins = [gene * group.n + group.codes[cells] for group in self._groups]
        for which, sums in self._sums.items():
            numbers = genes.data[part].astype(np.float64)
            with np.errstate(all="ignore"):
                if which:
                    np.log1p(numbers, out=numbers)
                for power in (0, 1):
                    for group, at in zip(self._groups, bins, strict=True):
                        found = np.bincount(at, numbers, n * group.n).reshape(n, group.n).T
                        group.add_to(sums[power, :, start : start + n], found)
                    numbers *= numbers

    def result(self, log1p: bool, room_bytes: int) -> LabelSums:
        """Return the sums so far, of the first columns whose sums fit `room_bytes`.

        Parameters
        ----------
        log1p : bool
            Which of the transforms.
        """
        room, kept, rows = room_bytes // (_ROW_BYTES * self._n_var), [], 0
        for column in self._columns:
            if rows + column.n_labels > room:
                break
            kept.append(column)
            rows += column.n_labels
        return LabelSums(tuple(kept), *self._sums[log1p][:, :rows]) if kept else LabelSums((), *_nothing(self._n_var))

    def clear(self) -> None:
        """Set all sums to zero, to go on with other genes."""
        for sums in self._sums.values():
            sums.fill(0)


def _nothing(n_var: int) -> NDArray[np.float64]:
    return np.zeros((2, 0, n_var))


@dataclass(frozen=True)
class _Group:
    """Columns that are added up together, by the combinations of their labels that occur.

    Attributes
    ----------
    codes : (n_obs,) the combination of each cell
    n : int
        How many combinations there are.
    members : tuple of (array, array, array)
        For each column its combinations sorted by label, where each label in use begins, and the rows of those.
    """

    codes: NDArray[Any]
    n: int
    members: tuple[tuple[NDArray[Any], NDArray[Any], NDArray[Any]], ...]

    def add_to(self, rows: NDArray[np.float64], found: NDArray[Any]) -> None:
        """Add sums of combinations, (n, k), to those of the labels, (all labels, k)."""
        for order, begins, places in self.members:
            # Added, not multiplied by a matrix of zeros and ones: zero times NaN is NaN.
            rows[places] += np.add.reduceat(found[order], begins, axis=0)


def _grouped(columns: Sequence[LabelColumn]) -> list[_Group]:
    groups: list[_Group] = []
    waiting: list[tuple[LabelColumn, int]] = []
    joint, n, row = np.zeros(0, np.int64), 0, 0
    for column in columns:
        together = joint * column.n_labels + column.codes if waiting else column.codes.astype(np.int64)
        used, inverse = np.unique(together, return_inverse=True)
        if waiting and len(used) > max(MOST_COMBINATIONS, n):
            groups.append(_group(joint, n, waiting))
            waiting = []
            used, inverse = np.unique(column.codes, return_inverse=True)
        joint, n = inverse.astype(np.int64), len(used)
        waiting.append((column, row))
        row += column.n_labels
    if waiting:
        groups.append(_group(joint, n, waiting))
    return groups


def _group(joint: NDArray[np.int64], n: int, members: Sequence[tuple[LabelColumn, int]]) -> _Group:
    parts = []
    for column, row in members:
        label = np.zeros(n, np.int64)
        label[joint] = column.codes
        order = np.argsort(label, kind="stable")
        used, begins = np.unique(label[order], return_index=True)
        parts.append((order, begins, row + used))
    return _Group(joint.astype(np.int16), n, tuple(parts))
