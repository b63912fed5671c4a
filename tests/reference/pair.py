"""The same data behind both servers, asked in the same way."""

from __future__ import annotations

import json
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from flask.testing import FlaskClient

from tests.decode import Matrix, decode
from tests.reference.server import Answer

BINARY = "application/octet-stream"


class Server(Protocol):
    """Either of the two."""

    def ask(self, route: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """One request below the API's base."""


class Ours(NamedTuple):
    """Our application, through Flask's test client."""

    client: FlaskClient
    dataset: str

    def ask(self, route: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """One request; keyword names become headers."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        with self.client.open(
            f"/d/{self.dataset}/api/v0.2/{route}", method=method, data=body, headers=sent
        ) as response:
            named = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status_code, named, response.data)


class Pair(NamedTuple):
    """One dataset on both servers."""

    name: str
    theirs: Server
    ours: Server

    def json(self, route: str) -> tuple[Any, Any]:
        """Both JSON answers."""
        return tuple(_json(server.ask(route, Accept="application/json")) for server in (self.theirs, self.ours))  # type: ignore[return-value]

    def matrix(
        self, route: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[Matrix, Matrix]:
        """Both binary answers, decoded."""
        return tuple(
            _matrix(server.ask(route, method, body, Accept=BINARY, **headers)) for server in (self.theirs, self.ours)
        )  # type: ignore[return-value]

    def diffexp(self, request: dict[str, Any]) -> tuple[Any, Any]:
        """Both results of one differential expression."""
        body = json.dumps(request).encode()
        answers = [
            s.ask("diffexp/obs", "POST", body, Accept="application/json", Content_Type="application/json")
            for s in (self.theirs, self.ours)
        ]
        return tuple(map(_json, answers))  # type: ignore[return-value]

    def schema(self) -> Any:
        """Our schema, without its wrapper."""
        return _json(self.ours.ask("schema"))["schema"]

    def genes(self) -> list[str]:
        """The values of the var index."""
        route = f"annotations/var?annotation-name={quote(self.schema()['annotations']['var']['index'])}"
        return [str(gene) for gene in _matrix(self.ours.ask(route, Accept=BINARY)).columns[0].values]


def gene_filter(gene: str, column: str = "name_0") -> str:
    """Form a filter as the client does: column and value percent-encoded twice."""
    return f"var:{twice(column)}={twice(gene)}"


def twice(text: str) -> str:
    """Percent-encode two times, as JavaScript's encodeURIComponent does."""
    once = quote(text, safe="!'()*-._~")
    return quote(once, safe="!'()*-._~")


def _json(answer: Answer) -> Any:
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == "application/json"
    return json.loads(answer.body)


def _matrix(answer: Answer) -> Matrix:
    assert answer.status == 200, answer
    assert answer.headers["content-type"] == BINARY
    return decode(answer.body)
