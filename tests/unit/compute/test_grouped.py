"""Means and fractions by group, against numpy on the whole arrays."""

import numpy as np
import pytest

from cxg.compute.grouped import SLICE_VALUES, count_cells, means_and_fractions


@pytest.mark.parametrize("n", [1, 50, SLICE_VALUES + 3])
@pytest.mark.parametrize("kind", [np.int8, np.int32, np.uint8])
def test_equal_to_numpy(n, kind):
    rng = np.random.default_rng(n)
    codes = rng.integers(0, 4, n).astype(kind)
    values = (rng.gamma(1, 2, n) * (rng.random(n) < 0.5)).astype(np.float32)
    counts = count_cells(codes, 5)
    means, fractions = means_and_fractions(codes, counts, values)
    for group in range(5):
        part = values[codes == group]
        assert counts[group] == len(part)
        if len(part):
            np.testing.assert_allclose(means[group], part.mean(dtype=np.float64), rtol=1e-12)
            np.testing.assert_allclose(fractions[group], (part > 0).mean(), rtol=1e-15)
        else:
            assert np.isnan(means[group])
            assert np.isnan(fractions[group])


def test_cells_without_a_group_count_nowhere():
    codes, values = np.array([-1, 0, 7, 1, 2]), np.array([9, 2, 9, -3, 9], np.float32)
    counts = count_cells(codes, 2)
    means, fractions = means_and_fractions(codes, counts, values)
    assert counts.tolist() == [1, 1]
    assert means.tolist() == [2, -3]
    assert fractions.tolist() == [1, 0]


def test_nan_and_infinity_stay_in_their_group():
    values = np.array([np.nan, 1, np.inf, 1, 2, 4], np.float32)
    codes = np.array([0, 0, 1, 1, 2, 2])
    means, fractions = means_and_fractions(codes, count_cells(codes, 3), values)
    assert np.isnan(means[0])
    assert means[1] == np.inf
    assert means[2] == 3
    assert fractions.tolist() == [0.5, 1, 1]
