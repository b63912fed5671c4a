"""Real servers for a real browser: `cxg launch` (gunicorn), nginx in front of it, and Chromium."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
CLIENT = PROJECT / "build" / "client"
SAMPLE = PROJECT / "build" / "sample" / "pbmc68k_reduced.cxg"
START_LIMIT_S = 60

CHROMIUM_FLAGS = [
    # Software WebGL: the machines that run this have no graphics card.
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
    *(
        "--no-sandbox",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-quic",
    ),
]


def unavailable(what: str) -> None:
    """Fail where everything has to be there, skip on a developer's machine."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def find_chromium() -> str:
    """Path of Chromium: `CXG_TEST_CHROMIUM`, else as installed."""
    names = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
    found = os.environ.get("CXG_TEST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        unavailable("Chromium is not installed; name it in CXG_TEST_CHROMIUM.")
    return str(found)


def require_built() -> None:
    """The client and the sample have to be in build/."""
    for path, target in ((CLIENT / "index.html", "client"), (SAMPLE / "obs", "sample")):
        if not path.exists():
            unavailable(f"{path.relative_to(PROJECT)} is missing: run 'make {target}'.")


@contextlib.contextmanager
def launched(data: Path, log: Path, client: Path = CLIENT, *options: str) -> Iterator[str]:
    """Serve `data` with `cxg launch` until the block ends; gives the URL. More options of the command may follow."""
    port = free_port()
    command = [sys.executable, "-m", "cxg.cli.main", "launch", str(data), "--port", str(port)]
    command += ["--client", str(client), *options]
    env = {name: value for name, value in os.environ.items() if not name.startswith("CXG_")}
    env |= {"PYTHONPATH": str(PROJECT), "AWS_EC2_METADATA_DISABLED": "true", "CXG_WORKERS": "1"}
    with running(command, env, log):
        wait_for(f"http://127.0.0.1:{port}/health/ready", log)
        yield f"http://127.0.0.1:{port}/"


NGINX = """
daemon off; master_process off; pid nginx.pid; error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server {{
    listen 127.0.0.1:{port};
    location = /favicon.ico {{ return 204; }}
    location /cells/ {{
      proxy_pass {upstream};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Prefix /cells;
    }}
    location /silent/ {{ proxy_pass {upstream}; }}
  }}
}}
"""


@contextlib.contextmanager
def nginx_before(upstream: str, folder: Path) -> Iterator[str]:
    """nginx with `upstream` below /cells/ (announced by a header) and /silent/ (not announced); gives the URL."""
    nginx = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if nginx is None:
        unavailable("nginx is not installed.")
    port = free_port()
    config, log = folder / "nginx.conf", folder / "nginx.log"
    config.write_text(NGINX.format(port=port, upstream=upstream))
    with running([str(nginx), "-p", str(folder), "-c", str(config), "-e", "stderr"], dict(os.environ), log):
        wait_for(f"http://127.0.0.1:{port}/favicon.ico", log)
        yield f"http://127.0.0.1:{port}/"


@contextlib.contextmanager
def running(command: Sequence[str], env: dict[str, str], log: Path) -> Iterator[None]:
    """A process that is asked to end, then made to, when the block ends."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=env)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(url: str, log: Path) -> None:
    """Wait until `url` answers with success."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise AssertionError(f"{url} did not answer:\n{log.read_text(errors='replace')[-3000:]}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
