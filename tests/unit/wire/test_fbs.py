"""The Matrix FlatBuffer: published vectors, an independent decoder, alignment, strict JSON."""

from __future__ import annotations

import json
from typing import Any

import flatbuffers.number_types
import flatbuffers.table
import numpy as np
import pytest

from cxg.wire.fbs import ColumnData, decode_matrix, encode_matrix
from cxg.wire.json_array import JSONColumn, json_strings

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

FLAGS = flatbuffers.number_types
NUMPY_FLAGS = {1: FLAGS.Float32Flags, 2: FLAGS.Int32Flags, 3: FLAGS.Uint32Flags, 4: FLAGS.Float64Flags}


def encoded(columns: list[ColumnData], col_index: Any, n_rows: int) -> bytes:
    return b"".join(encode_matrix(columns, col_index, n_rows))


def reference_decode(buf: bytes) -> tuple[int, int, list[tuple[int, Any]], tuple[int, Any]]:
    """Decode with the official runtime; also checks that data vectors are aligned."""

    def child(table: flatbuffers.table.Table, position: int) -> flatbuffers.table.Table:
        return flatbuffers.table.Table(buf, position)

    def union(table: flatbuffers.table.Table, slot: int) -> tuple[int, Any]:
        type_offset, offset = table.Offset(4 + 2 * slot), table.Offset(6 + 2 * slot)
        wire = table.Get(FLAGS.Uint8Flags, table.Pos + type_offset)
        array = child(table, 0)
        table.Union(array, offset)
        data = array.Offset(4)
        assert array.Vector(data) % 8 == 0
        if wire == 5:
            return wire, json.loads(bytes(array.GetVectorAsNumpy(FLAGS.Uint8Flags, data)))
        return wire, array.GetVectorAsNumpy(NUMPY_FLAGS[wire], data)

    root = child(None, int.from_bytes(buf[:4], "little"))
    n_rows = root.Get(FLAGS.Uint32Flags, root.Pos + root.Offset(4))
    n_cols = root.Get(FLAGS.Uint32Flags, root.Pos + root.Offset(6))
    offset = root.Offset(8)
    assert root.VectorLen(offset) == n_cols
    tables = [child(root, root.Indirect(root.Vector(offset) + 4 * k)) for k in range(n_cols)]
    columns = [union(table, 0) for table in tables]
    assert root.Offset(14) == 0, "no row_index"
    return n_rows, n_cols, columns, union(root, 3)


def test_decodes_the_published_vectors() -> None:
    two = decode_matrix(TWO_COLUMNS)
    assert (two.n_rows, two.n_cols, two.types, two.col_index) == (3, 2, [1, 5], ["f", "c"])
    np.testing.assert_array_equal(two.columns[0], np.array([1.5, np.nan, np.inf], np.float32))
    assert two.columns[1] == ["a", "b", None]
    gene = decode_matrix(ONE_GENE)
    assert (gene.n_rows, gene.n_cols, gene.types) == (3, 1, [1])
    np.testing.assert_array_equal(gene.columns[0], [0, 1, 2])
    np.testing.assert_array_equal(gene.col_index, [1671])


def test_writes_what_the_published_vectors_hold() -> None:
    values = np.array([1.5, np.nan, np.inf], np.float32)
    ours = decode_matrix(encoded([values, JSONColumn([b'["a"', b',"b",null]'])], ["f", "c"], 3))
    theirs = decode_matrix(TWO_COLUMNS)
    assert (ours.n_rows, ours.n_cols, ours.types, ours.col_index) == (3, 2, [1, 5], ["f", "c"])
    assert ours.columns[0].tobytes() == theirs.columns[0].tobytes()
    assert ours.columns[1] == theirs.columns[1]
    gene = decode_matrix(encoded([np.array([0, 1, 2], np.float32)], np.array([1671]), 3))
    assert gene.types == [1]
    assert gene.col_index.dtype == np.int32
    assert gene.col_index.tolist() == [1671]


@pytest.mark.parametrize("n_rows", [0, 1, 2, 3, 5, 1001])
@pytest.mark.parametrize("label", ["a", "ab", "abc", "abcd", "é"])
def test_the_official_runtime_reads_it(n_rows: int, label: str) -> None:
    rng = np.random.default_rng(n_rows)
    columns: list[Any] = [
        rng.normal(size=n_rows).astype(np.float32),
        rng.integers(-9, 9, n_rows).astype(np.int32),
        rng.integers(0, 9, n_rows).astype(np.uint32),
        rng.normal(size=n_rows),
    ]
    texts = [f"t{i}" * (i % 3) for i in range(n_rows)]
    labels = [label + str(k) for k in range(5)]
    rows, n_cols, decoded, col_index = reference_decode(encoded([*columns, json_strings(texts)], labels, n_rows))
    assert (rows, n_cols) == (n_rows, 5)
    assert col_index == (5, labels)
    assert [wire for wire, _ in decoded] == [1, 2, 3, 4, 5]
    for (_, got), want in zip(decoded, columns, strict=False):
        if n_rows:  # the runtime gives the number 0 for an empty vector
            np.testing.assert_array_equal(got, want)
    assert decoded[4][1] == texts


def test_no_column_is_a_valid_answer() -> None:
    decoded = decode_matrix(encoded([], np.array([], np.int64), 7))
    assert (decoded.n_rows, decoded.n_cols, decoded.columns) == (7, 0, [])
    assert decoded.col_index.tolist() == []
    assert reference_decode(encoded([], [], 7))[:2] == (7, 0)


@pytest.mark.parametrize(
    "dtype, wire", [("bool", 3), ("uint8", 2), ("int16", 2), ("float16", 1), (">f4", 1), (">i4", 2)]
)
def test_other_dtypes_travel_in_the_next_larger_one(dtype: str, wire: int) -> None:
    decoded = decode_matrix(encoded([np.array([1, 0, 1], dtype)], ["x"], 3))
    assert decoded.types == [wire]
    assert decoded.columns[0].tolist() == [1, 0, 1]


def test_strided_columns_are_copied_right() -> None:
    block = np.arange(12, dtype=np.float32).reshape(4, 3)
    decoded = decode_matrix(encoded([block[:, 1], block[::-1, 2]], ["a", "b"], 4))
    assert decoded.columns[0].tolist() == [1, 4, 7, 10]
    assert decoded.columns[1].tolist() == [11, 8, 5, 2]


def test_columns_are_not_copied() -> None:
    values = np.zeros(2, np.float32)
    parts = encode_matrix([values], ["x"], 2)
    values[:] = 7
    assert decode_matrix(b"".join(parts)).columns[0].tolist() == [7, 7]


def test_mistakes_of_the_caller_are_refused() -> None:
    with pytest.raises(ValueError, match="1 columns but 2 labels"):
        encoded([np.zeros(2, np.float32)], ["a", "b"], 2)
    with pytest.raises(ValueError, match="Column 0 has shape"):
        encoded([np.zeros(3, np.float32)], ["a"], 2)
    with pytest.raises(TypeError, match="int64"):
        encoded([np.zeros(2, np.int64)], ["a"], 2)
    with pytest.raises(ValueError, match="Unknown array type"):
        decode_matrix(ONE_GENE.replace(b"\x00\x00\x00\x02\x1c", b"\x00\x00\x00\x09\x1c"))
