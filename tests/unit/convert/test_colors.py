"""Colours of categories: which forms are understood, and that one bad column does not cost the others theirs."""

import json

import h5py
import numpy as np
import pytest

from cxg.convert.write.colors import BadColorError, to_hex
from tests.served import serve
from tests.unit.convert.h5ads import make_h5ad, read_array, write_categorical, write_nullable

N = 6


@pytest.mark.parametrize(
    "given,expected",
    [
        ("red", "#ff0000"),
        ("RebeccaPurple", "#663399"),
        ("#1F77B4", "#1f77b4"),
        ("#1f77b4cc", "#1f77b4"),
        ("#abc", "#aabbcc"),
        ("rgb(1, 2, 3)", "#010203"),
        (np.array([0.0, 0.5, 1.0]), "#0080ff"),
        (np.array([0.0, 0.5, 1.0, 0.3]), "#0080ff"),
        (np.array([255, 0, 16]), "#ff0010"),
        ((1.0, 1.0, 1.0), "#ffffff"),
    ],
)
def test_understood(given, expected):
    assert to_hex(given) == expected


@pytest.mark.parametrize(
    "given",
    ["no colour", "", "#12", np.array([256, 0, 0]), np.array([1.5, 0, 0]), np.array([0, 1]), 7, np.array([np.nan] * 3)],
)
def test_not_understood(given):
    with pytest.raises(BadColorError):
        to_hex(given)


def labelled(codes, labels):
    return lambda group, name: write_categorical(group, name, codes, labels)


def colors_of(root):
    return json.loads(read_array(root, "cxg_group_metadata")[1].get("cxg_category_colors", "{}"))


def test_columns(tmp_path, converted):
    obs = {
        "good": labelled([0, 1] * 3, ["b", "a"]),
        "many": labelled([0, 1] * 3, ["b", "a"]),
        "bad": labelled([0, 1] * 3, ["b", "a"]),
        "short": labelled([0, 1] * 3, ["b", "a"]),
        "holes": labelled([0, 1, -1] * 2, ["b", "a"]),
        "numbers": labelled([0, 1] * 3, np.array([3, 1])),
        "__odd": labelled([0, 1] * 3, ["b", "a"]),
        "plain": np.arange(N),
    }
    uns = {f"{name}_colors": np.array(["red", "blue"], object) for name in obs} | {
        "many_colors": np.array(["red", "blue", "green"], object),
        "bad_colors": np.array(["red", "so blue"], object),
        "short_colors": np.array(["red"], object),
        "numbers_colors": np.array([[0.0, 0, 0], [1, 1, 1]]),
        "nowhere_colors": np.array(["red"], object),
    }
    root, report = converted(make_h5ad(tmp_path / "in.h5ad", obs=obs, uns=uns))
    pair = {"b": "#ff0000", "a": "#0000ff"}
    assert colors_of(root) == {
        "good": pair,
        "many": pair,
        "holes": {**pair, "nan": "#bfbfbf"},
        "numbers": {"3": "#000000", "1": "#ffffff"},
        "_odd": pair,
    }
    assert {n["subject"] for n in report["notes"] if n["code"] == "colors_dropped"} == {
        "uns/bad_colors",
        "uns/short_colors",
    }


def test_ontology_colors_belong_to_the_label_column(tmp_path, converted):
    obs = {"cell_type": labelled([0, 1] * 3, ["b", "a"])}
    uns = {"cell_type_ontology_term_id_colors": np.array(["red", "blue"], object)}
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", obs=obs, uns=uns))
    assert colors_of(root) == {"cell_type": {"b": "#ff0000", "a": "#0000ff"}}


def test_disabled(tmp_path, converted):
    path = make_h5ad(
        tmp_path / "in.h5ad",
        obs={"c": labelled([0, 1] * 3, ["b", "a"])},
        uns={"c_colors": np.array(["red", "blue"], object)},
    )
    root, report = converted(path, "--disable-custom-colors")
    assert colors_of(root) == {}
    assert report["colors"] == []


def test_colors_of_another_shape_are_skipped(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad", obs={"c": labelled([0, 1] * 3, ["b", "a"])})
    with h5py.File(path, "a") as root:
        root["uns"].create_group("c_colors")
    root, report = converted(path)
    assert colors_of(root) == {}
    assert "colors_dropped" in {note["code"] for note in report["notes"]}


RED, BLUE, GREY = "#ff0000", "#0000ff", "#bfbfbf"
TWO, ONE = ["red", "blue"], ["blue"]
CODED = {"False": RED, "True": BLUE}
GAPS = [False, False, True]


def nullable(values, mask):
    return lambda group, name: write_nullable(group, name, "boolean", np.array(values), np.array(mask))


@pytest.mark.parametrize(
    "column, given, expected",
    [
        (np.array([True, False] * 3), TWO, {"false": RED, "true": BLUE}),
        (np.array([False] * N), TWO, {"false": RED, "true": BLUE}),
        (np.array([False] * N), ONE, {"false": BLUE, "true": GREY}),
        (np.array([True] * N), TWO, {"True": BLUE}),
        (np.array([True] * N), ONE, {"True": BLUE}),
        (nullable([True, False] * 3, [False] * N), TWO, {"false": RED, "true": BLUE}),
        (nullable([True] * N, [False] * N), TWO, {"True": BLUE}),
        (nullable([True] * N, [False] * N), ONE, {"True": BLUE}),
        (nullable([True, False, False] * 2, GAPS * 2), TWO, {**CODED, "nan": GREY}),
        (nullable([True, False, True] * 2, GAPS * 2), TWO, {**CODED, "nan": GREY}),
        (nullable([True] * N, GAPS * 2), TWO, {**CODED, "nan": GREY}),
        (nullable([True] * N, GAPS * 2), ONE, {"False": GREY, "True": BLUE, "nan": GREY}),
        (nullable([False, False, True] * 2, GAPS * 2), ONE, {"False": BLUE, "True": GREY, "nan": GREY}),
        (nullable([True] * N, [True] * N), TWO, {**CODED, "nan": GREY}),
        (labelled([0] * N, np.array([True])), ONE, {"True": BLUE}),
        (labelled([0, 1] * 3, np.array([False, True])), TWO, CODED),
    ],
)
def test_flags(tmp_path, converted, column, given, expected):
    """False is first; with one colour, as scanpy gives a column of one value, it is that value's."""
    path = make_h5ad(tmp_path / "in.h5ad", obs={"flag": column}, uns={"flag_colors": np.array(given, object)})
    root, report = converted(path)
    assert colors_of(root) == {"flag": expected}
    assert report["colors"] == ["flag"]
    assert "colors_dropped" not in {note["code"] for note in report["notes"]}


@pytest.mark.parametrize(
    "column", [np.array([True, False] * 3), nullable([True, False] * 3, GAPS * 2), nullable([True] * N, [True] * N)]
)
@pytest.mark.parametrize("given", [["red"], []])
def test_too_few_for_flags_are_counted_right(tmp_path, converted, column, given):
    uns = {"flag_colors": np.array(given, object)}
    root, report = converted(make_h5ad(tmp_path / "in.h5ad", obs={"flag": column}, uns=uns))
    assert colors_of(root) == {}
    (note,) = [note for note in report["notes"] if note["code"] == "colors_dropped"]
    assert f"there are {len(given)} colours for 2 categories" in note["text"]


@pytest.mark.parametrize("values, label", [([True, False] * 3, "true"), ([True] * N, "True"), ([False] * N, "false")])
def test_flags_are_answered_as_the_client_spells_them(tmp_path, converted, values, label):
    """The server's answer holds a colour for each value that the client may see."""
    uns = {"flag_colors": np.array(TWO, object)}
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", obs={"flag": np.array(values)}, uns=uns))
    client = serve(tmp_path, tmp_path / "client")
    found = client.get(f"/d/{root.name}/api/v0.2/colors").json["flag"]
    assert found[label] == (RED if label == "false" else BLUE)


def test_a_column_of_genes_has_no_colours(tmp_path, converted):
    uns = {"flag_colors": np.array(TWO, object)}
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", var={"flag": np.array([True, False] * 2)}, uns=uns))
    assert colors_of(root) == {}
