"""The routes whose answers are kept, and the keys of these answers, for Flask's routes and the middleware."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha1
from typing import Any

API = "api/v0.2"
BINARY = "application/octet-stream"
JSON = "application/json"
# Every GET route below `API` whose answer depends only on the dataset, the URL and the encoding, with the content type
# that the Accept header must allow; None ignores the header, as the published server does for JSON.
KEPT_ROUTES: dict[str, str | None] = {
    "schema": None,
    "colors": None,
    "annotations/obs": BINARY,
    "annotations/var": BINARY,
    "layout/obs": BINARY,
    "data/var": BINARY,
    "summarize/var": BINARY,
}

Key = tuple[str, str, str, str]
"""(identity of the dataset, path, query, encoding)."""


def split_path(path: str) -> tuple[str, str]:
    """Split a path into the part before `API` and the route below it; the route is empty without `API`."""
    before, _, route = path.partition(f"{API}/")
    return before, route


def answer_key(environ: Mapping[str, Any], identity: str, encoding: str, body: bytes = b"") -> Key:
    """Make the key of the answer to a request (PEP 3333).

    Parameters
    ----------
    identity : str
        Identity of the dataset.
    body : bytes
        Bytes that tell answers apart beside the URL, for a request that has a body.
    """
    query = environ.get("QUERY_STRING", "")
    if body:
        query += "#" + sha1(body, usedforsecurity=False).hexdigest()
    return identity, path_text(environ.get("PATH_INFO", "")), query, encoding


def path_text(path: str) -> str:
    """Decode PATH_INFO, which is bytes read as Latin-1 (PEP 3333), to the text that Flask and the catalog use."""
    return path if path.isascii() else path.encode("latin-1").decode("utf-8", "replace")
