"""The status codes of both servers for good and bad requests, and where ours differ on purpose."""

from __future__ import annotations

import json
from http.client import IncompleteRead

import pytest

from tests.decode import decode
from tests.reference.pair import BINARY, Pair, twice

pytestmark = pytest.mark.reference

FORM = "application/x-www-form-urlencoded"
SETS = {"set1": {"filter": {"obs": {"index": [1, 2]}}}, "set2": {"filter": {"obs": {"index": [3, 4]}}}}


def body(**parts: object) -> bytes:
    return json.dumps({"mode": "topN", "count": 5, **SETS, **parts}).encode()


# method, route, headers, body, status of the published server, status of ours where that differs
REQUESTS = [
    ("GET", "schema", {}, None, 200, None),
    ("GET", "schema/", {}, None, 404, None),
    ("POST", "schema", {}, b"", 405, None),
    ("GET", "no-such-route", {}, None, 404, None),
    ("GET", "annotations/obs?annotation-name=no-such", {"Accept": BINARY}, None, 400, None),
    ("GET", "annotations/var?annotation-name=no-such", {"Accept": BINARY}, None, 400, None),
    ("GET", "annotations/obs?annotation-name=name_0", {"Accept": "text/html"}, None, 406, None),
    ("GET", "annotations/obs?annotation-name=name_0", {"Accept": "application/*"}, None, 200, None),
    ("GET", "annotations/obs?annotation-name=name_0", {}, None, 406, 200),  # missing-accept
    ("GET", "annotations/obs?" + "annotation-name=name_0&" * 33, {"Accept": BINARY}, None, 400, None),
    ("PUT", "annotations/obs", {"Content_Type": BINARY}, b"x", 501, None),
    ("GET", "layout/obs?layout-name=no-such", {"Accept": BINARY}, None, 400, None),
    ("GET", "layout/obs", {"Accept": "image/png"}, None, 406, None),
    ("GET", "data/var", {"Accept": BINARY}, None, 400, None),
    ("GET", "data/var?obs:name_0=x", {"Accept": BINARY}, None, 400, None),
    ("GET", "data/var?cell:name_0=x", {"Accept": BINARY}, None, 400, None),
    ("GET", "data/var?var:no-such=x", {"Accept": BINARY}, None, 400, None),
    ("GET", "data/var?nonsense", {"Accept": BINARY}, None, 400, None),
    ("GET", "data/var?var:name_0=a,b,c", {"Accept": BINARY}, None, 400, None),
    ("GET", "data/var?var:name_0=1,2", {"Accept": "text/css"}, None, 406, None),
    ("GET", f"data/var?var:{twice('name_0')}=*,*", {"Accept": BINARY}, None, 400, None),
    ("PUT", "data/var", {"Accept": BINARY}, b"{}", 415, None),
    ("PUT", "data/var", {"Accept": BINARY, "Content_Type": "application/json"}, b"{", 400, None),
    (
        "PUT",
        "data/var",
        {"Accept": BINARY, "Content_Type": "application/json"},
        b'{"filter":{"var":{"index":[99999]}}}',
        400,
        None,
    ),
    ("GET", "summarize/var?method=median&var:name_0=x", {"Accept": BINARY}, None, 400, None),
    ("GET", "summarize/var?method=mean&obs:name_0=x", {"Accept": BINARY}, None, 400, None),
    ("GET", "summarize/var?method=mean&var:no-such=x", {"Accept": BINARY}, None, 500, 400),  # statuses
    ("POST", "summarize/var", {"Accept": BINARY, "Content_Type": "application/json"}, b"{}", 415, None),
    (
        "POST",
        "summarize/var?key=wrong",
        {"Accept": BINARY, "Content_Type": FORM},
        b"method=mean&var:name_0=x",
        400,
        None,
    ),
    # body-limits
    ("POST", "summarize/var", {"Accept": BINARY, "Content_Type": FORM}, b"method=mean&" + b"x" * 1_000_001, 400, 413),
    ("GET", "genesets", {"Accept": "image/png"}, None, 406, None),
    ("GET", "genesets", {}, None, 406, 200),  # missing-accept
    ("PUT", "genesets", {"Content_Type": "application/json"}, b'{"tid":1,"genesets":[]}', 501, None),
    ("POST", "diffexp/obs", {"Content_Type": "text/plain"}, body(), 415, None),
    ("POST", "diffexp/obs", {"Content_Type": "application/json"}, body(), 200, None),
    ("POST", "diffexp/obs", {"Content_Type": "application/json"}, b"{", 400, None),
    ("POST", "diffexp/obs", {"Content_Type": "application/json"}, b"{}", 400, None),
    ("POST", "diffexp/obs", {"Content_Type": "application/json"}, body(mode="best"), 500, 400),  # statuses
    ("POST", "diffexp/obs", {"Content_Type": "application/json"}, body(mode="varFilter"), 501, None),
    ("POST", "diffexp/obs", {"Content_Type": "application/json"}, body(count="five"), 500, 400),  # statuses
    ("POST", "diffexp/obs", {"Content_Type": "application/json"}, body(count=None), 400, None),
    (
        "POST",
        "diffexp/obs",
        {"Content_Type": "application/json"},
        body(set1={"filter": {"var": {"index": [1]}}}),
        400,
        None,
    ),
    (
        "POST",
        "diffexp/obs",
        {"Content_Type": "application/json"},
        body(set1={"filter": {"obs": {"index": [99999]}}}),
        400,
        None,
    ),
    (
        "POST",
        "diffexp/obs",
        {"Content_Type": "application/json"},
        body(set1={"filter": {"obs": {"index": [-1]}}}),
        200,
        400,
    ),  # negative-index
    ("POST", "diffexp/obs", {"Content_Type": "application/json"}, body(count=100_000), 400, 200),  # many-genes-first
    ("POST", "diffexp/obs", {"Content_Type": "application/json"}, body(count=5.0), 500, 400),  # statuses
    (
        "POST",
        "diffexp/obs",
        {"Content_Type": "application/json"},
        body(set1={"filter": {"obs": {"index": []}}}),
        200,
        400,
    ),  # empty-sets
    (
        "POST",
        "diffexp/obs",
        {"Content_Type": "application/json"},
        json.dumps({"mode": "topN", **SETS}).encode(),
        400,
        200,
    ),  # default-count
    ("GET", "diffexp/obs", {}, None, 405, None),
    ("GET", "layout/obs?layout-name=umap&layout-name=umap", {"Accept": BINARY}, None, 200, 400),  # repeated-names
    (
        "GET",
        "annotations/obs?annotation-name=phase&annotation-name=phase",
        {"Accept": BINARY},
        None,
        200,
        400,
    ),  # repeated-names
]


@pytest.mark.parametrize("method, route, headers, sent, theirs, ours", REQUESTS)
def test_status(real_pair: Pair, method, route, headers, sent, theirs, ours) -> None:
    assert real_pair.theirs.ask(route, method, sent, **headers).status == theirs
    answer = real_pair.ours.ask(route, method, sent, **headers)
    assert answer.status == (ours or theirs), answer
    if answer.status == 405:
        assert answer.headers["allow"]


def test_without_compression(real_pair: Pair) -> None:
    route = "annotations/obs?annotation-name=phase"
    with pytest.raises(IncompleteRead):
        real_pair.theirs.ask(route, Accept=BINARY, Accept_Encoding="identity")
    plain = real_pair.ours.ask(route, Accept=BINARY, Accept_Encoding="identity")  # uncompressed
    assert decode(plain.body).n_rows == 700


def test_cookies(real_pair: Pair) -> None:
    assert "set-cookie" in real_pair.theirs.ask("config").headers
    assert "set-cookie" not in real_pair.ours.ask("config").headers  # no-cookie
