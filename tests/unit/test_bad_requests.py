"""What a request can get wrong, and the one clear sentence and status it gets back.

The table at the top is the whole story; everything below walks it.
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests import cxgs
from tests.served import serve

BINARY = {"Accept": "application/octet-stream"}
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", **BINARY}
ONE = {"filter": {"obs": {"index": [0]}}}
TWO = {"filter": {"obs": {"index": [1]}}}


def diffexp(**parts: object) -> bytes:
    request = {"mode": "topN", "count": 5, "set1": ONE, "set2": TWO, **parts}
    return json.dumps({key: value for key, value in request.items() if value is not ...}).encode()


def cells(**criteria: object) -> dict[str, object]:
    return {"filter": {"obs": criteria}}


# method, route below /d/good.cxg/api/v0.2/, headers, body, status, what the sentence must name
BAD_REQUESTS = [
    # annotations
    ("GET", "annotations/obs?annotation-name=nope", BINARY, None, 400, "nope"),
    ("GET", "annotations/var?annotation-name=nope", BINARY, None, 400, "nope"),
    ("GET", "annotations/obs?annotation-name=", BINARY, None, 400, "column"),
    ("GET", "annotations/obs?" + "&".join(f"annotation-name=c{i}" for i in range(33)), BINARY, None, 400, "32"),
    ("GET", "annotations/obs?annotation-name=name_0&annotation-name=name_0", BINARY, None, 400, "name_0"),
    ("GET", "annotations/obs?annotation-name=name_0", {"Accept": "text/html"}, None, 406, "octet-stream"),
    (
        "GET",
        "annotations/obs?annotation-name=name_0",
        {"Accept": "application/octet-stream;q=0"},
        None,
        406,
        "octet-stream",
    ),
    ("GET", "annotations/uns?annotation-name=name_0", BINARY, None, 404, "address"),
    ("PUT", "annotations/obs", {"Content-Type": "application/octet-stream"}, b"\0\1", 501, "read"),
    ("DELETE", "annotations/obs", {}, None, 405, "method"),
    # embeddings
    ("GET", "layout/obs?layout-name=nope", BINARY, None, 400, "nope"),
    ("GET", "layout/obs?" + "&".join(f"layout-name=e{i}" for i in range(33)), BINARY, None, 400, "32"),
    ("GET", "layout/obs?layout-name=umap&layout-name=umap", BINARY, None, 400, "umap"),
    ("GET", "layout/obs?layout-name=../obs", BINARY, None, 400, "obs"),
    ("GET", "layout/obs", {"Accept": "image/png"}, None, 406, "octet-stream"),
    ("PUT", "layout/obs", {"Content-Type": "application/octet-stream"}, b"", 501, "read"),
    # expression
    ("GET", "data/var", BINARY, None, 400, "filter"),
    ("GET", "data/var?", BINARY, None, 400, "filter"),
    ("GET", "data/var?hello", BINARY, None, 400, "hello"),
    ("GET", "data/var?obs:name_0=x", BINARY, None, 400, "obs"),
    ("GET", "data/var?cells:name_0=x", BINARY, None, 400, "cells"),
    ("GET", "data/var?var:name_0:x=y", BINARY, None, 400, "var:"),
    ("GET", "data/var?var:nope=x", BINARY, None, 400, "nope"),
    ("GET", "data/var?var:name_0=a,b,c", BINARY, None, 400, "3 values"),
    ("GET", "data/var?var:number=*,*", BINARY, None, 400, "open"),
    ("GET", "data/var?var:number=1,x", BINARY, None, 400, "x"),
    ("GET", "data/var?var:number=1,nan", BINARY, None, 400, "nan"),
    ("GET", "data/var?var:number=1,2&var:number=3,4", BINARY, None, 400, "number"),
    ("GET", "data/var?var:name_0=1,2", BINARY, None, 400, "name_0"),
    ("GET", "data/var?var:number=-1000000,*", BINARY, None, 400, "32"),
    ("GET", "data/var?var:name_0=x", {"Accept": "application/json"}, None, 406, "octet-stream"),
    ("PUT", "data/var", {**BINARY, "Content-Type": "text/plain"}, b"{}", 415, "application/json"),
    ("PUT", "data/var", BINARY, None, 415, "application/json"),
    ("PUT", "data/var", {**BINARY, **JSON}, b"", 400, "JSON"),
    ("PUT", "data/var", {**BINARY, **JSON}, b"{", 400, "JSON"),
    ("PUT", "data/var", {**BINARY, **JSON}, b"\xff\xfe", 400, "JSON"),
    ("PUT", "data/var", {**BINARY, **JSON}, b"[]", 400, "object"),
    ("PUT", "data/var", {**BINARY, **JSON}, b"{}", 400, "filter"),
    ("PUT", "data/var", {**BINARY, **JSON}, b'{"filter": null}', 400, "filter"),
    ("PUT", "data/var", {**BINARY, **JSON}, b'{"filter": {"obs": {"index": [0]}}}', 400, "obs"),
    ("PUT", "data/var", {**BINARY, **JSON}, b'{"filter": {"var": {"index": [123456]}}}', 400, "123456"),
    ("PUT", "data/var", {**BINARY, **JSON}, b'{"filter": {"var": {"index": [-1]}}}', 400, "negative"),
    ("PUT", "data/var", {**BINARY, **JSON}, b'{"filter": {"var": {"index": "all"}}}', 400, "index"),
    ("PUT", "data/var", {**BINARY, **JSON}, b"[" * 100_000, 400, "nested"),
    # means
    ("GET", "summarize/var?method=median&var:name_0=x", BINARY, None, 400, "median"),
    ("GET", "summarize/var?method=mean&obs:name_0=x", BINARY, None, 400, "obs"),
    ("GET", "summarize/var?method=mean&var:nope=x", BINARY, None, 400, "nope"),
    ("GET", "summarize/var?method=mean", {"Accept": "text/csv"}, None, 406, "octet-stream"),
    ("POST", "summarize/var", {**BINARY, **JSON}, b"{}", 415, "x-www-form-urlencoded"),
    ("POST", "summarize/var?key=abc", FORM, b"method=mean&var:name_0=x", 400, "key"),
    ("POST", "summarize/var", FORM, b"method=mean&" + b"x" * 1_000_001, 413, "1,000,000"),
    ("PUT", "data/var", {**BINARY, **JSON}, b" " * 1_000_001, 413, "1,000,000"),
    ("POST", "diffexp/obs", JSON, b" " * 2_000_000, 413, "cells"),
    ("PUT", "summarize/var", FORM, b"", 405, "method"),
    # differential expression
    ("POST", "diffexp/obs", {"Content-Type": "text/plain"}, diffexp(), 415, "application/json"),
    ("POST", "diffexp/obs", {}, diffexp(), 415, "application/json"),
    ("POST", "diffexp/obs", JSON, b"", 400, "JSON"),
    ("POST", "diffexp/obs", JSON, b"null", 400, "object"),
    ("POST", "diffexp/obs", JSON, b"{}", 400, "mode"),
    ("POST", "diffexp/obs", JSON, diffexp(mode="best"), 400, "mode"),
    ("POST", "diffexp/obs", JSON, diffexp(mode="varFilter"), 501, "varFilter"),
    ("POST", "diffexp/obs", JSON, diffexp(count="many"), 400, "count"),
    ("POST", "diffexp/obs", JSON, diffexp(count=None), 400, "count"),
    ("POST", "diffexp/obs", JSON, diffexp(count=True), 400, "count"),
    ("POST", "diffexp/obs", JSON, diffexp(set1=...), 400, "set1"),
    ("POST", "diffexp/obs", JSON, diffexp(set2=[1, 2]), 400, "set2"),
    ("POST", "diffexp/obs", JSON, diffexp(set1=cells(index=[])), 400, "set1"),
    ("POST", "diffexp/obs", JSON, diffexp(set1=cells(index=[123456])), 400, "123456"),
    ("POST", "diffexp/obs", JSON, diffexp(set1=cells(index=[-1])), 400, "negative"),
    ("POST", "diffexp/obs", JSON, diffexp(set1=cells(index=[1.5])), 400, "whole"),
    ("POST", "diffexp/obs", JSON, diffexp(set1=cells(index=["0"])), 400, "whole"),
    ("POST", "diffexp/obs", JSON, diffexp(set1=cells(index=[10**30])), 400, "position"),
    ("POST", "diffexp/obs", JSON, diffexp(set1={"filter": {"var": {"index": [0]}}}), 400, "var"),
    (
        "POST",
        "diffexp/obs",
        JSON,
        diffexp(set1=cells(annotation_value=[{"name": "nope", "values": ["a"]}])),
        400,
        "nope",
    ),
    ("POST", "diffexp/obs", JSON, diffexp(set1=cells(annotation_value=[{"values": ["a"]}])), 400, "name"),
    (
        "POST",
        "diffexp/obs",
        JSON,
        diffexp(set1=cells(annotation_value=[{"name": "number", "values": ["a"]}])),
        400,
        "number",
    ),
    ("POST", "diffexp/obs", JSON, diffexp(set1=cells(annotation_value=[{"name": "label", "min": 1}])), 400, "label"),
    ("POST", "diffexp/obs", JSON, b'{"mode": "topN", "count": NaN}', 400, "NaN"),
    ("GET", "diffexp/obs", {}, None, 405, "method"),
    # the rest
    ("GET", "genesets", {"Accept": "image/png"}, None, 406, "json"),
    ("PUT", "genesets", JSON, b'{"genesets": [], "tid": 1}', 501, "read"),
    ("POST", "schema", JSON, b"{}", 405, "method"),
    ("GET", "schema/", {}, None, 404, "address"),
    ("GET", "nothing", {}, None, 404, "address"),
    ("GET", "../../../../etc/passwd", {}, None, 404, "address"),
]

# What may stand where the name of a dataset belongs; none of these is one.
BAD_NAMES = [
    "nope.cxg",
    ".",
    "..",
    "...",
    "%2e",
    "%2e%2e",
    "%2e%2e%2foutside.cxg",
    "..%2foutside.cxg",
    "..%5coutside.cxg",
    "..%252foutside.cxg",
    "good.cxg%2f..%2f..%2foutside.cxg",
    "good.cxg%2fobs",
    "good.cxg%2f",
    "good.cxg%00",
    "good.cxg%0a",
    "%00",
    "%20good.cxg",
    "good.cxg%20",
    "GOOD.CXG",
    "%2fetc%2fpasswd",
    "%2fetc",
    "~",
    "$HOME",
    "*",
    "good%2a",
    "file:%2f%2f%2fetc%2fpasswd",
    "s3:%2f%2fbucket%2fgood.cxg",
    "http:%2f%2f127.0.0.1%2fgood.cxg",
    "mem:%2f%2fgood.cxg",
    "static",
    ".hidden.cxg",
    "plain-folder",
    "a-file.cxg",
    "%ff%fe",
    "%e2%80%ae",
    "x" * 255,
    "x" * 5000,
]
BELOW_A_NAME = ["/", "/api/v0.2/schema", "/api/v0.2/annotations/obs?annotation-name=name_0", "/api/v0.2/colors"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataroot with one good dataset and some bait, inside it and beside it."""
    top = tmp_path_factory.mktemp("very-secret-place")
    dataroot = top / "dataroot"
    cxgs.build(dataroot / "good.cxg")
    cxgs.build(top / "outside.cxg")
    cxgs.build(dataroot / ".hidden.cxg")
    (dataroot / "plain-folder").mkdir()
    (dataroot / "a-file.cxg").write_text("no CXG")
    return dataroot


@pytest.fixture(scope="module")
def client(folder: Path) -> FlaskClient:
    return serve(folder, folder.parent / "client")


def assert_one_sentence(response: TestResponse, folder: Path) -> str:
    """A JSON body with one readable sentence that gives nothing away."""
    assert response.content_type == "application/json"
    body = json.loads(response.data)
    assert list(body) == ["message"]
    sentence = body["message"]
    assert 10 < len(sentence) < 300, sentence
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert sentence.isprintable()
    for telltale in (
        "Traceback",
        "Error(",
        "tiledb",
        "TileDB",
        str(folder),
        "very-secret-place",
        "site-packages",
        ".py",
    ):
        assert telltale not in sentence
    return str(sentence)


@pytest.mark.parametrize("method, route, headers, body, status, named", BAD_REQUESTS)
def test_bad_request(client: FlaskClient, folder: Path, method, route, headers, body, status, named) -> None:
    response = client.open(f"/d/good.cxg/api/v0.2/{route}", method=method, headers=headers, data=body)
    assert response.status_code == status, response.data
    assert named in assert_one_sentence(response, folder)
    assert response.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in response.headers
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    if status == 405:
        assert "GET" in response.headers["Allow"] or "POST" in response.headers["Allow"]


def test_there_are_enough() -> None:
    assert len(BAD_REQUESTS) >= 20


@pytest.mark.parametrize("below", BELOW_A_NAME)
@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_name(client: FlaskClient, folder: Path, name: str, below: str) -> None:
    response = client.get(f"/d/{name}{below}")
    assert response.status_code == 404, (response.status_code, response.headers, response.data[:500])
    if "/api/" in below:
        assert_one_sentence(response, folder)
    else:
        assert b"very-secret-place" not in response.data
        assert response.content_type == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    "path",
    [
        "//etc/passwd",
        "/d//etc/passwd",
        "/d/../outside.cxg/",
        "/../outside.cxg/api/v0.2/schema",
        "/outside.cxg/api/v0.2/schema",
    ],
)
def test_bad_path(client: FlaskClient, path: str) -> None:
    # The path is put in as a server would, since a client library would tidy it.
    response = client.open(environ_overrides={"PATH_INFO": unquote(path)})
    assert response.status_code == 404 or (
        response.status_code in (301, 308) and client.get(response.location).status_code == 404
    )
    assert b"very-secret-place" not in response.data


@pytest.mark.parametrize(
    "path",
    [
        "../../pyproject.toml",
        "%2e%2e/%2e%2e/index.html",
        "..%2f..%2findex.html",
        "/etc/passwd",
        "nope.js",
        "",
        "%00",
        "x" * 5000,
    ],
)
@pytest.mark.parametrize("base", ["/d/static/", "/d/good.cxg/static/", "/static/"])
def test_static_path(client: FlaskClient, base: str, path: str) -> None:
    assert client.get(base + path).status_code == 404


def test_a_bad_request_leaves_the_dataset_open(client: FlaskClient) -> None:
    good = client.get("/d/good.cxg/api/v0.2/layout/obs", headers=BINARY).data
    for method, route, headers, body, _, _ in BAD_REQUESTS:
        client.open(f"/d/good.cxg/api/v0.2/{route}", method=method, headers=headers, data=body)
    assert client.get("/d/good.cxg/api/v0.2/layout/obs", headers=BINARY).data == good


def test_what_is_too_long_for_a_message_is_cut_short(client: FlaskClient, folder: Path) -> None:
    for route in (
        f"annotations/obs?annotation-name={'n' * 4000}",
        f"data/var?var:{'n' * 4000}=x",
        f"layout/obs?layout-name={'n' * 4000}",
    ):
        response = client.get(f"/d/good.cxg/api/v0.2/{route}", headers=BINARY)
        assert response.status_code == 400
        assert_one_sentence(response, folder)


def test_line_breaks_and_markup_do_not_come_back(client: FlaskClient, folder: Path) -> None:
    response = client.get(
        "/d/good.cxg/api/v0.2/annotations/obs?annotation-name=%0d%0aSet-Cookie:x%3Cscript%3E", headers=BINARY
    )
    assert response.status_code == 400
    assert_one_sentence(response, folder)
    page = client.get("/d/%3Cscript%3Ealert(1)%3C%2fscript%3E/")
    assert page.status_code == 404
    assert b"<script>alert" not in page.data
