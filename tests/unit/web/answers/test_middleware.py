"""The fast path answers exactly as Flask would, and does no work beside looking up."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cxg.datasets.catalog import Catalog
from cxg.datasets.opening import Times
from cxg.storage.storage import Storage
from cxg.web.answers import middleware as fast
from cxg.web.answers.kept import KEPT_ROUTES, split_path
from tests import cxgs
from tests.served import serve

ROUTES = [
    "schema",
    "colors",
    "annotations/obs?annotation-name=name_0",
    "annotations/var?annotation-name=name_0",
    "layout/obs?layout-name=umap",
    "data/var?var:name_0=gene1",
    "summarize/var?method=mean&var:name_0=gene1",
]
NAMES = ["plain.cxg", "T cells, 50% & more (β).cxg"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    root = tmp_path_factory.mktemp("root")
    for name in NAMES:
        cxgs.build(root / name, n_obs=300)
    # However slow the machine is, a dataset that was asked once counts as checked a moment ago.
    return serve(root, Path(tmp_path_factory.mktemp("client")), times=Times(check_s=3600, most_check_s=3600))


@pytest.fixture
def passed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that the fast path gave on to Flask."""
    asked: list[str] = []
    call = fast.CachedAnswers.__call__

    def spy(self: fast.CachedAnswers, environ, start_response):
        app = self._app

        def inner(environ, start_response):
            asked.append(environ["PATH_INFO"])
            return app(environ, start_response)

        self._app = inner
        try:
            return call(self, environ, start_response)
        finally:
            self._app = app

    monkeypatch.setattr(fast.CachedAnswers, "__call__", spy)
    return asked


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("encoding", ["gzip, br", "identity"])
def test_a_repeat_is_the_same_answer(
    client: FlaskClient, passed: list[str], name: str, route: str, encoding: str
) -> None:
    url = f"/d/{name.replace('%', '%25')}/api/v0.2/{route}"
    first = client.get(url, headers={"Accept-Encoding": encoding})
    assert first.status_code == 200
    passed.clear()
    second = client.get(url, headers={"Accept-Encoding": encoding})
    assert passed == []
    assert second.data == first.data
    assert sorted(second.headers.items()) == sorted(first.headers.items())
    unchanged = client.get(url, headers={"Accept-Encoding": encoding, "If-None-Match": first.headers["ETag"]})
    assert (unchanged.status_code, unchanged.data, passed) == (304, b"", [])
    head = client.head(url, headers={"Accept-Encoding": encoding})
    assert (head.status_code, head.data, head.headers["Content-Length"]) == (200, b"", first.headers["Content-Length"])


@pytest.mark.parametrize(
    "url, headers",
    [
        ("/d/plain.cxg/api/v0.2/layout/obs?layout-name=umap", {"Accept": "text/html"}),
        ("/d/plain.cxg/api/v0.2/schema/", {}),
        ("/d/plain.cxg/api/v0.2/nothing", {}),
        ("/d/nothing.cxg/api/v0.2/schema", {}),
        ("/e/plain.cxg/api/v0.2/schema", {}),
        ("/d/api/v0.2/schema", {}),
        ("/api/v0.2/schema", {}),
    ],
)
def test_all_other_requests_go_to_flask(
    client: FlaskClient, passed: list[str], url: str, headers: dict[str, str]
) -> None:
    client.get("/d/plain.cxg/api/v0.2/schema")
    client.get("/d/plain.cxg/api/v0.2/layout/obs?layout-name=umap")
    passed.clear()
    assert client.get(url, headers=headers).status_code in (404, 406)
    assert len(passed) == 1


def test_a_warm_request_reads_and_opens_nothing(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for route in ROUTES:
        client.get(f"/d/plain.cxg/api/v0.2/{route}")

    def fail(*_: object, **__: object) -> None:
        pytest.fail("a warm request touched the storage")

    for owner, name in ((Storage, "open_array"), (Storage, "listing"), (Storage, "children"), (Catalog, "lease")):
        monkeypatch.setattr(owner, name, fail)
    monkeypatch.setattr("tiledb.open", fail)
    for route in ROUTES:
        assert client.get(f"/d/plain.cxg/api/v0.2/{route}").status_code == 200


def test_every_route_that_answers_from_the_dataset_alone_is_kept(client: FlaskClient) -> None:
    """A new GET route is declared in `KEPT_ROUTES`, or named here with the reason why it cannot be."""
    not_kept = {
        "config": "its answer also depends on the description beside the dataset",
        "markers": "there is none while the sums over the cells of each label are not made yet",
        "genesets": "its answer also depends on the description, and on the Accept header",
    }
    found = set()
    for rule in client.application.url_map.iter_rules():
        route = split_path(rule.rule)[1]
        if route and "GET" in (rule.methods or ()):
            axes = ("obs", "var") if "<" in route else ("",)
            found |= {route.replace("<any(obs, var):axis>", axis) for axis in axes}
    assert found == {*KEPT_ROUTES, *not_kept}
    assert {route.partition("?")[0] for route in ROUTES} == set(KEPT_ROUTES)
