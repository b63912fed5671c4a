"""Every deliberate difference between our answers and those of the published server, in one table.

Each has a heading in ``docs/api.md`` that gives the reason; `test_documented.py` checks that none is missing.
The functions turn an answer of the published server into the one that is expected of ours.
"""

from __future__ import annotations

import copy
import math
from typing import Any

from tests.decode import JSON, UINT32, WireColumn

DIFFERENCES = {
    "numeric-categories": "numeric labels of a categorical column are sent as text, with a list of categories",
    "boolean-categories": "the labels of a boolean categorical are the text False and True",
    "missing-categories": "rows without a category carry the label nan instead of null",
    "all-true": "a boolean obs column that is true everywhere is a categorical with the one label True",
    "var-categories": "categorical columns of var are text",
    "repeated-text": "a text column of obs with few different values is a categorical",
    "unique-categories": "a categorical column of obs with nearly as many labels as cells is text",
    "wide-integers": "whole numbers beyond 32 bits are float32, or text if all differ; the published server refuses the file",
    "negative-expression": "expression with a negative value is never taken for counts, however wide its range",
    "whole-expression": "expression stored as whole numbers is sent as float32",
    "colors-refused": "a colour that cannot be read leaves out its column; the published server answers 404 and the client stops",
    "colors-triples": "colours given as triples of numbers are understood",
    "colors-of-flags": "colours of a boolean column are used; the published server answers 500 and the client stops",
    "colors-of-the-missing": "each table also colours null and NaN, which a column with missing values shows",
    "float32-embeddings": "embeddings are stored as float32, so coordinates differ from the seventh digit on",
    "no-match": "a gene that does not exist gives a matrix without columns; the published server's answer is cut off",
    "uncompressed": "answers are complete without compression",
    "many-genes-first": "differential expression answers when count reaches the number of genes",
    "disjoint-lists": "no gene stands in both lists of differential expression",
    "empty-sets": "a set without cells is refused",
    "default-count": "differential expression without a count takes diffexp.top_n",
    "repeated-names": "a column or embedding named twice in one request is refused",
    "statuses": "400 where the published server fails with 500 or 404",
    "body-limits": "a body that is too long gets 413, on every route",
    "missing-accept": "a request without Accept is answered",
    "config-keys": "config leaves out the keys that the client never reads",
    "no-cookie": "no cookie is set",
    "negative-index": "negative positions in a filter are refused",
    "ties": "equal scores in differential expression are ordered by position",
}


def expected_schema(schema: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """The published server's schema with our differences; new label lists are taken from `ours`."""
    out = copy.deepcopy(schema)
    out["dataframe"]["type"] = "float32"  # whole-expression
    for axis in ("obs", "var"):
        mine = {column["name"]: column for column in ours["annotations"][axis]["columns"]}
        for column in out["annotations"][axis]["columns"]:
            _expect_column(column, axis, mine.get(column["name"], {}))
    return out


def _expect_column(column: dict[str, Any], axis: str, mine: dict[str, Any]) -> None:
    name = column["name"]
    if column["type"] == "categorical" and axis == "var":  # var-categories
        column["type"] = "string"
        column.pop("categories", None)
    elif column["type"] == "categorical" and "categories" not in column:  # numeric-categories
        column["categories"] = mine.get("categories")
    elif name == "category_unique":  # unique-categories
        column["type"] = "string"
        column.pop("categories")
    elif name == "text_repeated":  # repeated-text
        column.update(type="categorical", categories=mine.get("categories"))
    elif column["type"] == "categorical":
        column["categories"] = [str(label) for label in column["categories"]]  # boolean-categories
        if name.endswith("_missing"):  # missing-categories
            column["categories"].append("nan")
    elif name == "bool_all_true":  # all-true
        column.update(type="categorical", categories=["True"])


def comparable(theirs: WireColumn, ours: WireColumn, axis: str) -> tuple[list[Any], list[Any]]:
    """The values of both columns with the allowed differences taken out, to be compared with ==."""
    left, right = theirs.listed(), ours.listed()
    if ours.kind != JSON or axis == "var":
        return left, right
    if theirs.kind == UINT32 and set(left) == {1}:  # all-true
        return ["True"] * len(left), right
    if theirs.kind != JSON:  # numeric-categories
        return left, _as_numbers(right, theirs)
    return ["nan" if label is None else str(label) for label in left], right


def _as_numbers(labels: list[str], theirs: WireColumn) -> list[Any]:
    numbers = [theirs.values.dtype.type(float(label)).item() for label in labels]
    return ["NaN" if isinstance(number, float) and math.isnan(number) else number for number in numbers]


def expected_colors(colors: dict[str, dict[str, str]], ours: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """The published server's colours; JSON keys of boolean labels are lower case there."""
    text = {"true": "True", "false": "False"}
    out = {}
    for column, table in colors.items():
        out[column] = {text.get(label, label): value for label, value in table.items()}
        for missing in ("null", "NaN"):  # colors-of-the-missing
            out[column].setdefault(missing, ours.get(column, {}).get(missing, "absent"))
    return out
