"""Helpers of the tests that run containers: servers, waiting, the image's options."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests

from assembly.image import add_image_options

IMAGE = "cellxgene-eb:test"
# In the environment of the build, and nowhere in what comes out of it.
CANARY = "canary-6f1d2c"
PLUGINS = Path(__file__).with_name("plugins")


class Server(NamedTuple):
    """A container of the image whose server answers."""

    container: Any
    url: str
    started_s: float

    def log(self) -> str:
        """What it has printed."""
        return str(self.container.logs().decode())


def image_options(*arguments: str, tag: str = IMAGE) -> argparse.Namespace:
    """Options of `build.py image`, as if given on the command line."""
    parser = argparse.ArgumentParser()
    add_image_options(parser)
    options = parser.parse_args(arguments)
    options.image = tag
    return options


def published_port(container: Any) -> int:
    """Port of this machine that leads to the container's 8000."""
    container.reload()
    return int(container.attrs["NetworkSettings"]["Ports"]["8000/tcp"][0]["HostPort"])


def answers(url: str) -> bool:
    """Whether a GET gives 200."""
    with contextlib.suppress(requests.RequestException):
        return requests.get(url, timeout=5).status_code == 200
    return False


def wait_until(holds: Callable[[], bool], limit_s: float, container: Any = None) -> None:
    """Return once it holds; fail, with the container's log, when it does not in time or the container ended."""
    deadline = time.monotonic() + limit_s
    while not holds():
        if container is not None:
            container.reload()
        ended = container is not None and container.status == "exited"
        if ended or time.monotonic() > deadline:
            log = f"; its log:\n{container.logs().decode()}" if container is not None else ""
            pytest.fail(f"{'the container ended' if ended else f'not so within {limit_s} s'}{log}")
        time.sleep(0.1)
