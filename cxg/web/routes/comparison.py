"""Differential expression of one dataset: from two sets of cells to the genes that differ, as JSON or as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxg.compute.diffexp import DiffexpResult, Moments, diffexp
from cxg.decoded.expression import Expression, Pause
from cxg.format.columns import label_texts
from cxg.format.dataset import Dataset
from cxg.memory_bounds import CELL_BYTES, LISTED_CELL_BYTES, PARSE_TIMES, POSITION_BYTES, SMALL_BODY_BYTES
from cxg.web.downloads import origin
from cxg.web.limits.admission import Admission
from cxg.web.limits.bodies import Body
from cxg.web.limits.sizes import column_objects_bytes
from cxg.web.routes.moments import SetReader
from cxg.wire.celllists import OTHER_BYTES, cut_out_lists
from cxg.wire.csv_table import Cell, write_table
from cxg.wire.diffexp import DiffexpRequest, most_body_bytes, parse_diffexp

IndexArray = NDArray[np.int64]
_HEADER = ("gene", "higher_in", "log_fold_change", "p", "p_adjusted", "mean_set1", "mean_set2")
_METHOD = (
    "difference of the means of {values} (log_fold_change) and Welch's t-test with the variance and degrees of freedom "
    "of cellxgene 1.3.0; p_adjusted is p times the {n_var} genes of the dataset and at most 1"
)
# So many labels are added up in the time that a comparison may take.
_FEW_LABELS = 8


@dataclass(frozen=True, slots=True)
class Comparison:
    """The genes that differ most between two sets of cells.

    Attributes
    ----------
    found : DiffexpResult
    means1, means2 : (k,) float64
        Mean in each set of the genes of both lists, the positive ones first.
    sizes : (int, int)
        Cells in each set.
    log1p : bool
        Whether means are of ln(1 + x), else of x.
    """

    found: DiffexpResult
    means1: NDArray[np.float64]
    means2: NDArray[np.float64]
    sizes: tuple[int, int]
    log1p: bool

    def json(self) -> bytes:
        """Encode the answer of the web client, as strict JSON."""
        return json.dumps({"positive": self.found.positive, "negative": self.found.negative}, allow_nan=False).encode()

    def rows(self) -> Iterator[tuple[int, str, float, float, float, float, float]]:
        """Iterate over the genes: position, where higher, difference of the means, p, adjusted p, both means."""
        entries = [*self.found.positive, *self.found.negative]
        for (gene, lfc, p, adjusted), mean1, mean2 in zip(
            entries, self.means1.tolist(), self.means2.tolist(), strict=True
        ):
            higher = "set1" if lfc > 0 else "set2" if lfc < 0 else "neither"
            yield gene, higher, lfc, p, adjusted, mean1, mean2


def comparison_csv(opened: Dataset, work: Admission, comparison: Comparison) -> bytes:
    """Write a comparison as a table with the names of the genes, and what it compares on top.

    Raises
    ------
    DatasetInvalid, StorageUnavailable
        The names of the genes cannot be read.
    """
    values = "ln(1 + x)" if comparison.log1p else "the values as stored"
    notes: dict[str, Cell] = {
        **origin(opened),
        "cells in set1": comparison.sizes[0],
        "cells in set2": comparison.sizes[1],
        "method": _METHOD.format(values=values, n_var=opened.n_var),
    }
    with work.memory(column_objects_bytes(opened.n_var)):
        names = label_texts(opened.var.read(opened.var.index))
        return write_table(notes, _HEADER, ((names[row[0]], *row[1:]) for row in comparison.rows()))


def read_request(opened: Dataset, work: Admission, default_count: int) -> DiffexpRequest:
    """Read the body of the current request for a comparison in a dataset, within the memory plan.

    Parameters
    ----------
    default_count : genes in each list when the body does not say

    Raises
    ------
    BodyTooLarge
        It is longer than two lists of all cells of this dataset.
    BadFilter, NotOffered
        From `parse_diffexp`.
    """
    n_obs = opened.n_obs
    body = Body(most_body_bytes(n_obs), f"two lists of the {n_obs:,} cells of this dataset take no more")
    is_small = body.announced_bytes <= SMALL_BODY_BYTES
    with work.memory(0 if is_small else OTHER_BYTES + 2 * SMALL_BODY_BYTES + LISTED_CELL_BYTES * n_obs):
        rest, lists = cut_out_lists(body.read, n_obs)
    with work.memory(PARSE_TIMES * len(rest)):
        return parse_diffexp(rest, n_obs, default_count, lists)


def rows_bytes(wanted: DiffexpRequest, n_obs: int) -> int:
    """Memory that it takes to find the cells of both sets."""
    has_conditions = any(cells.values or cells.ranges for cells in (wanted.set1, wanted.set2))
    return n_obs * (2 * POSITION_BYTES + (CELL_BYTES if has_conditions else 0))


def compare(
    opened: Dataset,
    expression: Expression,
    set1: IndexArray,
    set2: IndexArray,
    top_n: int,
    lfc_cutoff: float,
    pause: Pause = lambda: False,
) -> Comparison:
    """Compare two sets of cells, (k,) sorted positions each.

    Where the sets make up the whole dataset and the CXG holds sums over all cells, only the
    smaller set is read. Of a set that is nearly some labels only the difference is read, where sums
    of labels are stored.

    Parameters
    ----------
    expression : of the dataset
    pause : called between pieces, from several threads

    Raises
    ------
    DatasetInvalid, StorageUnavailable
        Expression cannot be read.
    """
    log1p = opened.looks_like_counts
    sets = SetReader(opened.n_var, expression, log1p, pause)
    whole = _whole(opened, set1, set2)
    pair = _apart(whole, sets, set1, set2) if whole is not None else None
    if pair is None:
        pair = (sets.moments(set1), sets.moments(set2))
    found = diffexp(*pair, top_n, lfc_cutoff)
    genes = [entry[0] for entry in (*found.positive, *found.negative)]
    means1, means2 = (moments.mean_and_variance()[0][genes] for moments in pair)
    return Comparison(found, means1, means2, (len(set1), len(set2)), log1p)


def _apart(whole: Moments, sets: SetReader, set1: IndexArray, set2: IndexArray) -> tuple[Moments, Moments] | None:
    """Moments of two sets that make up all cells, the larger one by subtracting; None when it is better added up.

    Adding up labels is exact, so a few are, and many where subtracting would lose digits.
    """
    n_labels = sets.count_labels(max(set1, set2, key=len))
    if n_labels is not None and n_labels <= _FEW_LABELS:
        return None
    smaller = sets.moments(min(set1, set2, key=len))
    rest = whole.minus(smaller)
    if n_labels is not None and not rest.keeps_digits(whole):
        return None
    return (smaller, rest) if len(set1) <= len(set2) else (rest, smaller)


def _whole(opened: Dataset, set1: IndexArray, set2: IndexArray) -> Moments | None:
    """Moments of all cells, when the sets split them in two and the sums are stored."""
    if len(set1) + len(set2) != opened.n_obs or opened.totals is None:
        return None
    if np.intersect1d(set1, set2, assume_unique=True).size:
        return None
    whole = Moments(opened.n_var, opened.n_obs, log1p=opened.totals.log1p)
    whole.total, whole.total_squares = opened.totals.total, opened.totals.total_squares
    return whole if whole.is_finite else None
