"""Whole numbers that float32 cannot hold: int32 or text keeps them, or a warning tells of it; never a note of level info."""

import json

import numpy as np
import pytest
from scipy import sparse

from tests.unit.convert.conftest import codes_of
from tests.unit.convert.h5ads import make_h5ad, read_array, read_matrices, write_nullable

N = 6
BIG = 248_956_422
NAN = float("nan")
GAP = [True] + [False] * (N - 1)


def nullable(kind, values, mask):
    return lambda group, name: write_nullable(group, name, kind, np.asarray(values), np.asarray(mask))


def ids(first, dtype="i8", sign=1):
    return (sign * (np.arange(N, dtype=object) + first)).astype(dtype)


def with_nan(values):
    values = np.asarray(values, "f8").copy()
    values[0] = NAN
    return values


def texts(values, gap=True):
    return ["" if gap and not i else str(int(value)) for i, value in enumerate(values)]


# column, as the CXG holds it, report codes
COLUMNS = {
    **{
        f"{dtype} with a gap, {first}, {sign}": (
            nullable("integer", ids(first, dtype, sign), GAP), texts(ids(first, dtype, sign)), {"integer_as_text"},
        )
        for dtype, first, sign in [
            ("i4", BIG, 1), ("i4", BIG, -1), ("u4", BIG, 1), ("u4", 2**32 - N, 1), ("i8", 2**40, 1), ("i8", 2**53, -1),
            ("i8", 2**63 - N, 1), ("u8", BIG, 1), ("u8", 2**64 - N, 1), ("i4", 2**24, 1),
        ]
    },
    "i8 with a gap, repeated": (
        nullable("integer", [0, BIG, BIG, BIG, 1, 2], GAP), [NAN, *[np.float32(BIG)] * 3, 1, 2], {"integer_as_float"},
    ),
    "u8 with a gap, repeated": (
        nullable("integer", np.array([2**63 + 1] * N, "u8"), GAP), [NAN, *[2.0**63] * 5], {"integer_as_float"},
    ),
    "i8 with a gap, one value": (nullable("integer", [BIG] * N, [True] * 5 + [False]), [*[NAN] * 5, BIG], {"integer_as_float"}),
    "i8 with a gap, exact": (nullable("integer", ids(2**24 - N + 1), GAP), [NAN, *ids(2**24 - N + 1)[1:]], {"missing_number"}),
    "i8 with a gap, exact though large": (nullable("integer", [2**30] * N, GAP), [NAN, *[2**30] * 5], {"missing_number"}),
    "i8 all gone": (nullable("integer", [BIG] * N, [True] * N), [NAN] * N, {"missing_number"}),
    "i8 in 32 bits": (ids(BIG), ids(BIG).tolist(), set()),
    "nullable in 32 bits": (nullable("integer", ids(BIG), [False] * N), ids(BIG).tolist(), set()),
    "u4 beyond int32": (ids(2**31, "u4"), texts(ids(2**31, "u4"), False), {"integer_as_text"}),
    "i8 beyond int32, negative": (ids(2**40, sign=-1), texts(ids(2**40, sign=-1), False), {"integer_as_text"}),
    "i8 beyond int32, repeated": (np.repeat(ids(2**40)[:3], 2), np.repeat(ids(2**40)[:3], 2).astype("f4"), {"integer_as_float"}),
    "f8 in 32 bits": (ids(BIG, "f8"), ids(BIG).tolist(), set()),
    "f8 in 32 bits, negative": (ids(BIG, "f8", -1), ids(BIG, sign=-1).tolist(), set()),
    "f8 with NaN": (with_nan(ids(BIG)), texts(ids(BIG)), {"integer_as_text"}),
    "f8 with NaN, negative": (with_nan(ids(BIG, sign=-1)), texts(ids(BIG, sign=-1)), {"integer_as_text"}),
    "f8 with NaN, repeated": (with_nan([BIG] * N), [NAN, *[np.float32(BIG)] * 5], {"integer_as_float"}),
    "f8 with NaN, exact": (with_nan(ids(5)), [NAN, *ids(5)[1:]], set()),
    "f8 beyond int32": (ids(2**40 + 1, "f8"), texts(ids(2**40 + 1), False), {"integer_as_text"}),
    "f8 infinite": (np.array([np.inf, *ids(BIG)[1:]]), [np.inf, *ids(BIG)[1:].astype("f4")], {"integer_as_float"}),
    "f8 no whole numbers any more": (np.arange(1, N + 1) * 1e30, (np.arange(1, N + 1) * 1e30).astype("f4"), {"float64_to_float32"}),
    "f8 narrow and far": (1.7e9 + np.arange(N) / 4, (1.7e9 + np.arange(N) / 4).astype("f4"), {"float64_rounded"}),
    "f8 wide and far": (np.arange(N) * 1e8 + 0.25, (np.arange(N) * 1e8 + 0.25).astype("f4"), {"float64_to_float32"}),
    "f8 constant": (np.full(N, 0.1), np.full(N, 0.1).astype("f4"), {"float64_to_float32"}),
    "nullable f8": (nullable("float", ids(BIG, "f8"), GAP), texts(ids(BIG)), {"integer_as_text"}),
}  # fmt: skip


@pytest.mark.parametrize(
    "axis, name", [*(("obs", name) for name in COLUMNS), *(("var", name) for name in list(COLUMNS)[::6])]
)
def test_column(tmp_path, converted, axis, name):
    column, expected, codes = COLUMNS[name]
    matrix = np.eye(N, 4) if axis == "obs" else np.eye(4, N)
    path = make_h5ad(tmp_path / "in.h5ad", matrix, **{axis: {"n": column}})
    root, report = converted(path)
    notes = [note for note in report["notes"] if note["subject"] == f"{axis}/n"]
    assert {note["code"] for note in notes} == codes
    values, meta = read_array(root, axis)
    if isinstance(expected[-1], str):
        assert values["n"].tolist() == expected
    else:
        np.testing.assert_array_equal(values["n"], np.array(expected, values["n"].dtype))
    hint = json.loads(meta["cxg_schema"])["n"]["type"]
    assert hint == {"O": "string", "i": "int32", "f": "float32"}[values["n"].dtype.kind]
    levels = {note["level"] for note in notes if note["code"].startswith("integer_")}
    assert levels <= {"warning"}


@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
@pytest.mark.parametrize(
    "dtype, value, is_lost",
    [
        ("i4", 2**24, False), ("i4", 2**24 + 1, True), ("i4", -(2**24) - 1, True), ("u4", 2**32 - 1, True),
        ("i8", 2**53 + 1, True), ("i8", -(2**63) + 1, True), ("u8", 2**64 - 1, True), ("u8", 2**63 + 1, True), ("u8", 2**40, False),
        ("f8", 2**24 + 1, True), ("f8", 2**40, False), ("f8", 16777216.3, False), ("f4", 2**24 + 2, False),
    ],
)  # fmt: skip
def test_expression(tmp_path, convert, form, dtype, value, is_lost):
    x = np.zeros((N, 4), dtype)
    x[1, 1], x[2, 3] = 1, value
    code, report = convert(make_h5ad(tmp_path / "in.h5ad", form(x)))
    assert code == 0
    notes = [note for note in report["notes"] if note["code"] == "x_rounded"]
    assert [note["level"] for note in notes] == ["warning"] * is_lost
    assert all(note["text"].startswith("1 whole numbers") for note in notes)
    np.testing.assert_array_equal(read_matrices(tmp_path / "in.cxg", (N, 4))[0], x.astype("f4"))


def test_names_and_labels_keep_every_digit(tmp_path, converted):
    names = nullable("integer", ids(2**63 - N), [False] * N)
    path = make_h5ad(tmp_path / "in.h5ad", obs={"id": names})
    root, report = converted(path, "--obs-names", "id")
    assert read_array(root, "obs")[0]["id"].tolist() == texts(ids(2**63 - N), False)
    assert "integer_as_float" not in codes_of(report)
