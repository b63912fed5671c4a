"""A WSGI application that does what the tests of the worker need."""

from __future__ import annotations

import fcntl
import io
import json
import os
import random
from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qs

TOLD = ("REMOTE_ADDR", "RAW_URI", "PATH_INFO", "QUERY_STRING", "SERVER_PORT", "wsgi.url_scheme", "HTTP_X_TWICE")


@lru_cache
def content(size: int, mark: int = 0) -> bytes:
    """Bytes of which no two places look alike."""
    return random.Random(mark).randbytes(size)


def application(environ, start_response):
    path, asked = environ["PATH_INFO"], parse_qs(environ["QUERY_STRING"])
    headers = [("Content-Type", "application/octet-stream")]
    if path == "/pieces":
        start_response("200 OK", headers)
        return (content(200_000, mark) for mark in range(40))
    if path == "/file":
        data = content(5_000_000)
        file = Path(os.environ["SITE_FOLDER"], "file")
        start_response("200 OK", [*headers, ("Content-Length", str(len(data)))])
        return environ["wsgi.file_wrapper"](file.open("rb"))
    if path == "/broken":
        start_response("200 OK", [*headers, ("Content-Length", "100")])
        return broken()
    status, body = "200 OK", b"alive"
    if path == "/echo":
        body = environ["wsgi.input"].read()
    elif path == "/refuse":
        status, body = "413 Content Too Large", b"unread"
    elif path == "/busy":
        status, body = "429 Too Many Requests", asked["mark"][0].encode()
    elif path == "/big":
        body = content(int(asked.get("size", ["5000000"])[0]), int(asked.get("mark", ["0"])[0]))
    elif path == "/wait":  # until the test gives up its lock
        with Path(os.environ["SITE_FOLDER"], "gate").open() as gate:
            fcntl.flock(gate, fcntl.LOCK_SH)
    elif path == "/environ":
        body = json.dumps({name: environ.get(name) for name in TOLD}).encode()
    start_response(status, [*headers, ("Content-Length", str(len(body)))])
    return [body]


def broken():
    yield b"some"
    raise io.UnsupportedOperation("the application fails in the middle")
