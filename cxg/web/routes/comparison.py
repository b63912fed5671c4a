"""Differential expression of one dataset: from two sets of cells to the JSON answer."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from cxg.compute.diffexp import Moments, diffexp
from cxg.decoded.expression import Expression, Pause
from cxg.format.dataset import Dataset
from cxg.format.matrix.sparse import SparseBlock
from cxg.memory import available_cpus
from cxg.memory_bounds import CELL_BYTES, LISTED_CELL_BYTES, PARSE_TIMES, POSITION_BYTES, SMALL_BODY_BYTES
from cxg.web.limits.admission import Admission
from cxg.web.limits.bodies import Body
from cxg.wire.celllists import OTHER_BYTES, cut_out_lists
from cxg.wire.diffexp import DiffexpRequest, most_body_bytes, parse_diffexp

IndexArray = NDArray[np.int64]
# Adding up is done by as many threads as there are processors; below this many cells one is enough.
_CELLS_FOR_THREADS = 2_000
_MOST_THREADS = 4


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
) -> bytes:
    """Compare two sets of cells, (k,) sorted positions each; the answer as strict JSON.

    Where the sets make up the whole dataset and the CXG holds sums over all cells, only the
    smaller set is read.

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
    moments = partial(_moments, opened.n_var, expression, log1p, pause)
    whole = _whole(opened, set1, set2)
    if whole is not None:
        smaller = moments(min(set1, set2, key=len))
        rest = whole.minus(smaller)
        pair = (smaller, rest) if len(set1) <= len(set2) else (rest, smaller)
    else:
        pair = (moments(set1), moments(set2))
    found = diffexp(*pair, top_n, lfc_cutoff)
    return json.dumps({"positive": found.positive, "negative": found.negative}, allow_nan=False).encode()


def _moments(n_var: int, expression: Expression, log1p: bool, pause: Pause, cells: IndexArray) -> Moments:
    threads = (
        min(_MOST_THREADS, available_cpus()) if len(cells) >= _CELLS_FOR_THREADS and expression.rows_are_decoded else 1
    )
    parts = np.array_split(cells, threads)
    add_up = partial(_add_up, n_var, expression, log1p, pause)
    if threads == 1:
        return add_up(cells)
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(add_up, part) for part in parts[1:]]
        total = add_up(parts[0])
        for other in others:
            total.add(other.result())
    return total


def _add_up(n_var: int, expression: Expression, log1p: bool, pause: Pause, cells: IndexArray) -> Moments:
    moments = Moments(n_var, len(cells), log1p=log1p)
    for block in expression.iter_rows(cells, pause):
        if isinstance(block, SparseBlock):
            moments.add_sparse(block.var, block.value)
        else:
            moments.add_dense(block.values)
    return moments


def _whole(opened: Dataset, set1: IndexArray, set2: IndexArray) -> Moments | None:
    """Moments of all cells, when the sets split them in two and the sums are stored."""
    if len(set1) + len(set2) != opened.n_obs or opened.totals is None:
        return None
    if np.intersect1d(set1, set2, assume_unique=True).size:
        return None
    whole = Moments(opened.n_var, opened.n_obs, log1p=opened.totals.log1p)
    whole.total, whole.total_squares = opened.totals.total, opened.totals.total_squares
    return whole if whole.is_finite else None
