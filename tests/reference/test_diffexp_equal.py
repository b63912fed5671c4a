"""Differential expression: the same genes in the same order with the same numbers."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from tests.reference.pair import Pair

pytestmark = pytest.mark.reference


MANY = b'{"mode": "topN", "count": 765, "set1": {"filter": {"obs": {"index": [[0, 9]]}}}, "set2": {"filter": {"obs": {"index": [[9, 99]]}}}}'


def sets(set1: dict[str, Any], set2: dict[str, Any], count: int) -> dict[str, Any]:
    return {"mode": "topN", "count": count, "set1": {"filter": {"obs": set1}}, "set2": {"filter": {"obs": set2}}}


def assert_same_genes(
    theirs: Any, ours: Any, expression: np.ndarray, request: dict[str, Any], cells: tuple[Any, Any]
) -> None:
    """Equal lists; two genes may only stand the other way round when float32 cannot tell their scores apart."""
    scores = t_scores(expression, *cells)
    for side in ("positive", "negative"):
        assert len(ours[side]) == len(theirs[side]) == request["count"]
        for mine, other in zip(ours[side], theirs[side], strict=True):
            if mine[0] != other[0]:
                assert scores[mine[0]] == pytest.approx(scores[other[0]], rel=2e-4, abs=1e-5), (side, mine, other)
                continue
            assert mine[1] == pytest.approx(other[1], rel=1e-3, abs=1e-5)
            for p_mine, p_other in ((mine[2], other[2]), (mine[3], other[3])):
                assert math.log10(p_mine + 1e-300) == pytest.approx(math.log10(p_other + 1e-300), rel=2e-3, abs=2e-3)


def t_scores(expression: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The score by which genes are ordered, in double precision; what is not finite counts as 0."""
    with np.errstate(all="ignore"):
        is_counts = expression.min() >= 0 and expression.max() > 24
        X = np.log1p(expression) if is_counts else expression
        n = min(len(a), len(b))
        (mean_a, spread_a), (mean_b, spread_b) = (
            (finite(X[c].mean(axis=0)), finite(X[c].var(axis=0, ddof=1) / n)) for c in (a, b)
        )
        return np.nan_to_num((mean_a - mean_b) / np.sqrt(spread_a + spread_b), posinf=1e300, neginf=-1e300)


def finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, 0)


@pytest.fixture
def expression(pair: Pair) -> np.ndarray:
    """All of X in double precision, from the published server."""
    return read_expression(pair)


def read_expression(pair: Pair) -> np.ndarray:
    """All of X in double precision, 32 genes at a time, the same from both servers."""
    n_var = pair.schema()["dataframe"]["nVar"]
    parts = []
    for start in range(0, n_var, 32):
        body = f'{{"filter": {{"var": {{"index": [[{start}, {min(start + 32, n_var)}]]}}}}}}'.encode()
        theirs, ours = pair.matrix("data/var", "PUT", body, Content_Type="application/json")
        for mine, other in zip(ours.columns, theirs.columns, strict=True):
            np.testing.assert_array_equal(mine.values, other.values)
            parts.append(other.values.astype(np.float64))
    return np.stack(parts, axis=1)


def labels_of(pair: Pair, column: str) -> np.ndarray:
    theirs, _ = pair.matrix(f"annotations/obs?annotation-name={quote(column, safe='')}")
    return np.array(theirs.columns[0].values)


@pytest.mark.parametrize("count", [1, 10, 50])
def test_between_labels(pair: Pair, expression: np.ndarray, count: int) -> None:
    column = {"pbmc68k": "bulk_labels", "dtypes": "category_text"}.get(pair.name, "group")
    labels = labels_of(pair, column)
    names = sorted(set(labels))[:4]
    for first, second in [(a, b) for a in names for b in names if a != b]:
        cells = np.flatnonzero(labels == first), np.flatnonzero(labels == second)
        request = sets({"index": cells[0].tolist()}, {"index": cells[1].tolist()}, count)
        theirs, ours = pair.diffexp(request)
        assert_same_genes(theirs, ours, expression, request, cells)


@pytest.mark.parametrize("seed", range(4))
def test_random_sets_and_the_rest(pair: Pair, expression: np.ndarray, seed: int) -> None:
    random = np.random.default_rng(seed)
    chosen = random.random(len(expression)) < (0.05, 0.2, 0.5, 0.9)[seed]
    cells = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    request = sets({"index": cells[0].tolist()}, {"index": cells[1].tolist()}, 20)
    theirs, ours = pair.diffexp(request)
    assert_same_genes(theirs, ours, expression, request, cells)


def test_ranges_and_values_select_the_same_cells(pair: Pair, expression: np.ndarray) -> None:
    column = {"pbmc68k": "bulk_labels", "dtypes": "category_text"}.get(pair.name, "group")
    labels = labels_of(pair, column)
    label = str(sorted(set(labels))[0])
    cells = np.flatnonzero(labels == label), np.array([0, 1, *range(60, 120)])
    by_value = {"annotation_value": [{"name": column, "values": [label]}]}
    request = sets(by_value, {"index": [0, 1, [60, 120]]}, 10)
    theirs, ours = pair.diffexp(request)
    assert_same_genes(theirs, ours, expression, request, cells)


def test_a_numeric_range_selects_the_same_cells(real_pair: Pair) -> None:
    low = {"annotation_value": [{"name": "n_genes", "max": 1051}]}
    high = {"annotation_value": [{"name": "n_genes", "min": 1200, "max": 1500}]}
    theirs, ours = real_pair.diffexp(sets(low, high, 5))
    assert [gene[0] for gene in ours["positive"]] == [gene[0] for gene in theirs["positive"]]
    assert [gene[0] for gene in ours["negative"]] == [gene[0] for gene in theirs["negative"]]


@pytest.mark.parametrize("count", [0, -3])
def test_count_of_none(real_pair: Pair, count: int) -> None:
    theirs, ours = real_pair.diffexp(sets({"index": [1, 2, 3]}, {"index": [7, 8, 9]}, count))
    assert ours == theirs == {"negative": [], "positive": []}


def test_more_genes_wanted_than_there_are(real_pair: Pair) -> None:
    theirs, ours = real_pair.diffexp(sets({"index": [[0, 300]]}, {"index": [[300, 700]]}, 500))
    assert {gene[0] for gene in theirs["positive"]} & {gene[0] for gene in theirs["negative"]}
    genes = [gene[0] for side in ("positive", "negative") for gene in ours[side]]
    assert sorted(genes) == list(range(765))  # disjoint-lists
    answer = real_pair.ours.ask("diffexp/obs", "POST", MANY, Content_Type="application/json")
    assert answer.status == 200  # many-genes-first


def test_equal_scores_are_ordered_by_position(real_pair: Pair) -> None:
    everything = {"index": [[0, 700]]}
    theirs, ours = real_pair.diffexp(sets(everything, everything, 4))
    assert {gene[2] for side in ("positive", "negative") for gene in theirs[side]} == {1.0}
    assert [gene[0] for gene in ours["positive"]] == [0, 1, 2, 3]  # ties
    assert [gene[0] for gene in ours["negative"]] == [761, 762, 763, 764]


def test_negative_values_are_never_taken_for_counts(scaled_pair: Pair) -> None:
    """The published server takes the logarithm of z-scores: genes that differ come out equal, with p = 1."""
    expression, labels = read_expression(scaled_pair), labels_of(scaled_pair, "bulk_labels")
    assert expression.min() < -1
    assert expression.max() - expression.min() > 24
    cells = np.flatnonzero(labels == "CD14+ Monocyte"), np.flatnonzero(labels == "CD19+ B")
    theirs, ours = scaled_pair.diffexp(sets({"index": cells[0].tolist()}, {"index": cells[1].tolist()}, 382))
    scores = t_scores(expression, *cells)
    found_scores = scores[[gene[0] for gene in ours["positive"]]]
    np.testing.assert_allclose(found_scores, np.sort(scores)[::-1][: len(found_scores)], rtol=1e-9, atol=1e-9)
    for side in ("positive", "negative"):
        for gene, difference, _, _ in ours[side]:
            expected = expression[cells[0], gene].mean() - expression[cells[1], gene].mean()
            assert difference == pytest.approx(expected, abs=1e-9)
    lost = {gene[0] for side in theirs for gene in theirs[side] if gene[1] == 0 and gene[2] == 1}
    found = {gene[0]: gene[2] for side in ours for gene in ours[side]}
    assert min(found[gene] for gene in lost if gene in found) < 1e-5  # negative-expression
