"""Decode the client's binary format with the `flatbuffers` package.

This shares nothing with `cxg.wire`, so an error there cannot hide itself. Layout: table `Matrix`
(n_rows, n_cols, columns, col_index type, col_index), table `Column` (type, array); a union takes two slots.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
from flatbuffers import encode, number_types, packer
from flatbuffers.table import Table

FLOAT32, INT32, UINT32, FLOAT64, JSON = 1, 2, 3, 4, 5
NUMPY_TYPES = {FLOAT32: "<f4", INT32: "<i4", UINT32: "<u4", FLOAT64: "<f8", JSON: "u1"}


class WireColumn(NamedTuple):
    """One column: its wire type, its values (an array, or a list from JSON), and the byte where they start."""

    kind: int
    values: Any
    start: int = 0

    def listed(self) -> list[Any]:
        """The values as a list, NaN as the text "NaN", so that lists can be compared with ==."""
        plain = list(self.values) if self.kind == JSON else self.values.tolist()
        return ["NaN" if isinstance(value, float) and value != value else value for value in plain]


class Matrix(NamedTuple):
    """A decoded answer; `labels` is the column index."""

    n_rows: int
    labels: list[Any]
    label_kind: int
    columns: list[WireColumn]


def decode(body: bytes) -> Matrix:
    """Decode a whole answer.

    Raises
    ------
    ValueError
        The parts contradict each other, or what the client insists on is missing.
    """
    root = Table(body, encode.Get(packer.uoffset, body, 0))
    n_rows, n_cols = _uint32(root, 0), _uint32(root, 1)
    vector = _offset(root, 2)
    columns = []
    for i in range(root.VectorLen(vector) if vector else 0):
        column = Table(body, root.Indirect(root.Vector(vector) + 4 * i))
        columns.append(_typed_array(column, 0))
    if len(columns) != n_cols:
        raise ValueError(f"{n_cols} columns announced, {len(columns)} sent")
    index = _typed_array(root, 3)
    if _offset(root, 5):
        raise ValueError("the answer has a row index, which the client refuses")
    if len(index.values) != n_cols:
        raise ValueError(f"{n_cols} columns but {len(index.values)} labels")
    if any(len(column.values) != n_rows for column in columns):
        raise ValueError(f"a column has not {n_rows} values")
    return Matrix(n_rows, list(index.values), index.kind, columns)


def _offset(table: Table, slot: int) -> int:
    return int(table.Offset(4 + 2 * slot))


def _uint32(table: Table, slot: int) -> int:
    offset = _offset(table, slot)
    return int(table.Get(number_types.Uint32Flags, table.Pos + offset)) if offset else 0


def _typed_array(owner: Table, slot: int) -> WireColumn:
    type_offset, union_offset = _offset(owner, slot), _offset(owner, slot + 1)
    if not type_offset or not union_offset:
        raise ValueError("an array is missing")
    kind = int(owner.Get(number_types.Uint8Flags, owner.Pos + type_offset))
    array = Table(bytearray(), 0)
    owner.Union(array, union_offset)
    data_offset = _offset(array, 0)
    if not data_offset:
        raise ValueError("an array has no data vector")
    start, length = array.Vector(data_offset), array.VectorLen(data_offset)
    if kind not in NUMPY_TYPES:
        raise ValueError(f"{kind} is not an array type")
    dtype = np.dtype(NUMPY_TYPES[kind])
    if kind != JSON and start % dtype.itemsize:
        raise ValueError(f"a vector of {dtype} starts at byte {start}")
    values = np.frombuffer(bytes(array.Bytes), dtype, length, start)
    return WireColumn(kind, _strict_json(values.tobytes()) if kind == JSON else values, start)


def _strict_json(raw: bytes) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is no JSON")

    return json.loads(raw.decode("utf-8"), parse_constant=refuse)
