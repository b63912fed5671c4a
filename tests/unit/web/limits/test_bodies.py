"""What a route reads of a body: never more than it can use, however the body is announced."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cxg.errors import Busy, DatasetInvalid
from cxg.memory_bounds import FILTER_BYTES, MAKING_MB, MB, PARSE_TIMES
from cxg.web.routes import data
from cxg.wire import celllists
from cxg.wire.diffexp import most_body_bytes
from tests import cxgs
from tests.served import serve
from tests.unit.web.limits.hostile_bodies import BODIES

N_OBS = 50
API = "/d/a.cxg/api/v0.2/"
JSON, FORM = "application/json", "application/x-www-form-urlencoded"
SMALL_ROUTES = [("PUT", "data/var", JSON), ("POST", "summarize/var", FORM)]
LIMITED = [*SMALL_ROUTES, ("POST", "diffexp/obs", JSON)]
MOST = {"data/var": 1_000_000, "summarize/var": 1_000_000, "diffexp/obs": most_body_bytes(N_OBS)}


class Body:
    """An endless body that counts what is read of it."""

    def __init__(self, beginning: bytes = b"", filler: bytes = b" ") -> None:
        self.left, self.filler, self.taken = beginning, filler, 0

    def read(self, size: int = -1) -> bytes:
        assert size >= 0, "a body of unknown length was read to its end"
        part = self.left[:size] + self.filler * (size - len(self.left[:size]))
        self.left = self.left[size:]
        self.taken += len(part)
        return part

    def close(self) -> None:
        """Nothing to close."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    top = tmp_path_factory.mktemp("bodies")
    cxgs.build(top / "data" / "a.cxg", n_obs=N_OBS, n_var=40)
    return serve(top / "data", top / "client")


def send(client: FlaskClient, method: str, path: str, kind: str, body: Any, length: int | None) -> TestResponse:
    """Send a body with a length, or in chunks, as gunicorn hands it over."""
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    announced = chunked if length is None else {"CONTENT_LENGTH": str(length), "wsgi.input_terminated": True}
    return client.open(path, method=method, content_type=kind, environ_overrides={"wsgi.input": body, **announced})


@pytest.mark.parametrize("method, route, kind", LIMITED)
def test_a_body_that_declares_too_many_bytes_is_not_read(
    client: FlaskClient, method: str, route: str, kind: str
) -> None:
    body = Body()
    response = send(client, method, API + route, kind, body, MOST[route] + 1)
    assert (response.status_code, body.taken) == (413, 0)
    assert f"{MOST[route]:,} bytes" in response.json["message"]
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method, route, kind", LIMITED)
def test_a_body_in_chunks_is_read_up_to_the_limit(client: FlaskClient, method: str, route: str, kind: str) -> None:
    body = Body()
    response = send(client, method, API + route, kind, body, None)
    assert response.status_code == 413
    assert f"{MOST[route]:,} bytes" in response.json["message"]
    assert body.taken <= MOST[route] + 1


@pytest.mark.parametrize("method, route, kind", LIMITED)
def test_no_more_bytes_are_read_than_declared(client: FlaskClient, method: str, route: str, kind: str) -> None:
    body = Body()
    response = send(client, method, API + route, kind, body, 100)
    assert response.status_code in (200, 400)
    assert body.taken <= 100


@pytest.mark.parametrize("kind", ["", "text/plain"])
@pytest.mark.parametrize("method, route", [(method, route) for method, route, _ in LIMITED])
def test_a_body_of_another_content_type_is_not_read(client: FlaskClient, method: str, route: str, kind: str) -> None:
    body = Body()
    assert send(client, method, API + route, kind, body, None).status_code == 415
    assert body.taken == 0


def test_a_comparison_in_a_missing_dataset_reads_no_body(client: FlaskClient) -> None:
    body = Body()
    assert send(client, "POST", "/d/none.cxg/api/v0.2/diffexp/obs", JSON, body, 100).status_code == 404
    assert body.taken == 0


def rules(client: FlaskClient) -> Iterator[tuple[str, str]]:
    """Every route of the application, and each method anybody may try on it."""
    for rule in client.application.url_map.iter_rules():
        path = rule.rule.replace("<dataset>", "a.cxg").replace("<any(obs, var):axis>", "obs")
        path = path.replace("<path:file>", "x").replace("<collection>", "x")
        assert "<" not in path
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            yield method, path


@pytest.mark.parametrize("length", [None, 10, 10**12])
def test_no_other_route_reads_a_body(client: FlaskClient, length: int | None) -> None:
    reading = {(method, API + route) for method, route, _ in LIMITED}
    tried = 0
    for method, path in rules(client):
        for kind in (JSON, FORM, "application/octet-stream", "multipart/form-data; boundary=x"):
            body = Body()
            with send(client, method, path, kind, body, length) as response:
                assert response.status_code < 500 or response.status_code == 501, (method, path)
            if (method, path) not in reading:
                assert body.taken == 0, (method, path)
                tried += 1
    assert tried > 200


@pytest.mark.parametrize("method, route, kind", SMALL_ROUTES)
def test_a_body_of_the_full_length_is_accepted(client: FlaskClient, method: str, route: str, kind: str) -> None:
    begin = b'{"filter":{"var":{"index":[3]}}}' if kind == JSON else b"method=mean&var:name_0=gene3"
    body = Body(begin, b" " if kind == JSON else b"&")
    assert send(client, method, API + route, kind, body, 1_000_000).status_code == 200
    assert body.taken == 1_000_000


@pytest.mark.parametrize("chunked", [False, True])
def test_two_lists_of_all_cells_fit_in_any_notation(client: FlaskClient, chunked: bool) -> None:
    for index in (list(range(N_OBS)), [[i, i + 1] for i in range(N_OBS)], [[0, N_OBS]]):
        both = {"filter": {"obs": {"index": index}}}
        text = json.dumps({"mode": "topN", "count": 3, "set1": both, "set2": both}).encode()
        # All that the limit has beside the lists is taken by spaces.
        text += b" " * (most_body_bytes(N_OBS) - celllists.OTHER_BYTES - len(text) + 1000)
        length = None if chunked else len(text)
        response = send(client, "POST", f"{API}diffexp/obs", JSON, Ending(text), length)
        assert response.status_code == 200, response.data


ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("path", ["proxy/nginx.conf", "beanstalk/nginx/http.conf"])
def test_nginx_passes_a_body_for_a_million_cells(path: str) -> None:
    (limit,) = re.findall(r"client_max_body_size (\d+)m;", (ROOT / path).read_text())
    most = most_body_bytes(1_000_000)
    assert most <= int(limit) << 20 <= 1.5 * most


class Ending(Body):
    """A body that ends."""

    def read(self, size: int = -1) -> bytes:
        part, self.left = self.left[:size], self.left[size:]
        return part


def test_lists_may_have_blanks_as_python_writes_them() -> None:
    for n in (1, 9, 10, 1000, 12345):
        pairs = json.dumps([[i, i + 1] for i in range(n)])
        assert most_body_bytes(n) >= 2 * len(pairs) + celllists.OTHER_BYTES


def test_a_dataset_replaced_during_a_comparison_is_compared_by_the_same_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second try has no body to read any more."""
    cxgs.build(tmp_path / "data" / "a.cxg", n_obs=N_OBS, n_var=5)
    client = serve(tmp_path / "data", tmp_path / "client")
    calls: list[tuple[list[int], list[int]]] = []

    def compare(opened: Any, store: Any, set1: Any, set2: Any, *_: Any) -> SimpleNamespace:
        calls.append((set1.tolist(), set2.tolist()))
        if len(calls) == 1:
            for file in (tmp_path / "data" / "a.cxg" / "obs").rglob("*.tdb"):
                os.utime(file, (1, 1))
            raise DatasetInvalid("It was replaced.")
        return SimpleNamespace(json=lambda: b"{}")

    monkeypatch.setattr(data, "compare", compare)
    obs = [{"filter": {"obs": {"index": index}}} for index in ([1, 2], [3])]
    response = client.post(f"{API}diffexp/obs", json={"mode": "topN", "count": 3, "set1": obs[0], "set2": obs[1]})
    assert response.status_code == 200, response.data
    assert calls == [([1, 2], [3])] * 2


@pytest.fixture(scope="module")
def peaks() -> dict[str, int]:
    """Most memory that parsing each hostile body took, in bytes, in a process that does nothing else."""
    command = [sys.executable, "-m", "tests.unit.web.limits.hostile_bodies"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", BODIES)
def test_parsing_takes_no_more_memory_than_is_reserved(peaks: dict[str, int], name: str) -> None:
    assert 0 < peaks[name] <= PARSE_TIMES * len(BODIES[name][1])


def test_bodies_take_room_while_they_are_read_and_parsed(tmp_path: Path) -> None:
    """What is read and what it becomes count in the memory plan."""
    cxgs.build(tmp_path / "data" / "a.cxg", n_obs=N_OBS, n_var=5)
    client = serve(tmp_path / "data", tmp_path / "client")
    work = client.application.extensions["cxg"].work

    taken: list[int] = []

    class Watched(Ending):
        def read(self, size: int = -1) -> bytes:
            taken.append(work.made_bytes)
            return super().read(size)

    for method, route, kind in LIMITED:
        taken.clear()
        begin = b"{" if kind == JSON else b"method=mean&"
        body = begin + (b" " if kind == JSON else b"&") * 500_000
        response = send(client, method, API + route, kind, Watched(body), len(body))
        assert response.status_code in (200, 400)
        assert max(taken) >= len(body), route
        assert work.made_bytes == 0
    assert PARSE_TIMES * FILTER_BYTES <= MAKING_MB * MB


def test_a_refused_comparison_leaves_the_connection_usable(client: FlaskClient) -> None:
    """Its body is read away if it is of usual length; nothing of it is kept."""
    turns = client.application.extensions["cxg"].work.turns

    def full(*_: str) -> None:
        raise Busy("Try again soon.")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(turns, "refuse_if_full", full)
        for length, taken in ((500_000, 500_000), (1_001_000, 0), (None, 0)):
            body = Body()
            response = send(client, "POST", f"{API}diffexp/obs", JSON, body, length)
            assert (response.status_code, response.headers["Retry-After"], body.taken) == (429, "5", taken)
