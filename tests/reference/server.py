"""Start the published server on loopback and ask it for answers."""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

START_LIMIT_S = 120


class Answer(NamedTuple):
    """What came back: status, lower-case header names, decoded body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Reference(NamedTuple):
    """A running published server; `ask` speaks to its API."""

    url: str

    def ask(self, route: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """One request; keyword names become headers (`Content_Type` is `Content-Type`).

        Always asks for gzip: with today's Werkzeug the published server sends nothing
        where a binary answer is not compressed.
        """
        sent = {"Accept-Encoding": "gzip", **{name.replace("_", "-"): value for name, value in headers.items()}}
        request = urllib.request.Request(f"{self.url}/api/v0.2/{route}", data=body, headers=sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return _answer(response.status, response.headers.items(), response.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers.items(), error.read())


def _answer(status: int, headers: object, body: bytes) -> Answer:
    named = {name.lower(): value for name, value in headers}  # type: ignore[attr-defined]
    return Answer(status, named, gzip.decompress(body) if named.get("content-encoding") == "gzip" else body)


@contextlib.contextmanager
def launch(python: Path, h5ad: Path, *options: str, log: Path) -> Iterator[Reference]:
    """Serve `h5ad` with the published server until the block ends.

    Raises
    ------
    RuntimeError
        It ended, or was not ready in time; the text holds the end of its log.
    """
    port = _free_port()
    command = [str(python.parent / "cellxgene"), "--no-upgrade-check", "launch", str(h5ad)]
    command += [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--disable-annotations",
        "--disable-gene-sets-save",
        *options,
    ]
    # Its numba would write beside the package; its home must not be ours.
    env = {**os.environ, "PYTHONPATH": "", "HOME": str(log.parent), "AWS_EC2_METADATA_DISABLED": "true"}
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env, cwd=log.parent)
    try:
        reference = Reference(f"http://127.0.0.1:{port}")
        _wait_ready(process, reference, log)
        yield reference
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(process: subprocess.Popen[bytes], reference: Reference, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError):
            if reference.ask("schema").status == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"the published server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
