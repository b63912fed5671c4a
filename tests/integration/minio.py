"""A real S3-compatible server in a container, and the upload of a folder to it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import requests
from botocore.config import Config
from testcontainers.core.container import DockerContainer

from tests.integration.registry import free_port

# A site that mirrors images names its own.
IMAGE = os.environ.get("MINIO_IMAGE", "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z")
KEY, SECRET = "test-access-key", "test-secret-key"
START_LIMIT_S = 60


class Store(NamedTuple):
    """A running server."""

    url: str

    def client(self) -> Any:
        """A boto3 client for it."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, max_pool_connections=8),
        )

    def environment(self) -> dict[str, str]:
        """What a server process needs in its environment to read from here."""
        return {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_EC2_METADATA_DISABLED": "true"}

    def upload(self, folder: Path, bucket: str, prefix: str) -> None:
        """Put every file below `folder` under `prefix`; folders without files vanish, as they do on S3."""
        client = self.client()

        def put(path: Path) -> None:
            client.put_object(
                Bucket=bucket, Key=f"{prefix}/{path.relative_to(folder).as_posix()}", Body=path.read_bytes()
            )

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(put, (path for path in folder.rglob("*") if path.is_file())))


@contextlib.contextmanager
def running() -> Iterator[Store]:
    """MinIO in a container until the block ends; fails where there is no Docker."""
    container = DockerContainer(IMAGE).with_command("server /data").with_exposed_ports(9000)
    container = container.with_env("MINIO_ROOT_USER", KEY).with_env("MINIO_ROOT_PASSWORD", SECRET)
    with container:
        url = f"http://127.0.0.1:{container.get_exposed_port(9000)}"
        _wait_ready(url)
        yield Store(url)


@contextlib.contextmanager
def running_program(program: str, folder: Path) -> Iterator[Store]:
    """MinIO's own program, which needs no Docker, until the block ends; its data and its log are kept in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{free_port()}"
    settings = {**os.environ, "MINIO_ROOT_USER": KEY, "MINIO_ROOT_PASSWORD": SECRET}
    with (folder / "log").open("wb") as log:
        command = [program, "server", str(folder / "data"), "--address", address, "--quiet"]
        process = subprocess.Popen(command, env=settings, stdout=log, stderr=log)
    try:
        _wait_ready(f"http://{address}")
        yield Store(f"http://{address}")
    finally:
        process.terminate()
        process.wait(START_LIMIT_S)


def _wait_ready(url: str) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{url}/minio/health/ready", timeout=5).status_code == 200:
                return
        time.sleep(0.2)
    raise RuntimeError(f"MinIO at {url} was not ready within {START_LIMIT_S} s")
