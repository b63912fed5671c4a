"""Encodes arrays as a Matrix FlatBuffer, the binary answer of API v0.2 (schema: `matrix.fbs`).

The server sends only this table, so the module lays it out by hand: the few bytes of tables first, then
the data vectors as they are. The layout, in file order::

    root offset | three shared vtables | Matrix | vector of column offsets
    | (array table, Column table) ... | (length, data) ...

FlatBuffers requires offsets to point forward and a vector's length just before its data; the data of
every vector starts at a multiple of 8, so that any typed array can view it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.wire.json_array import Bytes, JSONColumn, json_strings

FLOAT32, INT32, UINT32, FLOAT64, JSON = 1, 2, 3, 4, 5
"""Numbers of the array types in the TypedArray union."""

_WIRE_DTYPES = {FLOAT32: "<f4", INT32: "<i4", UINT32: "<u4", FLOAT64: "<f8", JSON: "|u1"}
_TYPE_OF_DTYPE = {
    np.dtype(name): (wire, np.dtype(_WIRE_DTYPES[wire]))
    for wire, names in {
        FLOAT32: ("float32", "float16"),
        INT32: ("int32", "int16", "int8", "uint16", "uint8"),
        UINT32: ("uint32", "bool"),
        FLOAT64: ("float64",),
    }.items()
    for name in names
}

# The vtables: own size, size of the table, then the place of each field in the table (0 = absent).
_ARRAY_VTABLE = struct.pack("<3H", 6, 8, 4)
_COLUMN_VTABLE = struct.pack("<4H", 8, 12, 8, 4)
_MATRIX_VTABLE = struct.pack("<7H", 14, 24, 4, 8, 12, 20, 16)
_ARRAY_VTABLE_AT = 4
_COLUMN_VTABLE_AT = _ARRAY_VTABLE_AT + len(_ARRAY_VTABLE)
_MATRIX_VTABLE_AT = _COLUMN_VTABLE_AT + len(_COLUMN_VTABLE)
_MATRIX_AT = _MATRIX_VTABLE_AT + len(_MATRIX_VTABLE)
_COLUMNS_AT = _MATRIX_AT + 24
_HEAD = struct.pack("<I", _MATRIX_AT) + _ARRAY_VTABLE + _COLUMN_VTABLE + _MATRIX_VTABLE
_PADDING = tuple(bytes(n) for n in range(8))


ColumnData = NDArray[Any] | JSONColumn
"""One column as `encode_matrix` takes it."""


def encode_matrix(columns: Sequence[ColumnData], col_index: Sequence[str] | NDArray[Any], n_rows: int) -> list[Bytes]:
    """Encode columns as one Matrix FlatBuffer.

    Copies no column and looks at no element of one.

    Parameters
    ----------
    columns : sequence of (n_rows,) arrays or JSONColumn
        float32, int32, uint32 and float64 are sent as they are, bool as uint32, smaller numbers as
        the next larger of these.
    col_index : sequence of str, or (k,) integer array that fits int32
        One unique label for each column.
    n_rows : int
        Number of elements in each column.

    Returns
    -------
    list of bytes and memoryview
        The parts of the buffer, without size prefix or file identifier. They share memory with the columns.

    Raises
    ------
    ValueError
        A column has another length, or there are not as many labels as columns.
    TypeError
        The format has no array type for a column's dtype.
    """
    if len(col_index) != len(columns):
        raise ValueError(f"{len(columns)} columns but {len(col_index)} labels.")
    typed = [_typed(_labels(col_index))]
    for number, column in enumerate(columns):
        if not isinstance(column, JSONColumn) and column.shape != (n_rows,):
            raise ValueError(f"Column {number} has shape {column.shape}, not ({n_rows},).")
        typed.append(_typed(column))
    tables_at = _COLUMNS_AT + 4 + 4 * len(columns)
    data_at, parts = _place_vectors(tables_at + 8 + 20 * len(columns), [data for _, data in typed])
    return [_HEAD + _tables(n_rows, [wire for wire, _ in typed], tables_at, data_at), *parts]


def _labels(col_index: Sequence[str] | NDArray[Any]) -> ColumnData:
    if isinstance(col_index, np.ndarray):
        return col_index.astype(np.int32, copy=False)
    return json_strings(col_index)


def _typed(column: ColumnData) -> tuple[int, JSONColumn | NDArray[Any]]:
    """Return the union number and the contiguous little-endian data of one column."""
    if isinstance(column, JSONColumn):
        return JSON, column
    try:
        wire, dtype = _TYPE_OF_DTYPE[column.dtype.newbyteorder("=")]
    except KeyError:
        raise TypeError(f"No array type on the wire for dtype {column.dtype}.") from None
    return wire, np.ascontiguousarray(column, dtype=dtype)


def _place_vectors(end: int, vectors: Sequence[JSONColumn | NDArray[Any]]) -> tuple[list[int], list[Bytes]]:
    """Return the place of each vector (its length field), and the parts that fill the buffer from `end` on."""
    places: list[int] = []
    parts: list[Bytes] = []
    for data in vectors:
        padding = (4 - end) % 8  # the length takes 4 bytes, the data after it starts at a multiple of 8
        places.append(end + padding)
        parts.append(_PADDING[padding] + struct.pack("<I", len(data)))
        parts += data.parts if isinstance(data, JSONColumn) else [data.view(np.uint8).data]
        end += padding + 4 + data.nbytes
    return places, parts


def _tables(n_rows: int, wires: Sequence[int], tables_at: int, data_at: Sequence[int]) -> bytes:
    """Encode everything between the vtables and the data; entry 0 of `wires` and `data_at` is the col_index."""
    n_cols = len(wires) - 1
    matrix = struct.pack(
        "<i4IB3x",
        _MATRIX_AT - _MATRIX_VTABLE_AT,
        n_rows,
        n_cols,
        _COLUMNS_AT - (_MATRIX_AT + 12),
        tables_at - (_MATRIX_AT + 16),
        wires[0],
    )
    offsets = [n_cols]
    tables = [struct.pack("<iI", tables_at - _ARRAY_VTABLE_AT, data_at[0] - (tables_at + 4))]
    for k in range(n_cols):
        column_at = tables_at + 8 + 20 * k
        array_at = column_at + 12
        offsets.append(column_at - (_COLUMNS_AT + 4 + 4 * k))
        tables.append(
            struct.pack(
                "<iIB3xiI",
                column_at - _COLUMN_VTABLE_AT,
                array_at - (column_at + 4),
                wires[k + 1],
                array_at - _ARRAY_VTABLE_AT,
                data_at[k + 1] - (array_at + 4),
            )
        )
    return b"".join([matrix, struct.pack(f"<{len(offsets)}I", *offsets), *tables])
