"""The Docker engine, the image built once a session, and servers running from it.

A chosen suite without Docker fails; it never skips.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from assembly.image import BuiltImage, build_image, connect, plan_image
from tests import cxgs
from tests.integration.containers import CANARY, Server, answers, image_options, published_port, wait_until

# Our fixtures stop what they start, so the helper container that would do it after a crash need not be pulled.
os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")


@pytest.fixture(autouse=True)
def forgotten_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """boto3 keeps the credentials that it found first; no test shall use those of another."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@pytest.fixture(scope="session")
def engine() -> Any:
    """Client of the Docker engine."""
    return connect()


@pytest.fixture(scope="session")
def image(engine: Any) -> BuiltImage:
    """The image, built from the working tree without any site's own files."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
        environment.setenv("CXG_SECRET_KEY", CANARY)
        return build_image(plan_image(image_options("--customize", "no-such-folder")), print)


@pytest.fixture(scope="session")
def dataroot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one dataset of each kind, readable by the container's user."""
    folder = tmp_path_factory.mktemp("image") / "data"
    for kind, build in cxgs.KINDS.items():
        build(folder / f"{kind}.cxg")
    for path in [folder.parent, folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


@pytest.fixture
def serve(engine: Any, image: BuiltImage, dataroot: Path) -> Iterator[Callable[..., Server]]:
    """Start servers from the image with `serve(environment, **options of docker run)`; they end with the test."""
    with contextlib.ExitStack() as stack:

        def start(environment: dict[str, str] | None = None, **options: Any) -> Server:
            settings = {
                "environment": {"CXG_DATAROOT": "/data", "AWS_EC2_METADATA_DISABLED": "true", **(environment or {})},
                "volumes": {str(dataroot): {"bind": "/data", "mode": "ro"}},
                "ports": {"8000/tcp": ("127.0.0.1", None)},
                "read_only": True,
                "cap_drop": ["ALL"],
            }
            for name, value in options.items():
                settings[name] = {**settings[name], **value} if name == "volumes" else value
            container = engine.containers.create(settings.pop("image", image.tag), **settings)
            stack.callback(container.remove, force=True, v=True)
            began = time.monotonic()
            container.start()
            url = f"http://127.0.0.1:{published_port(container)}"
            wait_until(lambda: answers(f"{url}/health/live"), 60, container)
            return Server(container, url, time.monotonic() - began)

        yield start
