"""Differential expression of one dataset: from two sets of cells to the JSON answer."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from cxg.compute.diffexp import Moments, diffexp
from cxg.decoded.expression import Expression, Pause
from cxg.format.dataset import Dataset
from cxg.memory_bounds import CELL_BYTES, LISTED_CELL_BYTES, PARSE_TIMES, POSITION_BYTES, SMALL_BODY_BYTES
from cxg.web.limits.admission import Admission
from cxg.web.limits.bodies import Body
from cxg.web.routes.moments import SetReader
from cxg.wire.celllists import OTHER_BYTES, cut_out_lists
from cxg.wire.diffexp import DiffexpRequest, most_body_bytes, parse_diffexp

IndexArray = NDArray[np.int64]
# Up to this many labels are added up within the time of a fast comparison.
_FEW_LABELS = 8


def read_request(opened: Dataset, work: Admission, default_count: int) -> DiffexpRequest:
    """Read the body of the current request for a comparison in a dataset, within the memory plan.

    Parameters
    ----------
    default_count : int
        Genes in each list when the body does not say.

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
    """Return the memory, in bytes, that it takes to find the cells of both sets."""
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
) -> bytes:
    """Compare two sets of cells, (k,) sorted positions each; the answer as strict JSON.

    Where the sets make up the whole dataset and the CXG holds sums over all cells, only the
    smaller set is read. Of a set that is nearly some labels only the difference is read, where sums
    of labels are stored.

    Parameters
    ----------
    expression : Expression
        Expression of the dataset.
    pause : Pause
        Called between pieces, from several threads.

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
    return json.dumps({"positive": found.positive, "negative": found.negative}, allow_nan=False).encode()


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
