"""The same requests over a folder and over S3 give the same bytes, for every kind of CXG."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests import cxgs
from tests.decode import decode
from tests.integration import minio
from tests.served import serve

pytestmark = pytest.mark.integration

BUCKET = "datasets"
PREFIX = "some where/data"
FORM = "application/x-www-form-urlencoded"
# A picture's version comes from the files' times or tags, which differ between the two.
CHANGING = re.compile(rb"\?v=[0-9a-f]+")
REAL = Path(__file__).resolve().parents[3] / "shared" / "data"


class Servers(NamedTuple):
    """The same datasets behind the same application, read from two places."""

    folder: FlaskClient
    s3: FlaskClient


def names() -> list[str]:
    real = [path.name for path in sorted(REAL.glob("*.cxg"))] if REAL.is_dir() else []
    return [f"{kind}.cxg" for kind in cxgs.KINDS] + real


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    top = tmp_path_factory.mktemp("s3")
    dataroot = top / "data"
    for kind, build in cxgs.KINDS.items():
        build(dataroot / f"{kind}.cxg")
    for real in sorted(REAL.glob("*.cxg")) if REAL.is_dir() else []:
        shutil.copytree(real, dataroot / real.name, copy_function=shutil.copyfile)
    with minio.running() as store, pytest.MonkeyPatch.context() as environment:
        store.client().create_bucket(Bucket=BUCKET)
        store.upload(dataroot, BUCKET, PREFIX)
        for name, value in store.environment().items():
            environment.setenv(name, value)
        locator = {"s3": {"endpoint_url": store.url, "region_name": "us-east-1"}}
        yield Servers(
            serve(dataroot, top / "client"),
            serve(f"s3://{BUCKET}/{PREFIX}", top / "client", data_locator=locator),
        )


Request = tuple[str, str, dict[str, Any]]


def get(route: str) -> Request:
    return "GET", route, {}


def suite(client: FlaskClient, dataset: str) -> list[Request]:
    """Requests for everything the dataset holds, worked out from its schema."""
    api = f"/d/{dataset}/api/v0.2/"
    found = [
        get(route)
        for route in ("schema", "config", "colors", "genesets", "layout/obs", "layout/obs?layout-name=no-such")
    ]
    found.append(("GET", "genesets", {"headers": {"Accept": "text/csv"}}))
    answer = client.get(f"{api}schema")
    if answer.status_code != 200:  # damaged on purpose: its errors must be equal too
        return [*found, get("annotations/obs?annotation-name=name_0"), get("data/var?var:name_0=x")]
    schema = answer.json["schema"]
    for axis in ("obs", "var"):
        columns = [column["name"] for column in schema["annotations"][axis]["columns"]]
        found += [get(f"annotations/{axis}?annotation-name={quote(name, safe='')}") for name in (*columns, "no-such")]
    found += [get(f"layout/obs?layout-name={quote(entry['name'], safe='')}") for entry in schema["layout"]["obs"]]
    return found + expression(client, api, schema)


def expression(client: FlaskClient, api: str, schema: dict[str, Any]) -> list[Request]:
    n_obs, n_var = schema["dataframe"]["nObs"], schema["dataframe"]["nVar"]
    index = schema["annotations"]["var"]["index"]
    answer = client.get(f"{api}annotations/var?annotation-name={quote(index)}")
    genes = decode(answer.data).columns[0].values if answer.status_code == 200 else []
    step = max(1, len(genes) // 12)
    filters = [f"var:{quote(quote(index))}={quote(quote(gene, safe=''), safe='')}" for gene in genes[::step]]
    found = [get(f"data/var?{one}") for one in (*filters, "&".join(filters[:3]), "var:no-such=x", "")]
    query = "method=mean&" + "&".join(filters)
    found += [get(f"summarize/var?{query}"), get("summarize/var?method=mean&")]
    found.append(("POST", "summarize/var", {"data": query, "content_type": FORM}))
    found.append(("PUT", "data/var", {"json": {"filter": {"var": {"index": [0, [1, min(4, n_var)]]}}}}))
    half = max(1, n_obs // 2)
    for first, second in (
        ([[0, half]], [[half, n_obs]]),
        ([0], list(range(1, min(n_obs, 40), 3)) or [0]),
        ([[0, n_obs]], [n_obs - 1]),
        ([n_obs], [0]),
    ):
        sets = {"set1": {"filter": {"obs": {"index": first}}}, "set2": {"filter": {"obs": {"index": second}}}}
        found.append(("POST", "diffexp/obs", {"json": {"mode": "topN", "count": 20, **sets}}))
    return found


def approximately(answer: dict[str, list[list[float]]]) -> dict[str, list[Any]]:
    """A comparison's answer, to be compared with another: the same genes in the same order, numbers to ten digits."""
    return {name: [pytest.approx(gene, rel=1e-10, nan_ok=True) for gene in genes] for name, genes in answer.items()}


@pytest.mark.parametrize("dataset", names())
def test_equal_bodies(servers: Servers, dataset: str) -> None:
    requests = suite(servers.folder, dataset)
    assert len(requests) > 8
    for method, route, options in requests:
        here, there = (client.open(f"/d/{dataset}/api/v0.2/{route}", method=method, **options) for client in servers)
        assert (there.status_code, there.content_type) == (here.status_code, here.content_type), (
            route,
            there.data[:300],
            here.data[:300],
        )
        if route == "diffexp/obs" and here.status_code == 200:
            # The last digits depend on the order in which cells are added up: a folder is read by several threads.
            assert there.json == approximately(here.json), route
        else:
            assert there.data == here.data, route
        assert here.status_code != 500, (route, here.data)
    assert sum(client.get(f"/d/{dataset}/").status_code for client in servers) in (400, 800, 808)


def test_every_good_kind_answers(servers: Servers) -> None:
    answered = [name for name in names() if servers.s3.get(f"/d/{name}/api/v0.2/schema").status_code == 200]
    assert len(answered) > 8


def complete_list(client: FlaskClient) -> TestResponse:
    """The start page, asked for until no dataset is still being read (each request waits a moment for them)."""
    for _ in range(40):
        response = client.get("/")
        if b'http-equiv="refresh"' not in response.data:
            return response
    pytest.fail("the list of datasets was never complete")


def test_the_lists_are_equal(servers: Servers) -> None:
    here, there = (complete_list(client) for client in servers)
    assert there.status_code == 200
    for name in names():
        assert name.encode() in there.data
    assert CHANGING.sub(b"", here.data) == CHANGING.sub(b"", there.data)


def test_what_is_not_there(servers: Servers) -> None:
    for name in ("nope.cxg", "..", "%2e%2e", "..%2fdata%2fx.cxg", "x" * 500):
        here, there = (client.get(f"/d/{name}/api/v0.2/schema") for client in servers)
        assert here.status_code == there.status_code == 404, name
        assert here.data == there.data


def test_the_store_is_in_the_health(servers: Servers) -> None:
    for client in servers:
        assert client.get("/health/ready").status_code == 200
        assert json.loads(client.get("/health").data)["status"] == "pass"


def test_an_unchanged_answer_is_revalidated(servers: Servers) -> None:
    route = f"/d/{names()[0]}/api/v0.2/schema"
    for client in servers:
        etag = client.get(route).headers["ETag"]
        assert client.get(route, headers={"If-None-Match": etag}).status_code == 304


def test_wrong_credentials_are_storage_out_of_reach(servers: Servers, tmp_path: Path, monkeypatch) -> None:
    endpoint = servers.s3.application.extensions["cxg"].config.data_locator.s3.endpoint_url
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    locator = {"s3": {"endpoint_url": endpoint, "region_name": "us-east-1"}}
    client = serve(f"s3://{BUCKET}/{PREFIX}", tmp_path, data_locator=locator)
    response = client.get(f"/d/{names()[0]}/api/v0.2/schema")
    assert response.status_code == 503
    assert "wrong" not in response.text
    assert os.environ["AWS_ACCESS_KEY_ID"] not in response.text
    assert client.get("/health/ready").status_code == 503
    assert client.get("/health/live").status_code == 200
