"""Finding rows by name."""

from __future__ import annotations

import pytest

from cxg.format import positions
from cxg.format.positions import Positions

NAMES = ["ACTB", "CD4", "", "ACTB", "Ää", "cd4", "\ud800", "ACTB", "CD4 "]


@pytest.mark.parametrize("same_hash", [False, True])
def test_every_row_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch, same_hash: bool) -> None:
    if same_hash:
        monkeypatch.setattr(positions, "hash", lambda _: 7, raising=False)
    index = Positions(NAMES)
    for name in NAMES:
        assert index.find(name) == [row for row, other in enumerate(NAMES) if other == name]
        assert name in index
    assert index.find("actb") == []
    assert "actb" not in index
    assert 4 not in index


def test_it_takes_a_few_numbers_for_each_row() -> None:
    names = [f"ENSG{number:011d}" for number in range(10_000)]
    assert Positions(names).nbytes < 10_000 * (15 + 24)


def test_without_rows_nothing_is_found() -> None:
    assert Positions([]).find("") == []
