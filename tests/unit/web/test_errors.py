"""From exception to answer: faults of the connection, of the store, and of our own."""

from __future__ import annotations

import logging

import pytest
from flask.testing import FlaskClient
from gunicorn.http.errors import InvalidChunkSize, NoMoreData

from cxg.datasets.catalog import Catalog
from cxg.errors import DatasetInvalid, StorageUnavailable
from cxg.web import errors
from cxg.web.services import Services
from tests import cxgs
from tests.served import serve

API = "/d/a.cxg/api/v0.2/"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> FlaskClient:
    top = tmp_path_factory.mktemp("errors")
    cxgs.build(top / "data" / "a.cxg", n_obs=5, n_var=5)
    return serve(top / "data", top / "client")


class BrokenBody:
    """A body as gunicorn hands it over when its chunks are none, or when it ends too soon."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, size: int = -1) -> bytes:
        raise self.error

    def close(self) -> None:
        """Nothing to close."""


@pytest.mark.parametrize("error", [InvalidChunkSize(b"zz"), NoMoreData(b"half")], ids=["no chunks", "too short"])
@pytest.mark.parametrize(
    "method, route, kind",
    [
        ("POST", "diffexp/obs", "application/json"),
        ("PUT", "data/var", "application/json"),
        ("POST", "summarize/var", "application/x-www-form-urlencoded"),
    ],
)
def test_a_broken_body_is_the_clients_fault(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, error: Exception, method: str, route: str, kind: str
) -> None:
    response = client.open(
        API + route,
        method=method,
        content_type=kind,
        environ_overrides={
            "wsgi.input": BrokenBody(error),
            "wsgi.input_terminated": True,
            "HTTP_TRANSFER_ENCODING": "chunked",
        },
    )
    assert response.status_code == 400
    assert response.json["message"].endswith(".")
    assert caplog.records == []


def test_a_body_that_ends_early_is_the_clients_fault(client: FlaskClient) -> None:
    response = client.post(
        f"{API}diffexp/obs", data=b"{}", content_type="application/json", environ_overrides={"CONTENT_LENGTH": "50"}
    )
    assert response.status_code == 400


def test_a_body_that_is_too_long_is_refused_unread(client: FlaskClient) -> None:
    response = client.post(
        f"{API}diffexp/obs",
        data=b"{}",
        content_type="application/json",
        environ_overrides={"CONTENT_LENGTH": str(10**9)},
    )
    assert response.status_code == 413
    assert response.json["message"].endswith(".")


def test_unavailable_storage_is_answered_with_retry_after(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise StorageUnavailable("The storage did not answer; try again soon.")

    monkeypatch.setattr(Services, "with_dataset", away)
    response = client.get(f"{API}schema")
    assert (response.status_code, response.headers["Retry-After"]) == (503, str(errors.RETRY_AFTER_S))
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "kind, route, status",
    [
        *((StorageUnavailable, f"{API}schema", 503), (DatasetInvalid, f"{API}schema", 400)),
        *((StorageUnavailable, "/d/a.cxg/", 503), (DatasetInvalid, "/d/a.cxg/", 404)),
    ],
)
def test_the_cause_of_an_unreadable_dataset_is_logged_and_not_sent(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind, route, status
) -> None:
    def fail(*_: object, **__: object) -> None:
        error = kind("The sentence.")
        error.add_note("the array\nis short")
        raise error from OSError(5, "the inner cause")

    monkeypatch.setattr(Catalog, "lease", fail)
    response = client.get(route)
    assert response.status_code == status
    assert response.headers.get("Retry-After") == (str(errors.RETRY_AFTER_S) if status == 503 else None)
    (record,) = caplog.records
    told = record.getMessage()
    assert record.levelname == "WARNING"
    assert told == f"GET {route}: The sentence. [the array is short; OSError: [Errno 5] the inner cause]"
    assert record.exc_info is None
    assert "cause" not in response.text
    assert "short" not in response.text


def test_an_unexpected_error_is_logged_and_its_text_is_not_sent(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr(Services, "with_dataset", fail)
    with caplog.at_level(logging.ERROR):
        response = client.get(f"{API}schema")
    assert response.status_code == 500
    mark = response.headers["X-Request-ID"]
    assert mark in response.json["message"]
    assert "secret" not in response.text
    (record,) = caplog.records
    assert mark in record.getMessage()
    assert "Traceback" in record.getMessage()
