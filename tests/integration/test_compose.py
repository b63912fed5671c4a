"""`docker compose up` as the README has it: MinIO, samples, the server, nginx in front; with a real browser."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
import requests
from botocore.config import Config

from tests import cxgs
from tests.browser.explorer import Explorer
from tests.browser.watched import watch
from tests.integration.browsing import opened_page
from tests.integration.containers import wait_until

pytestmark = pytest.mark.integration

KEY, SECRET = "compose-test", "compose-test-secret"
SAMPLES = {"pbmc68k_reduced.cxg", "pbmc68k_unscaled.cxg"}
# What the README promises for a dataset that was added.
SEEN_WITHIN_S = 30


class Site(NamedTuple):
    """The services of one compose project, started."""

    project: Path
    environment: dict[str, str]
    url: str
    proxy: str
    store: str

    def compose(self, *arguments: str) -> str:
        """Run `docker compose`; fails the test with everything it printed."""
        done = subprocess.run(
            ["docker", "compose", "--profile", "proxy", *arguments],
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )
        if done.returncode:
            pytest.fail(
                f"docker compose {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout + done.stderr

    def up(self) -> float:
        """`up -d --wait`; seconds until everything was healthy."""
        began = time.monotonic()
        self.compose("up", "-d", "--wait")
        return time.monotonic() - began

    def volumes(self) -> list[str]:
        """Volumes of the project."""
        named = f"label=com.docker.compose.project={self.environment['COMPOSE_PROJECT_NAME']}"
        listed = subprocess.run(
            ["docker", "volume", "ls", "-q", "--filter", named], capture_output=True, text=True, check=True
        )
        return listed.stdout.split()

    def client(self) -> Any:
        """A boto3 client of the bucket, through the port on this machine."""
        path_style = Config(s3={"addressing_style": "path"})
        keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET}
        return boto3.client("s3", endpoint_url=self.store, region_name="us-east-1", config=path_style, **keys)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def site(project: Path) -> Iterator[Site]:
    ports = {name: str(free_port()) for name in ("CXG_PORT", "PROXY_PORT", "MINIO_PORT")}
    environment = {
        **os.environ,
        **ports,
        "COMPOSE_PROJECT_NAME": f"cxg-test-{uuid.uuid4().hex[:8]}",
        "MINIO_USER": KEY,
        "MINIO_PASSWORD": SECRET,
    }
    urls = [f"http://127.0.0.1:{ports[name]}" for name in ("CXG_PORT", "PROXY_PORT", "MINIO_PORT")]
    site = Site(project, environment, urls[0], f"{urls[1]}/cells", urls[2])
    site.compose("build")
    try:
        print(f"first `docker compose up --wait` with built images: {site.up():.1f} s")
        yield site
    finally:
        site.compose("down", "-v", "--timeout", "40")
    assert site.volumes() == []


def check_drawn(url: str, name: str, screenshots: Path) -> None:
    """A real browser draws the dataset and colours it, and nothing goes wrong on the page."""
    with opened_page() as page:
        faults = watch(page)
        explorer = Explorer(page)
        explorer.open(url)
        explorer.color_by("bulk_labels")
        explorer.add_gene("CST3")
        explorer.color_by("CST3")
        page.wait_for_timeout(500)
        page.screenshot(path=screenshots / name)
    assert faults.lines == []
    assert faults.hosts == {"127.0.0.1"}


@pytest.fixture(scope="session")
def screenshots(project: Path) -> Path:
    """Where pictures for a person to look at go; git ignores it."""
    folder = project / "build" / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def listed(url: str) -> set[str]:
    """Names of the datasets on the list, with a working link each, once none of them is still being read."""
    for _ in range(20):
        page = requests.get(f"{url}/", timeout=30)
        page.raise_for_status()
        if 'http-equiv="refresh"' not in page.text:
            break
    return set(re.findall(r'href="(?:\./)?d/([^"/]+)/"', page.text))


def test_samples_are_listed_and_the_address_is_printed(site):
    assert listed(site.url) == SAMPLES
    log = site.compose("logs", "--no-log-prefix", "server")
    assert f"open http://localhost:{site.environment['CXG_PORT']}/ in a web browser" in log
    assert SECRET not in log


def test_data_is_answered_from_the_bucket(site):
    base = f"{site.url}/d/pbmc68k_unscaled.cxg/api/v0.2"
    assert requests.get(f"{base}/schema", timeout=30).json()["schema"]["dataframe"]["nObs"] == 700
    for route in ("annotations/obs?annotation-name=louvain", "layout/obs?layout-name=umap", "data/var?var:name_0=CD3D"):
        answer = requests.get(f"{base}/{route}", headers={"Accept": "application/octet-stream"}, timeout=30)
        assert (answer.status_code, len(answer.content) > 1000) == (200, True), route


def test_a_browser_draws_a_dataset_from_the_bucket(site, screenshots):
    check_drawn(f"{site.url}/d/pbmc68k_unscaled.cxg/", "compose.png", screenshots)


def test_an_uploaded_dataset_appears_without_a_restart(site, tmp_path):
    assert "uploaded.cxg" not in listed(site.url)
    truth = cxgs.KINDS["counts"](tmp_path / "uploaded.cxg")
    for path in sorted(truth.path.rglob("*")):
        if path.is_file():
            key = f"uploaded.cxg/{path.relative_to(truth.path).as_posix()}"
            site.client().put_object(Bucket="datasets", Key=key, Body=path.read_bytes())
    began = time.monotonic()
    wait_until(lambda: "uploaded.cxg" in listed(site.url), SEEN_WITHIN_S)
    print(f"an uploaded dataset is listed after {time.monotonic() - began:.1f} s")
    schema = requests.get(f"{site.url}/d/uploaded.cxg/api/v0.2/schema", timeout=30).json()["schema"]
    assert schema["dataframe"]["nObs"] == truth.n_obs


def test_an_own_h5ad_is_converted_into_the_bucket(site):
    """The line in compose.yaml, with the sample as one's own file."""
    line = ["run", "--rm", "--no-deps", "-T", "--entrypoint", "cxg", "seed", "convert"]
    site.compose(*line, "/sample/10x_pbmc68k_reduced.h5ad", "s3://datasets/own.cxg", "--title", "Mine")
    wait_until(lambda: "own.cxg" in listed(site.url), SEEN_WITHIN_S)


def test_behind_the_proxy_everything_is_below_its_path(site):
    assert listed(site.proxy) >= SAMPLES
    page = requests.get(f"{site.proxy}/d/pbmc68k_reduced.cxg?a=1&b=2", timeout=30, allow_redirects=False)
    assert page.status_code in (301, 302, 307, 308)
    assert requests.compat.urljoin(page.url, page.headers["Location"]) == f"{site.proxy}/d/pbmc68k_reduced.cxg/?a=1&b=2"
    without_slash = requests.get(site.proxy, timeout=30)
    assert without_slash.url == f"{site.proxy}/"
    mask = {"filter": {"var": {"annotation_value": [{"name": "name_0", "values": ["CD3D", "CD8A"]}]}}}
    put = {"headers": {"Accept": "application/octet-stream"}, "timeout": 30}
    through = requests.put(f"{site.proxy}/d/pbmc68k_reduced.cxg/api/v0.2/data/var", json=mask, **put)
    direct = requests.put(f"{site.url}/d/pbmc68k_reduced.cxg/api/v0.2/data/var", json=mask, **put)
    assert (through.status_code, through.content) == (200, direct.content)


def test_a_browser_draws_a_dataset_behind_the_proxy(site, screenshots):
    check_drawn(f"{site.proxy}/d/pbmc68k_unscaled.cxg/", "compose-proxy.png", screenshots)


def test_data_survives_down_and_up(site):
    # Each worker lists the bucket for itself, so one may know of the last upload a little later.
    before = SAMPLES | {"uploaded.cxg", "own.cxg"}
    wait_until(lambda: listed(site.url) == before, SEEN_WITHIN_S)
    site.compose("down", "--timeout", "40")
    with contextlib.suppress(requests.ConnectionError):
        requests.get(site.url, timeout=5)
        pytest.fail("the server still answers after `docker compose down`")
    assert site.volumes()
    print(f"second `docker compose up --wait`: {site.up():.1f} s")
    assert listed(site.url) == before
    assert "converting" not in site.compose("logs", "--no-log-prefix", "seed")
