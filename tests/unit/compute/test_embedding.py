"""Scaled embeddings."""

from __future__ import annotations

import numpy as np
import pytest

from cxg.compute.embedding import scale_embedding


def test_the_longer_side_fills_the_square() -> None:
    scaled = scale_embedding(np.array([[-3, 10], [7, 10], [2, 15]], np.float32))
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled, [[0, 0.25], [1, 0.25], [0.5, 0.75]])


def test_each_dimension_ignores_its_own_missing_values() -> None:
    scaled = scale_embedding(np.array([[0, np.nan], [4, 1], [np.nan, 3], [2, 2], [np.inf, 2], [2, -np.inf]]))
    expected = [[0, np.nan], [1, 0.25], [np.nan, 0.75], [0.5, 0.5], [np.nan, 0.5], [0.5, np.nan]]
    np.testing.assert_allclose(scaled, expected)


@pytest.mark.parametrize("point", [0.0, -1e9, 1e300])
def test_equal_points_are_placed_in_the_middle(point: float) -> None:
    assert (scale_embedding(np.full((5, 2), point)) == 0.5).all()
    with_gap = scale_embedding(np.array([[point, point], [np.nan, np.nan]]))
    np.testing.assert_array_equal(with_gap, [[0.5, 0.5], [np.nan, np.nan]])


def test_nothing_to_scale() -> None:
    assert np.isnan(scale_embedding(np.full((3, 2), np.nan))).all()
    assert scale_embedding(np.zeros((0, 2))).shape == (0, 2)
    assert scale_embedding(np.array([[3, 5], [1, 5]])).tolist() == [[1, 0.5], [0, 0.5]]
