"""What a column means, for every combination of stored type and hint found in real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiledb

from cxg.errors import DatasetInvalid, UnknownColumn
from cxg.format.annotations import Annotations, parse_json
from cxg.format.columns import Labels, Numbers
from cxg.format.text import Text
from tests import cxgs


def annotations(path: Path, columns: dict[str, Any], **hints: Any) -> Annotations:
    arrays = {"name_0": np.array(["a", "b", "c"]), **{name: np.array(values) for name, values in columns.items()}}
    cxgs.write_dense(path / "obs", arrays)
    cxgs.write_meta(path / "obs", {"cxg_schema": json.dumps({"index": "name_0", **hints})})
    return Annotations(tiledb.open(str(path / "obs")), "obs")


CODED = {"type": "categorical", "categories": ["x", "y"]}
# Stored values, hint, and then: type, labels, and what is read.
COLUMNS: dict[str, tuple[Any, Any, str, Any, Any]] = {
    "codes": (np.int8([1, 0, -1]), CODED, "categorical", ("x", "y"), [1, 0, -1]),
    "wide codes": (np.int32([1, 0, 7]), CODED, "categorical", ("x", "y"), [1, 0, 7]),
    "unsigned codes": (np.uint8([1, 0, 255]), CODED, "categorical", ("x", "y"), [1, 0, 255]),
    "codes without a type": (np.int8([1, 0, 1]), {"categories": ["x", "y"]}, "categorical", ("x", "y"), [1, 0, 1]),
    "labels": (["y", "x", "y"], CODED, "categorical", ("x", "y"), [1, 0, 1]),
    "labels called string": (
        ["y", "x", "y"],
        {"type": "string", "categories": ["x", "y"]},
        "categorical",
        ("x", "y"),
        [1, 0, 1],
    ),
    "labels outside the list": (["y", "z", "x"], CODED, "categorical", ("x", "y"), [1, 2, 0]),
    "text": (["y", "", "é"], {"type": "string"}, "string", None, ["y", "", "é"]),
    "text without a hint": (["y", "x", "y"], None, "string", None, ["y", "x", "y"]),
    "empty list of labels": (
        ["y", "x", "y"],
        {"type": "categorical", "categories": []},
        "string",
        None,
        ["y", "x", "y"],
    ),
    "booleans": (np.uint8([1, 0, 2]), {"type": "boolean"}, "boolean", None, [True, False, True]),
    "real booleans": (np.array([True, False, True]), None, "boolean", None, [True, False, True]),
    "numbers as labels": (np.int32([5, -1, 7]), {"type": "categorical"}, "categorical", None, [5, -1, 7]),
    "floats as labels": (np.float32([0.5, 1, 2]), {"type": "categorical"}, "categorical", None, [0.5, 1, 2]),
    "integers": (np.int16([-5, 0, 7]), {"type": "int32"}, "int32", None, [-5, 0, 7]),
    "large unsigned": (np.uint32([2**32 - 1, 0, 7]), None, "int32", None, [2**32 - 1, 0, 7]),
    "wide integers": (np.int64([2**45, 0, -7]), {"type": "int64"}, "float32", None, [2.0**45, 0, -7]),
    "doubles": (np.float64([0.5, 1e300, 2]), None, "float32", None, [0.5, np.inf, 2]),
    "odd hint": (np.float32([0.5, 1, 2]), "float32", "float32", None, [0.5, 1, 2]),
}


@pytest.mark.parametrize("case", COLUMNS)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_columns(tmp_path: Path, case: str) -> None:
    stored, hint, kind, labels, expected = COLUMNS[case]
    found = annotations(tmp_path, {"c": stored}, **({} if hint is None else {"c": hint}))
    column = found.column("c")
    assert (column.type, column.categories) == (kind, labels)
    values = found.read("c")
    if isinstance(values, Text):
        read = values.strings()
    else:
        read = (values.codes if isinstance(values, Labels) else values.values).tolist()
    assert read == expected
    assert isinstance(values, Labels if labels else Text if kind == "string" else Numbers)
    if isinstance(values, Labels) and case == "labels outside the list":
        assert values.categories == ("x", "y", "z")
    assert found.is_coded("c") == (np.asarray(stored).dtype.kind in "iu")


def test_numbers_have_a_type_that_the_wire_has(tmp_path: Path) -> None:
    kinds = {
        "i1": "int32",
        "u2": "int32",
        "i4": "int32",
        "u4": "uint32",
        "i8": "float64",
        "u8": "float64",
        "f4": "float32",
        "f8": "float32",
    }
    found = annotations(tmp_path, {name: np.ones(3, name) for name in kinds})
    assert {name: found.read(name).values.dtype.name for name in kinds} == kinds


def test_bytes_are_text(tmp_path: Path) -> None:
    found = annotations(tmp_path, {"c": np.array([b"a", b"b", b"c"])})
    assert found.column("c").type == "string"
    assert found.read("c").strings() == ["a", "b", "c"]


@pytest.mark.parametrize(
    "hints, columns, index",
    [
        ({"index": "other"}, {"other": ["x", "y", "z"]}, "other"),
        ({"index": "nope"}, {"other": ["x", "y", "z"]}, "name_0"),
        ({"index": ["name_0"]}, {}, "name_0"),
    ],
)
def test_the_index(tmp_path: Path, hints: dict[str, Any], columns: dict[str, Any], index: str) -> None:
    assert annotations(tmp_path, columns, **hints).index == index


def test_an_index_that_is_not_named_is_guessed_with_a_warning(tmp_path: Path) -> None:
    cxgs.write_dense(
        tmp_path / "var", {"n": np.zeros(3), "gene": np.array(["a", "b", "c"]), "more": np.array(["a", "b", "c"])}
    )
    found = Annotations(tiledb.open(str(tmp_path / "var")), "var")
    assert found.index == "gene"
    assert len(found.warnings) == 1
    assert "'gene' is taken" in found.warnings[0]


def test_a_sparse_array_is_not_one(tmp_path: Path) -> None:
    schema = tiledb.ArraySchema(
        domain=tiledb.Domain(tiledb.Dim("d", domain=(0, 9), tile=5, dtype=np.uint32)),
        attrs=[tiledb.Attr("a", dtype=np.float32)],
        sparse=True,
    )
    tiledb.Array.create(str(tmp_path / "obs"), schema)
    with pytest.raises(DatasetInvalid, match="one-dimensional dense"):
        Annotations(tiledb.open(str(tmp_path / "obs")), "obs")


def test_what_is_not_there(tmp_path: Path) -> None:
    found = annotations(tmp_path, {})
    for ask in (found.column, found.read):
        with pytest.raises(UnknownColumn, match=r"There is no column called 'nope' in obs\."):
            ask("nope")


@pytest.mark.parametrize(
    "value, parsed, warned",
    [
        (None, None, 0),
        ('{"a": [1, null]}', {"a": [1, None]}, 0),
        ("[NaN, Infinity, -Infinity, 1e999, -1e999, 0.5]", [None, None, None, None, None, 0.5], 0),
        ("", None, 1),
        ("{", None, 1),
        (b"{}", None, 1),
        (5, None, 1),
        ("[" * 100_000, None, 1),
    ],
    ids=["none", "json", "not finite", "empty", "broken", "bytes", "number", "deep"],
)
def test_metadata(value: Any, parsed: Any, warned: int) -> None:
    warnings: list[str] = []
    assert parse_json(value, "the thing", warnings) == parsed
    assert len(warnings) == warned
    assert all(warning.startswith("the thing ") and warning.endswith(".") for warning in warnings)
