"""Filters in query strings and in JSON: the client's writing, every rule, hostile input."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from cxg.errors import BadFilter, RequestError, UnknownColumn
from cxg.format.columns import ColumnValues, Labels, Numbers
from cxg.format.selection import select
from cxg.format.text import Text
from cxg.wire.filters import parse_filter_body, parse_json_filter, parse_var_query

NAMES = ["SIK1", "g,1", "g:2", "g 3", "g%4", "g&5", "é6", "g+7", "g=8", "", "100%25", "*", "日本 語", 'g"9\\']
COLUMNS: dict[str, ColumnValues] = {
    "name_0": Text.of(NAMES),
    "n cells,:&%": Numbers(np.arange(len(NAMES), dtype=np.int32)),
    "kind": Labels(np.arange(len(NAMES), dtype=np.int8) % 3 - 1, ("a", "b")),
}


def read_column(name: str) -> ColumnValues:
    if name not in COLUMNS:
        raise UnknownColumn(f"There is no column {name[:20]!r}.")
    return COLUMNS[name]


def twice(text: str) -> str:
    """JavaScript's encodeURIComponent, applied two times."""
    return quote(quote(text, safe="!'()*~"), safe="!'()*~")


def positions(query: str | bytes) -> list[int]:
    return select(parse_var_query(query), len(NAMES), read_column).tolist()


@pytest.mark.parametrize(
    "query, position",
    [
        ("var:name_0=SIK1", 0),
        ("var:name_0=g%252C1", 1),
        ("var:name_0=g%253A2", 2),
        ("var:name_0=g%25203", 3),
        ("var:name_0=g%25254", 4),
        ("var:name_0=g%25265", 5),
        ("var:name_0=%25C3%25A96", 6),
    ],
)
def test_queries_that_the_client_sends(query: str, position: int) -> None:
    assert positions(query) == [position]
    assert positions(query.encode()) == [position]


@pytest.mark.parametrize("position", range(len(NAMES)))
def test_any_name_encoded_twice(position: int) -> None:
    assert positions(f"var:name_0={twice(NAMES[position])}") == [position]


@pytest.mark.parametrize("name", ["SIK1", "g:2", "g 3", "g&5", "é6", "g+7", "g=8", "日本 語"])
def test_names_encoded_once_work_if_they_hold_no_comma(name: str) -> None:
    assert positions(f"var:name_0={quote(name, safe='')}") == [NAMES.index(name)]


def test_values_of_one_column_are_alternatives_and_columns_are_combined() -> None:
    assert positions("var:name_0=SIK1&var:name_0=g%252C1&var:name_0=SIK1&var:name_0=absent") == [0, 1]
    column = twice("n cells,:&%")
    assert positions(f"var:{column}=2,4") == [2, 3, 4]
    assert positions(f"var:{column}=2,*&var:kind=b") == [2, 5, 8, 11]
    assert positions(f"var:kind=a&var:kind=b&var:{column}=*,2.5&var:name_0={twice('g:2')}") == [2]


@pytest.mark.parametrize("text", ["1,3", "1.0,3e0", " 1 ,3", "%2B1,3", "%252B1,3", "1%2C3", ".5,3.", "1,3.9e0"])
def test_ranges_are_numbers_in_any_common_notation(text: str) -> None:
    assert positions(f"var:{twice('n cells,:&%')}={text}") == [1, 2, 3]


@pytest.mark.parametrize("query", ["", "&", "&&", "method=mean", "method=mean&", "key=a:b,c,d&nbins=500&method"])
def test_queries_without_a_filter(query: str) -> None:
    assert parse_var_query(query).is_empty


def test_only_the_named_parameters_are_ignored() -> None:
    with pytest.raises(BadFilter, match="'method'"):
        parse_var_query("method=mean", ignore=())


@pytest.mark.parametrize(
    "query, message",
    [
        ("hello", "'hello'"),
        ("var=x", "'var'"),
        ("=x", "''"),
        ("var:a:b=x", "'var:a:b'"),
        ("obs:name_0=x", "obs"),
        ("gene:name_0=x", "axis 'gene'"),
        ("VAR:name_0=x", "axis 'VAR'"),
        (":name_0=x", "axis ''"),
        ("var:n=1,2,3", "3 values"),
        ("var:n=*,*", "open at both ends"),
        ("var:n=a,2", "'a'"),
        ("var:n=1,", "''"),
        ("var:n=nan,2", "'nan'"),
        ("var:n=1,inf", "'inf'"),
        ("var:n=1_0,2", "'1_0'"),
        ("var:n=0x1,2", "'0x1'"),
        ("var:n=１,2", "'１'"),
        ("var:n=1,2&var:n=1,2", "more than one condition"),
        ("var:n=1&var:n=1,2", "more than one condition"),
        ("var:n=1,2&var:n=1", "more than one condition"),
        ("var:n=" + "9" * 5000 + ",*", "neither a number"),
    ],
)
def test_bad_queries(query: str, message: str) -> None:
    with pytest.raises(BadFilter) as caught:
        parse_var_query(query)
    assert message in str(caught.value)
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 250


def test_an_unknown_column_is_reported_when_it_is_read() -> None:
    with pytest.raises(UnknownColumn):
        positions("var:nope=x")


def test_json_and_query_agree() -> None:
    entries = [{"name": "kind", "values": ["a", "b"]}, {"name": "n cells,:&%", "min": 2, "max": 7.5}]
    both = parse_json_filter({"var": {"index": [[0, 6], 7], "annotation_value": entries}}, "var")
    assert select(both, len(NAMES), read_column).tolist() == [2, 4, 5, 7]
    alone = parse_json_filter({"var": {"annotation_value": entries}}, "var")
    query = f"var:kind=a&var:kind=b&var:{twice('n cells,:&%')}=2,7.5"
    assert select(alone, len(NAMES), read_column).tolist() == positions(query)


def test_json_without_conditions() -> None:
    assert parse_json_filter({"obs": {}}, "obs").is_empty
    assert parse_json_filter({"obs": {"annotation_value": []}}, "obs").is_empty
    assert not parse_json_filter({"obs": {"index": []}}, "obs").is_empty


@pytest.mark.parametrize(
    "obj", [None, [], 1, "x", {}, {"var": {}}, {"obs": {}, "var": {}}, {"obs": None}, {"obs": {"x": 1}}]
)
def test_bad_json_filters(obj: Any) -> None:
    with pytest.raises(BadFilter):
        parse_json_filter(obj, "obs")


def test_filter_in_a_body() -> None:
    wanted = parse_filter_body(b'{"filter": {"var": {"index": [2, [0, 1]]}}}', "var")
    assert select(wanted, len(NAMES), read_column).tolist() == [0, 2]


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b"{", b"\xff", b'{"filter": null}', b'{"filter": {"var": {"index": [NaN]}}}', b"[" * 100_000],
    ids=range(8),
)
def test_bad_bodies(body: bytes) -> None:
    with pytest.raises(BadFilter) as caught:
        parse_filter_body(body, "var")
    assert len(str(caught.value)) < 200


def test_messages_show_hostile_text_escaped_and_short() -> None:
    with pytest.raises(BadFilter) as caught:
        parse_var_query("x\r\nSet-Cookie: a=1" + "y" * 100_000)
    text = str(caught.value)
    assert "\n" not in text
    assert "\r" not in text
    assert len(text) < 200


def test_hostile_queries_raise_request_errors_only() -> None:
    rng = random.Random(3)
    atoms = [
        "var:",
        "obs:",
        "name_0",
        "kind",
        twice("n cells,:&%"),
        "=",
        "&",
        ",",
        "*",
        "1",
        "-2.5",
        "1e999",
        "%",
        "%25",
    ]
    atoms += [
        "%2C",
        "%252C",
        "%ff",
        "%25ff",
        "%00",
        "+",
        ";",
        "\x00",
        "é",
        "\ud800",
        "a",
        "SIK1",
        "nan",
        ":",
        "g%252C1",
        "%u1234",
    ]
    accepted = 0
    for _ in range(4000):
        start = rng.choice(["", "var:name_0=", "var:kind=a&"])
        query = start + "".join(rng.choices(atoms, k=rng.randrange(8)))
        for raw in (query, query.encode("utf-8", "surrogatepass")):
            try:
                chosen = positions(raw)
            except RequestError as error:
                assert len(str(error)) < 300  # noqa: PT017
            else:
                accepted += 1
                assert chosen == sorted(set(chosen))
    assert accepted > 100


def test_hostile_json_raises_request_errors_only() -> None:
    rng = random.Random(4)
    leaves: list[Any] = [
        None,
        True,
        False,
        0,
        3,
        -1,
        10**20,
        10**400,
        1.5,
        -0.0,
        1e308,
        "",
        "kind",
        "a",
        "\ud800",
        "x" * 999,
    ]

    def anything(depth: int) -> Any:
        roll = rng.random()
        if depth == 0 or roll < 0.4:
            return rng.choice(leaves)
        if roll < 0.7:
            return [anything(depth - 1) for _ in range(rng.randrange(4))]
        keys = ["obs", "var", "index", "annotation_value", "name", "values", "min", "max", "?"]
        return {key: anything(depth - 1) for key in rng.sample(keys, rng.randrange(4))}

    accepted = 0
    for _ in range(5000):
        entry = {"name": rng.choice([*COLUMNS, "nope", 3]), rng.choice(["values", "min", "max"]): anything(2)}
        body = rng.choice(
            [anything(4), {"var": anything(3)}, {"var": {"index": anything(2)}}, {"var": {"annotation_value": [entry]}}]
        )
        try:
            select(parse_json_filter(body, "var"), len(NAMES), read_column)
            accepted += 1
        except RequestError as error:
            json.dumps(str(error)).encode()
            assert len(str(error)) < 300  # noqa: PT017
    assert accepted > 100
