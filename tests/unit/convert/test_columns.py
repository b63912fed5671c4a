"""Every row of the table of types in docs/cxg.md: what a column of the h5ad becomes in the CXG."""

import json

import h5py
import numpy as np
import pytest

from cxg.convert.text import blanked, first_duplicate, from_strings, numbered, read_text_dataset
from tests.unit.convert.conftest import codes_of
from tests.unit.convert.h5ads import make_h5ad, mark, read_array, write_array, write_categorical, write_nullable

N = 6
NAN = float("nan")


def categorical(codes, labels, ordered=False):
    return lambda group, name: write_categorical(group, name, codes, labels, ordered)


def nullable(kind, values, mask):
    return lambda group, name: write_nullable(group, name, kind, values, mask)


MASK = [False, True, False, False, False, True]
LABELS = ["b", "a"]
# column, stored dtype, hint, values as read, report codes
ROWS = {
    "float16": (np.arange(N, dtype=np.float16), "f4", {"type": "float32"}, [0, 1, 2, 3, 4, 5], ()),
    "float32 NaN": (np.array([0, NAN, 1, 2, 3, 4], "f4"), "f4", {"type": "float32"}, [0, NAN, 1, 2, 3, 4], ()),
    "float64": (np.array([0.5] * N), "f4", {"type": "float32"}, [0.5] * N, ()),
    "float64 inexact": (np.array([0.1] * N), "f4", {"type": "float32"}, [np.float32(0.1)] * N, ("float64_to_float32",)),
    "float64 too large": (np.array([1e300] + [0] * 5), "f4", {"type": "float32"}, [np.inf] + [0] * 5, ("float_overflow",)),
    "nullable float": (nullable("float", np.arange(6.0), MASK), "f4", {"type": "float32"}, [0, NAN, 2, 3, 4, NAN], ()),
    **{
        dtype: (np.arange(N).astype(dtype), "i4", {"type": "int32"}, list(range(N)), ())
        for dtype in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    "int64 repeated beyond": (
        np.array([2**40] * N), "f4", {"type": "float32"}, [float(2**40)] * N, ("integer_as_float",),
    ),
    "int64 ids": (
        np.arange(N) + 2**40, "O", {"type": "string"}, [str(i + 2**40) for i in range(N)], ("integer_as_text",),
    ),
    "uint64 ids": (
        np.arange(N, dtype=np.uint64) + np.uint64(2**63), "O", {"type": "string"},
        [str(i + 2**63) for i in range(N)], ("integer_as_text",),
    ),
    "nullable integer": (
        nullable("integer", np.arange(N), MASK), "f4", {"type": "float32"}, [0, NAN, 2, 3, 4, NAN], ("missing_number",),
    ),
    "nullable integer, none missing": (
        nullable("integer", np.arange(N), [False] * N), "i4", {"type": "int32"}, list(range(N)), (),
    ),
    "bool": (np.array([True, False] * 3), "u1", {"type": "boolean"}, [1, 0] * 3, ()),
    "bool all false": (np.zeros(N, bool), "u1", {"type": "boolean"}, [0] * N, ()),
    "bool all true": (np.ones(N, bool), "i1", {"type": "categorical", "categories": ["True"]}, [0] * N, ()),
    "nullable boolean": (
        nullable("boolean", [True, False] * 3, MASK), "i1",
        {"type": "categorical", "categories": ["False", "True", "nan"]}, [1, 2, 1, 0, 1, 2], ("missing_label",),
    ),
    "nullable boolean, none missing": (
        nullable("boolean", [True, False] * 3, [False] * N), "u1", {"type": "boolean"}, [1, 0] * 3, (),
    ),
    "categorical": (
        categorical([0, 1, 0, 1, 0, 1], LABELS), "i1", {"type": "categorical", "categories": LABELS}, [0, 1] * 3, (),
    ),
    "categorical ordered": (
        categorical([0, 1] * 3, LABELS, True), "i1", {"type": "categorical", "categories": LABELS}, [0, 1] * 3, (),
    ),
    "categorical unused label": (
        categorical([0, 0, 2, 2, 2, 2], ["z", "y", "x"]), "i1",
        {"type": "categorical", "categories": ["z", "y", "x"]}, [0, 0, 2, 2, 2, 2], (),
    ),
    "categorical missing": (
        categorical([0, -1, 0, 1, 0, -1], LABELS), "i1",
        {"type": "categorical", "categories": ["b", "a", "nan"]}, [0, 2, 0, 1, 0, 2], ("missing_label",),
    ),
    "categorical missing, label taken": (
        categorical([0, -1, 0, 1, 0, -1], ["nan", "a"]), "i1",
        {"type": "categorical", "categories": ["nan", "a"]}, [0, 0, 0, 1, 0, 0], ("missing_label",),
    ),
    "categorical integers": (
        categorical([0, 1] * 3, np.array([10, 2])), "i1", {"type": "categorical", "categories": ["10", "2"]}, [0, 1] * 3, (),
    ),
    "categorical floats": (
        categorical([0, 1] * 3, np.array([0.1, 2.0])), "i1",
        {"type": "categorical", "categories": ["0.1", "2.0"]}, [0, 1] * 3, (),
    ),
    "categorical booleans": (
        categorical([0, 1] * 3, np.array([False, True])), "i1",
        {"type": "categorical", "categories": ["False", "True"]}, [0, 1] * 3, (),
    ),
    "categorical identifier": (
        categorical(range(N), list("abcdef")), "O", {"type": "string"}, list("abcdef"), ("categorical_as_text",),
    ),
    "text": (
        np.array(["x", "é", "", "zz", "基", "a"], object), "O", {"type": "string"}, ["x", "é", "", "zz", "基", "a"], (),
    ),
    "text, few values": (
        np.array(["x", "a"] * 3, object), "i1", {"type": "categorical", "categories": ["a", "x"]}, [1, 0] * 3, (),
    ),
    "text, empty": (np.array([""] * N, object), "i1", {"type": "categorical", "categories": [""]}, [0] * N, ()),
    "nullable text": (
        nullable("string-array", np.array(list("abcdef"), object), MASK), "O", {"type": "string"},
        ["a", "", "c", "d", "e", ""], (),
    ),
    "fixed-length text": (
        lambda group, name: group.create_dataset(name, data=np.array([b"ab", b"c", b"d", b"e", b"f", b"g"])),
        "O", {"type": "string"}, ["ab", "c", "d", "e", "f", "g"], (),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """One file with all columns, converted once: (values, hints, report)."""
    import argparse

    from cxg.cli.convert import add_arguments, run

    folder = tmp_path_factory.mktemp("columns")
    path = make_h5ad(folder / "in.h5ad", obs={name: row[0] for name, row in ROWS.items()})
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args([str(path), "--report", str(folder / "r.json")])) == 0
    values, meta = read_array(folder / "in.cxg", "obs")
    return values, json.loads(meta["cxg_schema"]), json.loads((folder / "r.json").read_text())


@pytest.mark.parametrize("name", ROWS)
def test_column(everything, name):
    values, hints, report = everything
    _, dtype, hint, expected, notes = ROWS[name]
    found = values[name]
    assert found.dtype == np.dtype(dtype)
    assert hints[name] == hint
    if dtype == "O":
        assert found.tolist() == expected
    else:
        np.testing.assert_array_equal(found, np.array(expected, dtype=found.dtype))
    assert {note["code"] for note in report["notes"] if note["subject"] == f"obs/{name}"} == set(notes)


def test_index_hint_and_order(everything):
    values, hints, _ = everything
    assert hints["index"] == "name_0"
    assert list(values) == ["name_0", *ROWS]
    assert values["name_0"].tolist() == [f"cell{i}" for i in range(N)]


@pytest.mark.parametrize("count,dtype", [(127, "i1"), (128, "i2"), (32_767, "i2"), (32_768, "i4")])
def test_code_width(tmp_path, converted, count, dtype):
    n = 2 * count
    codes = np.arange(n) % count
    path = make_h5ad(tmp_path / "in.h5ad", np.ones((n, 1), np.float32))
    with h5py.File(path, "a") as root:
        group = mark(root["obs"].create_group("c"), "categorical")
        write_array(group, "codes", codes.astype(np.int32))
        write_array(group, "categories", np.array([f"l{i}" for i in range(count)], object))
        root["obs"].attrs["column-order"] = np.array(["c"], object)
    out, report = converted(path)
    values, _ = read_array(out, "obs")
    assert values["c"].dtype == dtype
    np.testing.assert_array_equal(values["c"], codes)
    assert ("many_categories" in codes_of(report)) is (count > 10_000)


def test_var_has_no_codes(tmp_path, converted):
    var = {
        "kind": categorical([0, 1, 1, -1], ["x", "y"]),
        "flag": np.ones(4, bool),
        "maybe": nullable("boolean", [True] * 4, [True, False, False, False]),
        "text": np.array(["t"] * 4, object),
        "n": np.arange(4),
    }
    out, _ = converted(make_h5ad(tmp_path / "in.h5ad", var=var))
    values, meta = read_array(out, "var")
    hints = json.loads(meta["cxg_schema"])
    assert values["kind"].tolist() == ["x", "y", "y", "nan"]
    assert values["maybe"].tolist() == ["nan", "True", "True", "True"]
    assert values["text"].tolist() == ["t"] * 4
    assert values["flag"].tolist() == [1] * 4
    assert [hints[name]["type"] for name in var] == ["string", "boolean", "string", "string", "int32"]


def test_odd_names(tmp_path, converted):
    names = ["a b", "é/ü".replace("/", "|"), "__hidden", "_hidden", "name_0", "x" * 300, "50% #1?", "index"]
    out, report = converted(make_h5ad(tmp_path / "in.h5ad", obs={name: np.arange(N) for name in names}))
    values, meta = read_array(out, "obs")
    assert list(values) == ["name_1", "a b", "é|ü", "_hidden", "_hidden-1", "name_0", "x" * 300, "50% #1?", "index-1"]
    assert json.loads(meta["cxg_schema"])["index"] == "name_1"
    assert sum(note["code"] == "column_renamed" for note in report["notes"]) == 3


def test_a_column_called_index_does_not_hide_which_column_names_the_rows(tmp_path, converted):
    """`index` is also the word of cxg_schema for the name of that column."""
    var = {"index": np.array(list("abcd"), object), "symbol": np.array(list("wxyz"), object)}
    out, _ = converted(make_h5ad(tmp_path / "in.h5ad", var=var), "--var-names", "symbol")
    values, meta = read_array(out, "var")
    assert json.loads(meta["cxg_schema"])["index"] == "symbol"
    assert values["index-1"].tolist() == list("abcd")
    out, _ = converted(tmp_path / "in.h5ad", "--var-names", "index", "--overwrite")
    assert json.loads(read_array(out, "var")[1]["cxg_schema"])["index"] == "index-1"


def test_text_of_very_many_values_stays_text(tmp_path, converted, monkeypatch):
    monkeypatch.setattr("cxg.convert.write.columns.MANY_CATEGORIES", 2)
    out, _ = converted(make_h5ad(tmp_path / "in.h5ad", obs={"few": list("aabbaa"), "many": list("aabbcc")}))
    hints = json.loads(read_array(out, "obs")[1]["cxg_schema"])
    assert (hints["few"]["type"], hints["many"]["type"]) == ("categorical", "string")


def test_what_cannot_be_held_is_dropped(tmp_path, converted):
    obs = {
        "complex": np.arange(N) * 1j,
        "matrix": np.ones((N, 2)),
        "group": lambda group, name: group.create_group(name),
        "odd": lambda group, name: mark(group.create_group(name), "awkward-array"),
        "no codes": lambda group, name: mark(group.create_group(name), "categorical"),
        "float codes": lambda group, name: _broken_categorical(group, name, np.zeros(N)),
        "high codes": lambda group, name: _broken_categorical(group, name, np.full(N, 9)),
        "codes a group": lambda group, name: _with_groups(group, name, "categorical", "codes", categories=["a"]),
        "mask a group": lambda group, name: _with_groups(group, name, "nullable-integer", "mask", values=np.arange(N)),
        "null": lambda group, name: group.create_dataset(name, data=h5py.Empty("f4")),
        "kept": np.arange(N),
    }
    out, report = converted(make_h5ad(tmp_path / "in.h5ad", obs=obs))
    assert list(read_array(out, "obs")[0]) == ["name_0", "kept"]
    dropped = {note["subject"] for note in report["notes"] if note["code"] == "column_dropped"}
    assert dropped == {f"obs/{name}" for name in obs if name != "kept"}


def _with_groups(group, name, kind, part, **parts):
    item = mark(group.create_group(name), kind)
    item.create_group(part)
    for key, values in parts.items():
        write_array(item, key, values)


def _broken_categorical(group, name, codes):
    item = mark(group.create_group(name), "categorical")
    write_array(item, "codes", codes)
    write_array(item, "categories", np.array(["a"], object))


def test_text_that_is_not_utf8(tmp_path, converted):
    obs = {"t": lambda group, name: group.create_dataset(name, data=np.array([b"\xff", b"a", b"b", b"c", b"d", b"e"]))}
    out, report = converted(make_h5ad(tmp_path / "in.h5ad", obs=obs))
    assert read_array(out, "obs")[0]["t"].tolist() == ["�", "a", "b", "c", "d", "e"]
    assert "text_mended" in codes_of(report)


@pytest.mark.parametrize("options", [[], ["--obs-names", "t"]], ids=["index", "column"])
def test_names_that_are_not_utf8_are_told(tmp_path, converted, options):
    rows = np.array([b"\xff", b"a", b"b", b"c", b"d", b"e"])
    path = make_h5ad(tmp_path / "in.h5ad", obs={"t": lambda group, name: group.create_dataset(name, data=rows)})
    key = "t" if options else "_index"
    with h5py.File(path, "a") as root:
        if not options:
            del root["obs/_index"], root["obs/t"]
            root["obs"].create_dataset("_index", data=rows)
            root["obs"].attrs["column-order"] = np.empty(0, "S1")
    out, report = converted(path, *options)
    assert read_array(out, "obs")[0][key if options else "name_0"].tolist() == ["�", "a", "b", "c", "d", "e"]
    assert [note["subject"] for note in report["notes"] if note["code"] == "text_mended"] == [f"obs/{key}"]


@pytest.mark.parametrize("missing", [[], [0], [5], [0, 1, 2, 3, 4, 5], [1, 3]])
def test_blanked(missing):
    gone = np.isin(np.arange(6), missing)
    rows = ["é", "", "ccc", "d", "ee", "f"]
    found = blanked(from_strings(rows), gone)
    assert found.strings() == ["" if i in missing else row for i, row in enumerate(rows)]


def test_text_is_read_and_numbered_in_slices(tmp_path, monkeypatch):
    """Over the borders of slices, and with names that others have already."""
    monkeypatch.setattr("cxg.convert.text.SLICE_ROWS", 4)
    rows = ["a", "a", "a-1", "b", "a", "b", "c", "c", "c", "c-2"]
    with h5py.File(tmp_path / "in.h5", "w") as root:
        write_array(root, "t", np.array(rows, object))
        text, bad = read_text_dataset(root["t"])
    assert (text.strings(), bad) == (rows, 0)
    assert from_strings(iter(rows)).strings() == rows
    assert first_duplicate(text) == ("a", 5)
    found, changed = numbered(text)
    assert found.strings() == ["a", "a-2", "a-1", "b", "a-3", "b-1", "c", "c-1", "c-3", "c-2"]
    assert changed == 5


@pytest.mark.parametrize("held", [0, 1 << 20], ids=["from disk", "from memory"])
def test_large_tables_are_written_in_slices(tmp_path, converted, monkeypatch, held):
    monkeypatch.setattr("cxg.convert.write.arrays.FRAME_TILE", 16)
    monkeypatch.setattr("cxg.convert.write.arrays.SLICE_BYTES", 300)
    monkeypatch.setattr("cxg.convert.write.tables.HELD_BYTES", held)
    n = 50
    obs = {"text": np.array(["é" * (i % 3) + str(i) for i in range(n)], object), "n": np.arange(n)}
    out, _ = converted(make_h5ad(tmp_path / "in.h5ad", np.ones((n, 2), np.float32), obs=obs))
    values, _ = read_array(out, "obs")
    assert values["text"].tolist() == obs["text"].tolist()
    assert values["n"].tolist() == obs["n"].tolist()
