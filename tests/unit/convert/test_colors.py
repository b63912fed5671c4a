"""Colours of categories: which forms are understood, and that one bad column does not cost the others theirs."""

import json

import h5py
import numpy as np
import pytest

from cxg.convert.colors import BadColorError, to_hex
from tests.unit.convert.h5ads import make_h5ad, read_array, write_categorical

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
