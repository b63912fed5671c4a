"""Arrays to Matrix FlatBuffer, the binary answer of API v0.2 (schema: `matrix.fbs`).

Only one table is ever sent, so it is laid out by hand: the few bytes of tables first, then each
data vector copied once, whole, into the answer. The layout, in file order::

    root offset | three shared vtables | Matrix | vector of column offsets
    | (array table, Column table) ... | (length, data) ...

FlatBuffers wants offsets to point forward and a vector's length just before its data; the data of
every vector starts at a multiple of 8, so that any typed array can be laid over it.
"""

from __future__ import annotations

import itertools
import json
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
# Labels are made equally long where that makes the text this many times longer at most.
_MOST_PADDING = 1.25
# Labels looked up together in a categorical column, and ways to combine them that are written out for it.
_MOST_TOGETHER, _MOST_PIECES = 4, 2500
_PADDING = tuple(bytes(n) for n in range(8))


@dataclass(frozen=True, slots=True)
class JSONColumn:
    """A column that is already encoded.

    Attributes
    ----------
    data : bytes
        UTF-8 text of one strict JSON array with one element for each row.
    """

    data: bytes


ColumnData = NDArray[Any] | JSONColumn
"""One column as `encode_matrix` takes it."""


@dataclass(frozen=True, slots=True)
class DecodedMatrix:
    """A Matrix taken apart again.

    Attributes
    ----------
    n_rows, n_cols : int
        As the buffer states them.
    types : list of int
        Number of each column's array type in the union.
    columns : list of arrays or lists
        Numeric columns as arrays that share the buffer's memory, JSON columns as lists.
    col_index : (n_cols,) array, list or None
        One label for each column; None if the buffer has none.
    """

    n_rows: int
    n_cols: int
    types: list[int]
    columns: list[Any]
    col_index: Any


def encode_matrix(columns: Sequence[ColumnData], col_index: Sequence[str] | NDArray[Any], n_rows: int) -> bytes:
    """Encode columns as one Matrix FlatBuffer.

    Copies each column once and looks at no element of it.

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
    bytes
        The buffer, without size prefix or file identifier.

    Raises
    ------
    ValueError
        A column of another length, or not as many labels as columns.
    TypeError
        A dtype that the wire does not have.
    """
    if len(col_index) != len(columns):
        raise ValueError(f"{len(columns)} columns but {len(col_index)} labels.")
    typed = [_typed(_labels(col_index))]
    for number, column in enumerate(columns):
        if not isinstance(column, JSONColumn) and column.shape != (n_rows,):
            raise ValueError(f"Column {number} has shape {column.shape}, not ({n_rows},).")
        typed.append(_typed(column))
    tables_at = _COLUMNS_AT + 4 + 4 * len(columns)
    data_at, chunks = _place_vectors(tables_at + 8 + 20 * len(columns), [data for _, data in typed])
    return b"".join([_HEAD, _tables(n_rows, [wire for wire, _ in typed], tables_at, data_at), *chunks])


def _labels(col_index: Sequence[str] | NDArray[Any]) -> ColumnData:
    if isinstance(col_index, np.ndarray):
        return col_index.astype(np.int32, copy=False)
    return JSONColumn(json_strings(col_index))


def _typed(column: ColumnData) -> tuple[int, bytes | NDArray[Any]]:
    """Union number and contiguous little-endian data of one column."""
    if isinstance(column, JSONColumn):
        return JSON, column.data
    try:
        wire, dtype = _TYPE_OF_DTYPE[column.dtype.newbyteorder("=")]
    except KeyError:
        raise TypeError(f"No array type on the wire for dtype {column.dtype}.") from None
    return wire, np.ascontiguousarray(column, dtype=dtype)


def _place_vectors(end: int, vectors: Sequence[bytes | NDArray[Any]]) -> tuple[list[int], list[Any]]:
    """Where each vector (its length field) goes, and the chunks that fill the buffer from `end` on."""
    places: list[int] = []
    chunks: list[Any] = []
    for data in vectors:
        padding = (4 - end) % 8  # the length takes 4 bytes, the data after it starts at a multiple of 8
        places.append(end + padding)
        chunks += (_PADDING[padding], struct.pack("<I", len(data)), data)
        end += padding + 4 + (len(data) if isinstance(data, bytes) else data.nbytes)
    return places, chunks


def _tables(n_rows: int, wires: Sequence[int], tables_at: int, data_at: Sequence[int]) -> bytes:
    """Everything between the vtables and the data; entry 0 of `wires` and `data_at` is the col_index."""
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


def json_labels(codes: NDArray[Any], categories: Sequence[str | bool | int | float | None]) -> bytes:
    """Encode a categorical column as a JSON array; 100,000 rows take a few milliseconds.

    Parameters
    ----------
    codes : (n,) integer
        Positions in `categories`; below zero or beyond the end gives ``null``.
    categories : sequence of str, bool, int, float or None
        Labels; None and non-finite numbers give ``null``.

    Returns
    -------
    bytes
        Strict JSON, UTF-8.
    """
    n = len(categories)
    words = [*(_json_label(label) for label in categories), b"null"]
    present = codes < n if codes.dtype.kind == "u" else (codes >= 0) & (codes < n)
    places = np.where(present, codes, n).astype(np.intp)
    lengths = np.array([len(word) for word in words]) + 1
    longest = int(lengths.max())
    if len(places) and longest * len(places) <= _MOST_PADDING * lengths[places].sum():
        # JSON allows space between its words: made equally long, they are copied by numpy alone.
        table = np.array([list(b"," + word.ljust(longest - 1)) for word in words], np.uint8)
        text = table.take(places, axis=0)
        text[0, 0] = ord("[")
        return text.tobytes() + b"]"
    # Taking references and joining them is all C, and takes the longer the more pieces there are: with few
    # labels, several rows at once are looked up among all the ways in which labels can follow each other.
    together = 1
    while together < _MOST_TOGETHER and (n + 1) ** (together + 1) <= min(_MOST_PIECES, len(places)):
        together += 1
    even = len(places) // together * together
    pieces = np.array([b",".join(row) for row in itertools.product(words, repeat=together)] + [b""], dtype=object)
    rows = pieces[_as_one_number(places[:even].reshape(-1, together), n + 1)].tolist()
    return b"[" + b",".join(rows + [words[place] for place in places[even:].tolist()]) + b"]"


def _as_one_number(digits: NDArray[np.intp], base: int) -> NDArray[np.intp]:
    """Rows of digits, the first one the highest, as numbers."""
    number = digits[:, 0].copy()
    for digit in digits.T[1:]:
        number *= base
        number += digit
    return number


def _json_label(label: str | bool | int | float | None) -> bytes:
    value = label.item() if isinstance(label, np.generic) else label
    if isinstance(value, float) and not math.isfinite(value):
        return b"null"
    return _dump(value)


def json_strings(values: Sequence[str | None] | NDArray[np.object_]) -> bytes:
    """Encode text values as a JSON array; 100,000 rows take a few milliseconds unless some need escaping.

    Parameters
    ----------
    values : (n,) of str or None
        None gives ``null``.

    Returns
    -------
    bytes
        Strict JSON, UTF-8; lone surrogates are written as escapes.
    """
    rows: list[Any] = values.tolist() if isinstance(values, np.ndarray) else list(values)
    if not rows:
        return b"[]"
    try:
        joined = "\n".join(rows).encode()
    except (TypeError, UnicodeEncodeError):  # a None, or a lone surrogate
        return _dump(rows)
    # Text without quote, backslash or control character needs no escaping, so the separator can
    # simply be exchanged. The line ends counted here are the separators.
    controls = np.count_nonzero(np.frombuffer(joined, np.uint8) < 0x20)
    if b'"' in joined or b"\\" in joined or controls != len(rows) - 1:
        return _dump(rows)
    return b'["' + joined.replace(b"\n", b'","') + b'"]'


def _dump(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


def decode_matrix(buf: bytes) -> DecodedMatrix:
    """Take a Matrix FlatBuffer apart, whoever wrote it.

    Meant for tests and tools: the buffer is trusted.

    Parameters
    ----------
    buf : bytes
        A buffer as `encode_matrix` makes it.

    Returns
    -------
    DecodedMatrix
        Numeric columns share memory with `buf`.

    Raises
    ------
    ValueError, struct.error
        Not a Matrix.
    """
    root = _u32(buf, 0)
    types, columns = [], []
    field = _field(buf, root, 2)
    if field:
        vector = field + _u32(buf, field)
        for k in range(_u32(buf, vector)):
            at = vector + 4 + 4 * k
            wire, values = _decode_union(buf, at + _u32(buf, at), 0)
            types.append(wire)
            columns.append(values)
    n_rows, n_cols = (_u32(buf, at) if at else 0 for at in (_field(buf, root, 0), _field(buf, root, 1)))
    return DecodedMatrix(n_rows, n_cols, types, columns, _decode_union(buf, root, 3)[1])


def _u32(buf: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", buf, at)[0])


def _field(buf: bytes, table: int, slot: int) -> int:
    """Where a field of a table stands in the buffer; 0 if it is absent."""
    vtable = table - struct.unpack_from("<i", buf, table)[0]
    if 4 + 2 * slot >= struct.unpack_from("<H", buf, vtable)[0]:
        return 0
    offset = struct.unpack_from("<H", buf, vtable + 4 + 2 * slot)[0]
    return int(table + offset) if offset else 0


def _decode_union(buf: bytes, table: int, slot: int) -> tuple[int, Any]:
    type_at, value_at = _field(buf, table, slot), _field(buf, table, slot + 1)
    if not type_at or not value_at or buf[type_at] == 0:
        return 0, None
    wire = buf[type_at]
    if wire not in _WIRE_DTYPES:
        raise ValueError(f"Unknown array type {wire}.")
    data_at = _field(buf, value_at + _u32(buf, value_at), 0)
    if not data_at:
        raise ValueError("An array without data.")
    vector = data_at + _u32(buf, data_at)
    values = np.frombuffer(buf, _WIRE_DTYPES[wire], _u32(buf, vector), vector + 4)
    return wire, json.loads(values.tobytes()) if wire == JSON else values
