"""Parsing of filters, which clients send in a query string or as JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterator
from typing import Any
from urllib.parse import unquote, unquote_plus

from cxg.errors import BadFilter
from cxg.format.selection import Axis, Bounds, Filter, Wanted, quoted

_NUMBER = re.compile(r"\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?\s*", re.ASCII)
_PART = re.compile("[^&]+")
# Most columns in one filter: each takes memory, and no dataset has as many.
_MOST_COLUMNS = 1000
_ENTRY_KEYS = ("name", "values", "min", "max")
_MOST_DIGITS = 1000
"""A number with more characters than this is refused, since parsing it would only cost time."""


def parse_var_query(raw: bytes | str, ignore: Collection[str] = ("method", "key", "nbins")) -> Filter:
    """Parse a filter on genes from a query string, or from a form body in the same format.

    The client percent-encodes column and value twice, so that ``,`` and ``:`` inside a gene's name
    are never taken for separators. Names encoded once work as well.

    Parameters
    ----------
    raw : bytes or str
        The query as it came, undecoded and without ``?``.
    ignore : collection of str
        Parameters that are not filters.

    Returns
    -------
    Filter
        On the var axis. Its `is_empty` is true if the query names no condition: refuse that, or
        answer for no gene, but do not select with it (it selects every gene).

    Raises
    ------
    BadFilter
        The query has another axis, a parameter that is not a filter, a bad range, or values mixed
        with a range.
    """
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    values: dict[str, list[Wanted]] = {}
    ranges: dict[str, Bounds] = {}
    for key, value in _pairs(text):
        if key in ignore:
            continue
        name = _column_of(key)
        if len(values) + len(ranges) > _MOST_COLUMNS:
            raise BadFilter(f"The filter has conditions on more than {_MOST_COLUMNS} columns.")
        # Three parts are enough to detect too many.
        pieces = value.split(",", 3)
        if len(pieces) > 2:
            raise BadFilter(
                f"Parameter {quoted(key)} has {value.count(',') + 1} values; encode a comma inside a name twice."
            )
        if name in ranges or (len(pieces) == 2 and name in values):
            raise BadFilter(f"Column {quoted(name)} has more than one condition; give values or one range.")
        if len(pieces) == 1:
            values.setdefault(name, []).append(unquote(pieces[0]))
        else:
            ranges[name] = _query_range(key, pieces)
    return Filter("var", None, {name: tuple(wanted) for name, wanted in values.items()}, ranges)


def query_values(raw: bytes | str, name: str) -> Iterator[str]:
    """Iterate over the values of one parameter of a query string or form body."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else raw
    return (value for key, value in _pairs(text) if key == name)


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    """Iterate over names and values, decoded once; a list of them would take many times the memory of the text."""
    for part in _PART.finditer(text):
        key, _, value = part[0].partition("=")
        yield unquote_plus(key), unquote_plus(value)


def _column_of(key: str) -> str:
    axis, colon, name = key.partition(":")
    if not colon or ":" in name:
        raise BadFilter(f"Parameter {quoted(key)} is not of the form var:<column>.")
    if axis == "obs":
        raise BadFilter("A filter on obs is not accepted here; filter on var.")
    if axis != "var":
        raise BadFilter(f"Unknown axis {quoted(axis)}; filter on var.")
    return unquote(name)


def _query_range(key: str, pieces: list[str]) -> Bounds:
    low, high = (unquote(piece) for piece in pieces)
    if low == "*" and high == "*":
        raise BadFilter(f"The range of {quoted(key)} is open at both ends; give at least one number.")
    return _query_number(key, low), _query_number(key, high)


def _query_number(key: str, text: str) -> float | None:
    if text == "*":
        return None
    if len(text) > _MOST_DIGITS or not _NUMBER.fullmatch(text):
        raise BadFilter(f"The range of {quoted(key)} has {quoted(text)}, which is neither a number nor *.")
    return float(text)


def parse_json_filter(obj: Any, axis: Axis) -> Filter:
    """Check a filter that came as JSON, the object under the key ``filter``.

    Parameters
    ----------
    obj : object
        ``{axis: {"index": [...], "annotation_value": [...]}}``, both parts optional.
    axis : {"obs", "var"}
        The axis that the filter must name, and the only one it may.

    Returns
    -------
    Filter

    Raises
    ------
    BadFilter
        The object has another form.
    """
    if not isinstance(obj, dict):
        raise BadFilter("A filter must be a JSON object.")
    _only_keys(obj, (axis,), f"A filter takes only {axis!r} here")
    if axis not in obj:
        raise BadFilter(f"The filter has no {axis!r}.")
    body = obj[axis]
    if not isinstance(body, dict):
        raise BadFilter(f"The filter's {axis!r} must be a JSON object.")
    _only_keys(body, ("index", "annotation_value"), f"The filter's {axis!r} takes only 'index' and 'annotation_value'")
    index = json_index(body["index"]) if "index" in body else None
    values, ranges = _json_annotations(body.get("annotation_value", []))
    return Filter(axis, index, values, ranges)


def parse_filter_body(body: bytes, axis: Axis) -> Filter:
    """Read a JSON body ``{"filter": {axis: ...}}``.

    Raises
    ------
    BadFilter
        The body is not JSON, or has another form.
    """
    obj = parse_json_body(body)
    if not isinstance(obj, dict) or "filter" not in obj:
        raise BadFilter("The body must be a JSON object with a 'filter'.")
    return parse_json_filter(obj["filter"], axis)


def parse_json_body(body: bytes, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """Parse a JSON body; `parse_constant` is called for NaN and Infinity, which are refused without it.

    Raises
    ------
    BadFilter
        The body is not JSON in UTF-8, or is nested too deeply.
    """
    try:
        return json.loads(body.decode(), parse_constant=parse_constant or _refuse_constant)
    except RecursionError:
        raise BadFilter("The body is nested too deeply.") from None
    except ValueError as error:  # bad JSON, bad UTF-8, or a number of thousands of digits
        raise BadFilter(f"The body is not JSON: {quoted(str(error))}.") from None


def _refuse_constant(text: str) -> Any:
    raise BadFilter(f"The body holds {text}, which JSON does not have.")


def _only_keys(obj: dict[str, Any], allowed: Collection[str], sentence: str) -> None:
    for key in obj:
        if key not in allowed:
            raise BadFilter(f"{sentence}, not {quoted(key)}.")


def json_index(items: Any) -> tuple[int | tuple[int, int], ...]:
    """Check positions and half-open ranges ``[start, end]`` that came as JSON.

    Raises
    ------
    BadFilter
        An item is something else.
    """
    if not isinstance(items, list):
        raise BadFilter("A filter's 'index' must be a list.")
    return tuple(
        (_position(item[0]), _position(item[1])) if isinstance(item, list) and len(item) == 2 else _position(item)
        for item in items
    )


def _position(item: Any) -> int:
    # bool is a subclass of int, but true is not a position
    if type(item) is not int:
        raise BadFilter("A filter's 'index' must hold whole numbers and pairs [start, end] of them.")
    if item < 0:
        raise BadFilter("A filter's 'index' must not hold negative numbers.")
    return item


def _json_annotations(items: Any) -> tuple[dict[str, tuple[Wanted, ...]], dict[str, Bounds]]:
    if not isinstance(items, list):
        raise BadFilter("A filter's 'annotation_value' must be a list.")
    values: dict[str, tuple[Wanted, ...]] = {}
    ranges: dict[str, Bounds] = {}
    for item in items:
        if not isinstance(item, dict):
            raise BadFilter("Each entry of 'annotation_value' must be a JSON object.")
        _only_keys(item, _ENTRY_KEYS, "An entry of 'annotation_value' takes name, values, min and max")
        name = item.get("name")
        if not isinstance(name, str):
            raise BadFilter("Each entry of 'annotation_value' needs a 'name', the name of a column.")
        if name in values or name in ranges:
            raise BadFilter(f"Column {quoted(name)} is named twice in 'annotation_value'; use one entry.")
        if "values" in item and ("min" in item or "max" in item):
            raise BadFilter(f"Column {quoted(name)} has values and a range; give one of the two.")
        if "values" in item:
            values[name] = _json_values(name, item["values"])
        else:
            ranges[name] = _json_range(name, item)
    return values, ranges


def _json_values(name: str, items: Any) -> tuple[Wanted, ...]:
    if not isinstance(items, list) or not all(isinstance(item, str | bool | int | float) for item in items):
        raise BadFilter(f"The values of column {quoted(name)} must be a list of texts, numbers, true and false.")
    for item in items:
        if not isinstance(item, str):
            _finite(name, item)
    return tuple(items)


def _json_range(name: str, item: dict[str, Any]) -> Bounds:
    bounds: list[float | None] = []
    for end in ("min", "max"):
        value = item.get(end)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise BadFilter(f"The {end} of column {quoted(name)} must be a number.")
        bounds.append(None if value is None else _finite(name, value))
    if bounds == [None, None]:
        raise BadFilter(f"Column {quoted(name)} has no condition; give 'values', or 'min' or 'max'.")
    return bounds[0], bounds[1]


def _finite(name: str, value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadFilter(f"The condition on column {quoted(name)} has a number that is too large.")
    return number
