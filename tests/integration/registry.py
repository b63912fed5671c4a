"""A real registry on loopback that asks for the password which the look-alike of AWS hands out."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import requests

# bcrypt of the fixed token of moto's GetAuthorizationToken, "<account>-auth-token", for the user AWS.
HTPASSWD = "AWS:$2b$05$M2qCBCRFnk794Jl912MMn.9bpoI5C98eVAdyI/mEwGfgTSfQUejk.\n"
START_LIMIT_S = 30
_CONFIG = """\
version: 0.1
storage:
  filesystem: {{rootdirectory: {folder}/images}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
auth:
  htpasswd: {{realm: test, path: {folder}/htpasswd}}
"""


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """The registry's host and port until the block ends; fails where the program is not installed."""
    program = shutil.which("docker-registry")
    if program is None:
        raise RuntimeError("docker-registry is not installed; on Debian, apt-get install docker-registry")
    port = free_port()
    (folder / "htpasswd").write_text(HTPASSWD)
    (folder / "config.yml").write_text(_CONFIG.format(folder=folder, port=port))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
        try:
            _wait_ready(f"http://127.0.0.1:{port}/v2/")
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _wait_ready(url: str) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(url, timeout=5).status_code == 401:
                return
        time.sleep(0.1)
    raise RuntimeError(f"the registry at {url} was not ready within {START_LIMIT_S} s")
