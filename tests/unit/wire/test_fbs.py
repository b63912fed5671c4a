"""The Matrix FlatBuffer: published vectors, an independent decoder, alignment, strict JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cxg.wire.fbs import ColumnData, encode_matrix
from cxg.wire.json_array import JSONColumn, json_strings
from tests.decode import Matrix, decode

TWO_COLUMNS = bytes.fromhex(
    "1400000000000e001800140010000c000b0004000e0000001400000000000005240000000200000003000000"
    "9effffff04000000090000005b2266222c2263225d00000002000000100000003800000008000c000b000400"
    "080000000800000000000001d6ffffff04000000030000000000c03f0000c07f0000807f08000a0009000400"
    "080000000c000000000506000800040006000000040000000e0000005b2261222c2262222c6e756c6c5d0000"
)
ONE_GENE = bytes.fromhex(
    "1400000000000e001800140010000c000b0004000e00000014000000000000021c0000000100000003000000"
    "d6ffffff040000000100000087060000010000000c00000008000a0009000400080000000c00000000010600"
    "08000400060000000400000003000000000000000000803f00000040"
)


def encoded(columns: list[ColumnData], col_index: Any, n_rows: int) -> bytes:
    return b"".join(encode_matrix(columns, col_index, n_rows))


def kinds(matrix: Matrix) -> list[int]:
    return [column.kind for column in matrix.columns]


def test_decodes_the_published_vectors() -> None:
    two = decode(TWO_COLUMNS)
    assert (two.n_rows, two.labels, two.label_kind, kinds(two)) == (3, ["f", "c"], 5, [1, 5])
    np.testing.assert_array_equal(two.columns[0].values, np.array([1.5, np.nan, np.inf], np.float32))
    assert two.columns[1].values == ["a", "b", None]
    gene = decode(ONE_GENE)
    assert (gene.n_rows, gene.labels, gene.label_kind, kinds(gene)) == (3, [1671], 2, [1])
    np.testing.assert_array_equal(gene.columns[0].values, [0, 1, 2])


def test_encodes_the_published_vectors() -> None:
    values = np.array([1.5, np.nan, np.inf], np.float32)
    ours = decode(encoded([values, JSONColumn([b'["a"', b',"b",null]'])], ["f", "c"], 3))
    theirs = decode(TWO_COLUMNS)
    assert (ours.n_rows, ours.labels, ours.label_kind, kinds(ours)) == (3, ["f", "c"], 5, [1, 5])
    assert ours.columns[0].values.tobytes() == theirs.columns[0].values.tobytes()
    assert ours.columns[1].values == theirs.columns[1].values
    gene = decode(encoded([np.array([0, 1, 2], np.float32)], np.array([1671]), 3))
    assert (gene.labels, gene.label_kind, kinds(gene)) == ([1671], 2, [1])


@pytest.mark.parametrize("n_rows", [0, 1, 2, 3, 5, 1001])
@pytest.mark.parametrize("label", ["a", "ab", "abc", "abcd", "é"])
def test_values_of_every_type_come_back_and_start_at_a_multiple_of_eight(n_rows: int, label: str) -> None:
    rng = np.random.default_rng(n_rows)
    columns: list[Any] = [
        rng.normal(size=n_rows).astype(np.float32),
        rng.integers(-9, 9, n_rows).astype(np.int32),
        rng.integers(0, 9, n_rows).astype(np.uint32),
        rng.normal(size=n_rows),
    ]
    texts = [f"t{i}" * (i % 3) for i in range(n_rows)]
    labels = [label + str(k) for k in range(5)]
    decoded = decode(encoded([*columns, json_strings(texts)], labels, n_rows))
    assert (decoded.n_rows, decoded.labels, decoded.label_kind) == (n_rows, labels, 5)
    assert kinds(decoded) == [1, 2, 3, 4, 5]
    assert [column.start % 8 for column in decoded.columns] == [0] * 5
    for got, want in zip(decoded.columns, columns, strict=False):
        np.testing.assert_array_equal(got.values, want)
    assert decoded.columns[4].values == texts


@pytest.mark.parametrize("labels", [[], np.array([], np.int64)])
def test_an_answer_without_columns_is_valid(labels: Any) -> None:
    decoded = decode(encoded([], labels, 7))
    assert (decoded.n_rows, decoded.columns, decoded.labels) == (7, [], [])


@pytest.mark.parametrize(
    "dtype, wire", [("bool", 3), ("uint8", 2), ("int16", 2), ("float16", 1), (">f4", 1), (">i4", 2)]
)
def test_other_dtypes_are_sent_as_the_next_larger_one(dtype: str, wire: int) -> None:
    decoded = decode(encoded([np.array([1, 0, 1], dtype)], ["x"], 3))
    assert kinds(decoded) == [wire]
    assert decoded.columns[0].values.tolist() == [1, 0, 1]


def test_strided_columns_are_copied_correctly() -> None:
    block = np.arange(12, dtype=np.float32).reshape(4, 3)
    first, second = decode(encoded([block[:, 1], block[::-1, 2]], ["a", "b"], 4)).columns
    assert first.values.tolist() == [1, 4, 7, 10]
    assert second.values.tolist() == [11, 8, 5, 2]


def test_columns_are_not_copied() -> None:
    values = np.zeros(2, np.float32)
    parts = encode_matrix([values], ["x"], 2)
    values[:] = 7
    assert decode(b"".join(parts)).columns[0].values.tolist() == [7, 7]


def test_mistakes_of_the_caller_are_refused() -> None:
    with pytest.raises(ValueError, match="1 columns but 2 labels"):
        encoded([np.zeros(2, np.float32)], ["a", "b"], 2)
    with pytest.raises(ValueError, match="Column 0 has shape"):
        encoded([np.zeros(3, np.float32)], ["a"], 2)
    with pytest.raises(TypeError, match="int64"):
        encoded([np.zeros(2, np.int64)], ["a"], 2)
