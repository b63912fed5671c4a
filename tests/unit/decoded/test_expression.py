"""Expression from the CXG comes in pieces that are small where somebody else is kept waiting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import pytest

from cxg.decoded.expression import DecodedCopies, Expression
from cxg.format.dataset import Dataset
from cxg.format.matrix.dense import IndexArray
from cxg.format.matrix.sparse import SparseBlock

VALUES_PER_CELL = 100


class NoCopies:
    def find(self, dataset: Dataset, axis: str) -> None:
        """Nothing is decoded."""


class Stored:
    """A dataset that notes how many cells it is asked for at a time."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.rows_are_light = False

    def iter_X_rows(self, cells: IndexArray) -> Iterator[SparseBlock]:
        self.asked.append(len(cells))
        size = len(cells) * VALUES_PER_CELL
        yield SparseBlock(np.zeros(size, np.int32), np.zeros(size, np.float32))


@pytest.mark.parametrize("is_small, values", [(False, 1 << 20), (True, 1 << 17)])
def test_pieces_are_as_small_as_the_others_need(is_small: bool, values: int) -> None:
    stored = Stored()
    expression = Expression(cast("Dataset", stored), cast("DecodedCopies", NoCopies()))
    for _ in expression.iter_rows(np.arange(100_000), lambda: is_small):
        pass
    assert sum(stored.asked) == 100_000
    assert max(stored.asked) == values // VALUES_PER_CELL
