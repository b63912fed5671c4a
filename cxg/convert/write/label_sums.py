"""Sums per gene over the cells of each label of obs, gathered while X is written; the array `X_label_sums`."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.convert.write import arrays
from cxg.format import layout

# Bytes of two float64 sums for each label and gene. A CXG has about 4 bytes for each value of X.
_ROW_BYTES = 2 * 8
BYTES_PER_VALUE, LEAST_BYTES, _MOST_BYTES = 0.16, 4 << 20, 48 << 20
_MOST_LABELS = 4096
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


def most_bytes(n_values: int) -> int:
    """Return the most bytes for the sums of a matrix of so many values: 4 % of the CXG, from 4 MB to 48 MB."""
    return min(_MOST_BYTES, max(LEAST_BYTES, int(n_values * BYTES_PER_VALUE)))


def choose_columns(
    columns: Mapping[str, Any], n_labels: Mapping[str, int], n_var: int, n_values: int
) -> tuple[LabelColumn, ...]:
    """Choose the columns whose labels get sums: those with the fewest labels first, as long as they fit the bound.

    Columns that have one label in use, or split the cells as another column does, are passed over.

    Parameters
    ----------
    columns : mapping of str to object
        Attributes of obs, at least the categorical ones.
    n_labels : mapping of str to int
        How many labels each categorical column has.
    n_values : int
        Values that X has, or more.
    """
    room = min(_MOST_LABELS, most_bytes(n_values) // (_ROW_BYTES * n_var))
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

    def write(self, uri: str, log1p: bool, n_values: int, ctx: Any) -> None:
        """Write the array, unless there are no sums; of columns chosen for a larger X only those that fit."""
        room = most_bytes(n_values) // (_ROW_BYTES * self._n_var)
        kept, rows = [], 0
        for column in self._columns:
            if rows + column.n_labels > room:
                break
            kept.append(
                {
                    layout.LABELS_NAME: column.name,
                    layout.LABELS_COUNTS: np.bincount(column.codes, minlength=column.n_labels).tolist(),
                    layout.LABELS_CHECKSUM: zlib.crc32(column.codes.astype("<i4").tobytes()),
                }
            )
            rows += column.n_labels
        if not kept:
            return
        sums, squares = self._sums[log1p][:, :rows]
        arrays.write_lines(uri, {layout.TOTAL_SUM: sums, layout.TOTAL_SQUARES: squares}, ctx)
        transform = layout.TRANSFORM_LOG1P if log1p else layout.TRANSFORM_NONE
        columns = json.dumps(kept, ensure_ascii=False)
        arrays.write_metadata(uri, {layout.TRANSFORM_KEY: transform, layout.LABELS_KEY: columns}, ctx)


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
