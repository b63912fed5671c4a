"""Bodies of differential expression requests: the client's form, every malformed one, hostile ones."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import numpy as np
import pytest

from cxg.errors import BadFilter, BodyTooLarge, LimitExceeded, NotOffered, RequestError, UnknownColumn
from cxg.format.columns import ColumnValues, Labels, Numbers
from cxg.wire import celllists
from cxg.wire.celllists import cut_out_lists
from cxg.wire.diffexp import DiffexpRequest
from cxg.wire.diffexp import parse_diffexp as parse_rest

N_OBS = 100


@pytest.fixture(autouse=True, params=["short lists", "long lists"])
def lists(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are read by the JSON parser and, as long ones are, in pieces: with the same result."""
    if request.param == "long lists":
        monkeypatch.setattr(celllists, "PIECE_BYTES", 12)


def parse_diffexp(body: bytes, n_obs: int, default_count: int) -> DiffexpRequest:
    """Read a body as the route does."""
    rest, lists = cut_out_lists(io.BytesIO(body).read, n_obs)
    return parse_rest(rest, n_obs, default_count, lists)


COLUMNS: dict[str, ColumnValues] = {
    "kind": Labels(np.arange(N_OBS, dtype=np.int8) % 4, ("a", "b", "c", "d")),
    "size": Numbers(np.arange(N_OBS, dtype=np.float32)),
}


def read_column(name: str) -> ColumnValues:
    if name not in COLUMNS:
        raise UnknownColumn(f"There is no column {name!r}.")
    return COLUMNS[name]


def body(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "mode": "topN",
        "count": 50,
        "set1": {"filter": {"obs": {"index": [1, 9, 10]}}},
        "set2": {"filter": {"obs": {"index": [4, 28]}}},
    }
    made.update(changes)
    return {key: value for key, value in made.items() if value is not ...}


def index(items: Any) -> dict[str, Any]:
    return {"filter": {"obs": {"index": items}}}


def parse(obj: Any, separators: tuple[str, str] = (",", ":")) -> DiffexpRequest:
    return parse_diffexp(json.dumps(obj, separators=separators).encode(), N_OBS, 10)


def rows(request: DiffexpRequest) -> tuple[list[int], list[int]]:
    first, second = request.rows(N_OBS, read_column)
    assert first.dtype == second.dtype == np.int64
    return first.tolist(), second.tolist()


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", " :\t")])
def test_the_body_that_the_client_sends(separators: tuple[str, str]) -> None:
    request = parse(body(), separators)
    assert request.top_n == 50
    assert isinstance(request.set1.index, np.ndarray)
    assert rows(request) == ([1, 9, 10], [4, 28])


def test_positions_are_ascending_and_unique() -> None:
    assert rows(parse(body(set1=index([9, 3, 9, 0]), set2=index([99])))) == ([0, 3, 9], [99])


def test_ranges_and_annotation_values() -> None:
    by_kind = {"filter": {"obs": {"annotation_value": [{"name": "kind", "values": ["b", "d"]}], "index": [[0, 6], 9]}}}
    by_size = {"filter": {"obs": {"annotation_value": [{"name": "size", "min": 96.5}], "index": [97, 98, 5]}}}
    assert rows(parse(body(set1=by_kind, set2=by_size))) == ([1, 3, 5, 9], [97, 98])


def test_an_empty_filter_selects_every_cell() -> None:
    assert rows(parse(body(set1={"filter": {"obs": {}}})))[0] == list(range(N_OBS))


@pytest.mark.parametrize("count, top_n", [(0, 0), (-3, 0), (7, 7), (..., 10), (10**30, 2**31 - 1)])
def test_count(count: Any, top_n: int) -> None:
    assert parse(body(count=count)).top_n == top_n


@pytest.mark.parametrize("changes", [{"mode": "varFilter"}, {"varFilter": {}}, {"mode": "varFilter", "set1": ...}])
def test_var_filter_is_not_offered(changes: dict[str, Any]) -> None:
    with pytest.raises(NotOffered, match="varFilter"):
        parse(body(**changes))


BAD = [
    {"mode": ...},
    {"mode": None},
    {"mode": "topn"},
    {"mode": ["topN"]},
    *[{"count": count} for count in (True, "50", 50.0, None, [50], {})],
    {"set1": ...},
    {"set2": ...},
    *[{"set1": value} for value in (None, [], 3, "x", {}, {"filter": None}, {"filter": []}, {"filter": {}})],
    *[{"set2": {"filter": {"obs": value}}} for value in (None, [], 1, "x", {"rows": [1]})],
    {"set1": {"filter": {"var": {"index": [1]}}}},
    {"set1": {"filter": {"obs": {"index": [1]}, "var": {"index": [1]}}}},
    *[{"set1": index(items)} for items in (None, 5, "1", {}, [True], [1, True], [1.0], [1.5], ["1"], [None])],
    *[{"set1": index(items)} for items in ([-1], [1, -1], [100], [1, 100], [10**30], [[-5, 3]], [[1, 2, 3]], [[1]])],
    *[{"set1": index(items)} for items in ([[1, True]], [[1, [2]]], [[]], [{}], [[1.0, 2]], [[None, 2]])],
    *[
        {"set1": {"filter": {"obs": {"annotation_value": value}}}}
        for value in (
            None,
            {},
            "x",
            [3],
            [[]],
            [{}],
            [{"name": 3, "values": ["a"]}],
            [{"name": "kind"}],
            [{"name": "kind", "values": "a"}],
            [{"name": "kind", "values": [["a"]]}],
            [{"name": "kind", "values": [None]}],
            [{"name": "kind", "values": [10**400]}],
            [{"name": "kind", "values": ["a"], "min": 1}],
            [{"name": "kind", "values": ["a"]}, {"name": "kind", "values": ["b"]}],
            [{"name": "kind", "value": ["a"]}],
            [{"name": "size", "min": "1"}],
            [{"name": "size", "max": True}],
            [{"name": "size", "min": None, "max": None}],
            [{"name": "size", "min": 10**400}],
        )
    ],
]


@pytest.mark.parametrize("changes", BAD, ids=str)
def test_malformed_bodies(changes: dict[str, Any]) -> None:
    with pytest.raises(BadFilter) as caught:
        parse(body(**changes))
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    assert len(text) < 200


@pytest.mark.parametrize(
    "set1",
    [
        {"annotation_value": [{"name": "size", "values": [1]}]},
        {"annotation_value": [{"name": "kind", "min": 1}]},
        {"index": []},
        {"index": [[5, 5]]},
        {"annotation_value": [{"name": "kind", "values": []}]},
    ],
    ids=str,
)
def test_sets_that_do_not_fit_the_columns(set1: dict[str, Any]) -> None:
    request = parse(body(set1={"filter": {"obs": set1}}))
    with pytest.raises(BadFilter):
        request.rows(N_OBS, read_column)


def test_unknown_column() -> None:
    request = parse(body(set1={"filter": {"obs": {"annotation_value": [{"name": "x", "values": ["a"]}]}}}))
    with pytest.raises(UnknownColumn):
        request.rows(N_OBS, read_column)


def test_cell_limit_counts_both_sets() -> None:
    request = parse(body())
    request.rows(N_OBS, read_column, cellcount_max=5)
    request.rows(N_OBS, read_column, cellcount_max=0)
    with pytest.raises(LimitExceeded, match="5 cells together; at most 4"):
        request.rows(N_OBS, read_column, cellcount_max=4)


NOT_JSON = [
    b"",
    b"[]",
    b"3",
    b"null",
    b"{",
    b"\xff\xfe",
    b'{"mode":"topN"',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"mode":"topN","count":NaN,"set1":{"filter":{"obs":{"index":[1]}}},"set2":{"filter":{"obs":{"index":[2]}}}}',
    b'{"mode":"topN","count":Infinity}',
    b'{"mode":"topN","count":' + b"9" * 5000 + b"}",
    b'{"mode":"topN","index":[1,2],"count":3}',
]


@pytest.mark.parametrize("raw", NOT_JSON, ids=range(len(NOT_JSON)))
def test_bodies_that_are_not_a_request(raw: bytes) -> None:
    with pytest.raises(BadFilter):
        parse_diffexp(raw, N_OBS, 10)


@pytest.mark.parametrize("items", ["01,2", "1,,2", "1,2,", ",1", "1 2", "+1", "1e1", "0x1", "1_0", "", "NaN"])
def test_the_fast_path_is_as_strict_as_json(items: str) -> None:
    template = '{"mode":"topN","set1":{"filter":{"obs":{"index":[%s]}}},"set2":{"filter":{"obs":{"index":[2]}}}}'
    if items:
        with pytest.raises(BadFilter):
            parse_diffexp((template % items).encode(), N_OBS, 10)
    else:
        assert parse_diffexp((template % items).encode(), N_OBS, 10).set1.index.size == 0  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [1, 2, 10_000, 100_000])
def test_large_lists_are_read_exactly(size: int) -> None:
    rng = np.random.default_rng(size)
    positions = rng.choice(1_000_000, size, replace=False)
    request = parse_diffexp(json.dumps(body(set1=index(positions.tolist()))).encode(), 1_000_000, 10)
    np.testing.assert_array_equal(request.set1.index, np.sort(positions))
    mixed = [*positions.tolist(), [3, 5]]
    slow = parse_diffexp(json.dumps(body(set1=index(mixed))).encode(), 1_000_000, 10)
    np.testing.assert_array_equal(slow.set1.index, np.unique([*positions, 3, 4]))


def test_keys_named_index_elsewhere_are_left_alone() -> None:
    annotated = {"obs": {"annotation_value": [{"name": '"index":[1,2]', "values": ['x"index":[3]']}], "index": [4]}}
    request = parse(body(set1={"filter": annotated}))
    assert request.set1.index.tolist() == [4]  # type: ignore[union-attr]
    assert dict(request.set1.values) == {'"index":[1,2]': ('x"index":[3]',)}
    raw = json.dumps(body()).encode().replace(b'"index": [1, 9, 10]', b'"index": [1, 9], "index": [7]')
    assert rows(parse_diffexp(raw, N_OBS, 10))[0] == [7]


def test_hostile_bodies_raise_request_errors_only() -> None:
    rng = random.Random(7)
    entries = [{"name": "size", "min": 1, "max": 9}, {"name": "kind", "values": ["a", 1, True]}]
    text = json.dumps(body(set2={"filter": {"obs": {"index": [[1, 5], 7], "annotation_value": entries}}}))
    atoms = ["null", "true", "-1", "1e999", "1e5", "[]", "{}", '""', "[[", "]]", "NaN", ",", '"index":[', "\\ud800"]
    atoms.append("9" * 30)
    accepted = longest = 0
    for _ in range(4000):
        damaged = text
        for _ in range(rng.randrange(1, 4)):
            start = rng.randrange(len(damaged))
            damaged = damaged[:start] + rng.choice([*atoms, ""]) + damaged[start + rng.randrange(6) :]
        try:
            request = parse_diffexp(damaged.encode("utf-8", "surrogatepass"), N_OBS, 10)
            request.rows(N_OBS, read_column)
            accepted += 1
        except RequestError as error:
            longest = max(longest, len(str(error)))
    assert longest < 300
    assert accepted, "some damage is harmless; if none is accepted the test tries nothing"


def long_body(*lists: bytes, rest: bytes = b"") -> bytes:
    sets = (b'"set%d":{"filter":{"obs":{"index":[%s]}}}' % (number, cells) for number, cells in enumerate(lists, 1))
    return b'{"mode":"topN",' + b",".join(sets) + rest + b"}"


@pytest.mark.parametrize(
    "cells, expected",
    [
        (b"5," * 30 + b"7", [5, 7]),
        (b"[0,2]," * 30 + b"[4, 5]", [0, 1, 4]),
        (b"9,[0,2]," * 30 + b"[4,\n5],[90,1000]", [0, 1, 4, 9, *range(90, 100)]),
        (b"[5,5],[7,3]," * 9 + b"1", [1]),
        (b"[1000,2000]," * 9 + b"1", [1]),
        (b" 1 , 2 " + b",3" * 20, [1, 2, 3]),
    ],
)
def test_lists_longer_than_a_piece(cells: bytes, expected: list[int]) -> None:
    assert rows(parse_diffexp(long_body(cells, b"2"), N_OBS, 10))[0] == expected


@pytest.mark.parametrize(
    "cells",
    [
        *(
            b"1," * 30 + bad
            for bad in (b"", b"100", b"-1", b"01", b"1 2", b"1.0", b'"1"', b"[1]", b"[1,2,3]", b"[[1,2]]")
        ),
        *(
            bad + b",1" * 30
            for bad in (b"", b"100", b"-1", b"01", b"1 2", b"true", b"{}", b"[1 2,3]", b"[,1]", b"[1,]")
        ),
        *(b"[1,2]," * 9 + bad for bad in (b"[01,2]", b"]", b"[", b"[1,2", b"1,2]", b"[-1,2]", b"[1,-2]", b"[1][2,3]")),
        b"1" * 200,
        b"[" * 200,
        b"1," * 30 + b"9" * 30,
    ],
)
def test_long_lists_are_as_strict_as_json(cells: bytes) -> None:
    with pytest.raises(RequestError):
        parse_diffexp(long_body(cells, b"2"), N_OBS, 10)


def test_a_body_that_is_long_beside_its_lists_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celllists, "OTHER_BYTES", 1000)
    monkeypatch.setattr(celllists, "PIECE_BYTES", 64)
    parse_diffexp(long_body(b"1," * 5000 + b"1", b"2"), N_OBS, 10)
    for rest in (b" " * 2000, b',"x":[' + b"1," * 900 + b"1]"):
        with pytest.raises(BodyTooLarge, match="1,000 bytes"):
            parse_diffexp(long_body(b"1," * 5000 + b"1", b"2", rest=rest), N_OBS, 10)


def test_many_lists_take_no_more_memory_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(celllists, "PIECE_BYTES", 64)
    many = long_body(b"1", b"2", rest=b"".join(b',"x%d":{"index":[%s1]}' % (i, b"1," * 50) for i in range(9)))
    with pytest.raises(BadFilter, match="more than 2 long lists"):
        parse_diffexp(many, N_OBS, 10)
    few = long_body(b"1", b"2", rest=b',"x":{"index":[1,2]}' * 500)
    assert rows(parse_diffexp(few, N_OBS, 10)) == ([1], [2])
