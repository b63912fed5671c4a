"""Means over genes and scaled embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cxg.compute.summary import GeneSum, mean_columns, scale_embedding


@pytest.mark.parametrize("order", ["C", "F"])
def test_mean_of_columns(order: Any) -> None:
    values = np.asarray(np.random.default_rng(0).normal(size=(50, 7)), np.float32, order=order)
    mean = mean_columns(values)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, values.astype(np.float64).mean(axis=1), rtol=1e-6)


def test_mean_of_nothing_is_zero() -> None:
    assert mean_columns(np.zeros((4, 0), np.float32)).tolist() == [0, 0, 0, 0]
    assert mean_columns(np.zeros((0, 3), np.float32)).shape == (0,)


def test_missing_values_stay_in_their_cell() -> None:
    mean = mean_columns(np.array([[1, np.nan], [1, 3], [np.inf, -np.inf]], np.float32))
    np.testing.assert_array_equal(mean, np.array([np.nan, 2, np.nan], np.float32))


def test_blocks_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxg.compute.summary._SLICE", 9)
    rng = np.random.default_rng(0)
    values = np.where(rng.random((30, 6)) < 0.4, rng.normal(size=(30, 6)), 0).astype(np.float32)
    total = GeneSum(30)
    total.add_columns(values[:, :2])
    obs, var = np.nonzero(values[:, 2:])
    total.add_sparse(obs.astype(np.uint32), values[obs, var + 2])
    np.testing.assert_allclose(total.mean(6), mean_columns(values), rtol=1e-6)


def test_the_longer_side_fills_the_square() -> None:
    scaled = scale_embedding(np.array([[-3, 10], [7, 10], [2, 15]], np.float32))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[0, 0.25], [1, 0.25], [0.5, 0.75]])


def test_each_dimension_passes_over_its_own_missing_values() -> None:
    scaled = scale_embedding(np.array([[0, np.nan], [4, 1], [np.nan, 3], [2, 2], [np.inf, 2], [2, -np.inf]]))
    expected = [[0, np.nan], [1, 0.25], [np.nan, 0.75], [0.5, 0.5], [np.nan, 0.5], [0.5, np.nan]]
    np.testing.assert_allclose(scaled, expected)


@pytest.mark.parametrize("point", [0.0, -1e9, 1e300])
def test_equal_points_stand_in_the_middle(point: float) -> None:
    assert (scale_embedding(np.full((5, 2), point)) == 0.5).all()
    with_gap = scale_embedding(np.array([[point, point], [np.nan, np.nan]]))
    np.testing.assert_array_equal(with_gap, [[0.5, 0.5], [np.nan, np.nan]])


def test_nothing_to_scale() -> None:
    assert np.isnan(scale_embedding(np.full((3, 2), np.nan))).all()
    assert scale_embedding(np.zeros((0, 2))).shape == (0, 2)
    assert scale_embedding(np.array([[3, 5], [1, 5]])).tolist() == [[1, 0.5], [0, 0.5]]
