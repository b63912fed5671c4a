"""The t-test against scipy, the ranking rules, and inputs without sensible numbers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import scipy.stats

from cxg.compute.diffexp import DiffexpResult, Moments, diffexp
from cxg.errors import DatasetInvalid


def moments(x: np.ndarray[Any, Any], log1p: bool = False, **options: int) -> Moments:
    """Moments from the non-zero values, in scrambled order."""
    made = Moments(x.shape[1], len(x), log1p, **options)
    rows, var = np.nonzero(x)
    shuffled = np.random.default_rng(1).permutation(len(rows))
    made.add_sparse(var[shuffled].astype(np.uint32), x[rows[shuffled], var[shuffled]])
    return made


def expression(n_obs: int, n_var: int, seed: int = 0, difference: float = 0.0) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(seed)
    x = np.log1p(rng.poisson(rng.gamma(0.5, 2, n_var), (n_obs, n_var))).astype(np.float32)
    x += (difference * rng.normal(size=n_var)).astype(np.float32) * (x > 0)
    return x


def by_definition(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    """Difference, t and p, straight from the published formulas."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    n = min(len(a), len(b))
    va, vb = a.var(axis=0, ddof=1) / n, b.var(axis=0, ddof=1) / n
    lfc = a.mean(axis=0) - b.mean(axis=0)
    with np.errstate(all="ignore"):
        t = lfc / np.sqrt(va + vb)
        freedom = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    t, freedom = np.where(np.isnan(t), 0, t), np.where(np.isnan(freedom), 1, freedom)
    return lfc, t, 2 * scipy.stats.t.sf(np.abs(t), freedom)


def genes(entries: list[Any]) -> list[int]:
    return [entry[0] for entry in entries]


def test_equal_sizes_give_welchs_test() -> None:
    a, b = expression(60, 300, 1, 0.5), expression(60, 300, 2)
    found = diffexp(moments(a), moments(b), 40, 0.01)
    welch = scipy.stats.ttest_ind(a.astype(np.float64), b.astype(np.float64), equal_var=False)
    assert genes(found.positive) == np.argsort(-welch.statistic, kind="stable")[:40].tolist()
    for var, _, p, adjusted in found.positive + found.negative:
        assert p == pytest.approx(welch.pvalue[var], rel=1e-7)
        assert adjusted == pytest.approx(min(1, welch.pvalue[var] * 300), rel=1e-7)


def test_unequal_sizes_follow_the_published_formulas() -> None:
    a, b = expression(23, 400, 3, 0.4), expression(310, 400, 4)
    found = diffexp(moments(a), moments(b), 50, 0.01)
    lfc, t, p = by_definition(a, b)
    candidates = np.flatnonzero(np.abs(lfc) > 0.01)
    assert len(candidates) > 100
    order = candidates[np.argsort(-t[candidates], kind="stable")]
    assert genes(found.positive) == order[:50].tolist()
    assert genes(found.negative) == order[::-1][:50].tolist()
    for var, difference, probability, adjusted in found.positive + found.negative:
        assert difference == pytest.approx(lfc[var], rel=1e-9)
        assert probability == pytest.approx(p[var], rel=1e-7)
        assert adjusted == pytest.approx(min(1, p[var] * 400), rel=1e-7)
    welch = scipy.stats.ttest_ind(a, b, equal_var=False).pvalue
    assert any(abs(entry[2] / welch[entry[0]] - 1) > 0.01 for entry in found.positive), "the smaller n is used for both"


def test_counts_are_logged_first() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.poisson(3, (30, 20)).astype(np.float32), rng.poisson(4, (40, 20)).astype(np.float32)
    found = diffexp(moments(a, log1p=True), moments(b, log1p=True), 5, 0.0)
    lfc, t, p = by_definition(np.log1p(a.astype(np.float64)), np.log1p(b.astype(np.float64)))
    assert genes(found.positive) == np.argsort(-t)[:5].tolist()
    for var, difference, probability, _ in found.positive:
        assert (difference, probability) == (pytest.approx(lfc[var]), pytest.approx(p[var]))


@pytest.mark.parametrize("log1p", [False, True])
def test_blocks_of_every_kind_add_up_to_the_same(log1p: bool) -> None:
    x = expression(50, 30)
    dense = Moments(30, 50, log1p, slice_values=70)
    dense.add_dense(x[:17])
    dense.add_dense(x[17:17])
    dense.add_dense(np.asfortranarray(x[17:]))
    sparse = moments(x, log1p, slice_values=70)
    truth = np.log1p(x.astype(np.float64)) if log1p else x.astype(np.float64)
    for made in (dense, sparse):
        np.testing.assert_allclose(made.total, truth.sum(axis=0), rtol=1e-12)
        np.testing.assert_allclose(made.total_squares, (truth**2).sum(axis=0), rtol=1e-12)
        mean, variance = made.mean_and_variance()
        np.testing.assert_allclose(mean, truth.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(variance, truth.var(axis=0, ddof=1), rtol=1e-9, atol=1e-15)


def test_minus_equals_the_complement() -> None:
    x = expression(200, 40)
    x[:120, 7] = 0  # expressed only in the part that is taken away
    rest = moments(x).minus(moments(x[120:]))
    assert rest.n == 120
    assert rest.total[7] == rest.total_squares[7] == 0
    for got, want in zip(rest.mean_and_variance(), moments(x[:120]).mean_and_variance(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-12)


def test_is_finite_tells_when_subtracting_is_wrong() -> None:
    x = expression(20, 5)
    assert moments(x).is_finite
    x[3, 2] = np.nan
    assert not moments(x).is_finite


def test_a_gene_that_does_not_exist_is_refused() -> None:
    for var in (np.array([0, 4_000_000_000], np.uint32), np.array([-1])):
        with pytest.raises(DatasetInvalid, match="beyond the 5"):
            Moments(5, 1).add_sparse(var, np.ones(len(var), np.float32))


# Ranking: one cell in each set gives no variance, so t is infinite with the sign of the difference;
# sets of two values around the mean give any t that is wanted.


def with_t(t: list[float]) -> DiffexpResult | Any:
    """Moments of two sets of 50 cells whose genes have these t."""
    wanted = np.array(t, dtype=np.float64)
    spread = np.where(np.arange(50) % 2, 1.0, -1.0)[:, None] * np.ones(len(t))
    unit = np.sqrt(2 * spread[:, 0].var(ddof=1) / 50)
    return moments(spread + 10 + wanted * unit), moments(spread + 10)


def test_cutoff_holds_only_while_enough_genes_remain() -> None:
    a, b = with_t([5, 4, 3, 0.1, -0.1, -3, -4, -5])
    found = diffexp(a, b, 2, 0.1)
    assert (genes(found.positive), genes(found.negative)) == ([0, 1], [7, 6])
    few_a, few_b = with_t([0.1, 5, -0.2, 0.3, -0.4])
    assert genes(diffexp(few_a, few_b, 2, 0.5).positive) == [1, 3], "one candidate is not more than four"
    only = diffexp(few_a, few_b, 2, 1e9)
    assert (genes(only.positive), genes(only.negative)) == ([1, 3], [4, 2])


def test_exactly_twice_the_number_of_candidates_ignores_the_cutoff() -> None:
    a, b = with_t([9, 8, 7, -9] + [0.0] * 6)
    found = diffexp(a, b, 2, 0.1)
    assert genes(found.negative) == [3, 9], "four candidates are not more than four"
    assert genes(diffexp(*with_t([9, 8, 7, 6, -9] + [0.0] * 6), 2, 0.1).negative) == [4, 3], "five are"


def test_the_sign_is_not_tested() -> None:
    found = diffexp(*with_t([6, 5, 4, 3, 2, 1]), 2, 0.01)
    assert (genes(found.positive), genes(found.negative)) == ([0, 1], [5, 4])


def test_equal_t_are_ordered_by_position() -> None:
    a, b = with_t([0.0] * 9)
    found = diffexp(a, b, 3, 0.01)
    assert (genes(found.positive), genes(found.negative)) == ([0, 1, 2], [6, 7, 8])
    assert [entry[1:] for entry in found.positive] == [(0.0, 1.0, 1.0)] * 3


@pytest.mark.parametrize("top_n", [4, 5, 6, 7, 50, 10**9])
def test_more_genes_wanted_than_there_are(top_n: int) -> None:
    found = diffexp(*with_t([1, -2, 3, 4, -5, 6, 7]), top_n, 0.01)
    assert genes(found.positive) == [6, 5, 3, 2, 0][:top_n]
    assert genes(found.negative) == [4, 1, 0][: 7 - len(found.positive)]
    assert sorted(genes(found.positive + found.negative)) == list(range(7)), "each gene once"


def test_a_single_gene() -> None:
    assert genes(diffexp(*with_t([2.0]), 50, 0.01).positive) == [0]
    assert genes(diffexp(*with_t([-2.0]), 50, 0.01).negative) == [0]


@pytest.mark.parametrize("top_n", [0, -5])
def test_no_genes_wanted(top_n: int) -> None:
    assert diffexp(*with_t([1, 2, 3]), top_n, 0.01) == DiffexpResult([], [])


def test_swapping_the_sets_mirrors_the_answer() -> None:
    a, b = moments(expression(30, 100, 1, 0.5)), moments(expression(50, 100, 2))
    forth, back = diffexp(a, b, 10, 0.01), diffexp(b, a, 10, 0.01)
    assert forth.positive == [(var, -lfc, p, adjusted) for var, lfc, p, adjusted in back.negative]


def test_constant_genes() -> None:
    a, b = np.full((37, 8), 0.3, np.float32), np.full((91, 8), 0.3, np.float32)
    b[:, 5] = 0.1
    found = diffexp(moments(a), moments(b), 2, 0.01)
    assert found.positive[0] == (5, pytest.approx(0.2), 0.0, 0.0), "no variance but another mean: certain"
    assert found.positive[1] == (0, 0.0, 1.0, 1.0), "the same everywhere: nothing"


@pytest.mark.parametrize("n_a, n_b", [(1, 1), (1, 30), (30, 1), (0, 5), (0, 0), (2, 2)])
def test_tiny_sets_give_strict_json(n_a: int, n_b: int) -> None:
    found = diffexp(moments(expression(n_a, 12, 1)), moments(expression(n_b, 12, 2)), 5, 0.01)
    json.dumps([found.positive, found.negative], allow_nan=False)
    assert len(found.positive) == len(found.negative) == 5


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3.4e38, -1.0, -5.0])
@pytest.mark.parametrize("log1p", [False, True])
def test_nan_and_infinite_values_give_strict_json(bad: float, log1p: bool) -> None:
    a, b = expression(20, 30, 1, 0.5), expression(25, 30, 2)
    clean = diffexp(moments(a[:, 10:], log1p), moments(b[:, 10:], log1p), 3, 0.01)
    a[4, :3] = bad
    b[2, 2:5] = bad
    found = diffexp(moments(a, log1p), moments(b, log1p), 15, 0.01)
    json.dumps([found.positive, found.negative], allow_nan=False)
    p = {entry[0]: entry[2] for entry in found.positive + found.negative}
    for var, _, probability, _ in clean.positive:
        assert p[var + 10] == pytest.approx(probability, rel=1e-9), "other genes are untouched"
