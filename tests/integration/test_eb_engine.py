"""The bundle, started as Elastic Beanstalk starts it: container, volumes, properties, real nginx with our snippets."""

from __future__ import annotations

import json
import shutil

import pytest
import requests

from assembly.bundle import MODES, MOUNT_POINT, write_bundle
from assembly.image import plan_image
from assembly.product import plan_product
from tests.integration import eb_engine
from tests.integration.conftest import answers, image_options, wait_until

pytestmark = pytest.mark.integration

NAME = "registry.example.org/cellxgene-eb:1.0.0-0123456789ab"
NO_AWS = {"AWS_EC2_METADATA_DISABLED": "true"}


@pytest.fixture
def unpack(tmp_path, image):
    """Writes and unpacks the bundle of a mode, for an image that instances pull."""

    def make(mode):
        plan = plan_product(plan_image(image_options("--customize", "no-such-folder")), NAME, mode)
        write_bundle(plan, tmp_path / "artifact.zip")
        return eb_engine.unpack(tmp_path / "artifact.zip", tmp_path / "unpacked")

    return make


@pytest.fixture
def host(tmp_path, dataroot):
    """The instance's root, with the datasets where a hook would have mounted them."""
    folder = tmp_path / "host"
    shutil.copytree(dataroot, f"{folder}{MOUNT_POINT}")
    for path in (tmp_path.parent, tmp_path, folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def test_health_and_data_through_nginx(engine, image, unpack, host, dataroot):
    unpacked = unpack("fsx")
    assert unpacked.image == NAME
    properties = {**NO_AWS, "CXG_DATAROOT": MOUNT_POINT}
    with eb_engine.deployed(engine, unpacked, properties, host, image.tag) as site:
        wait_until(lambda: answers(f"{site.url}/health/ready"), 60, site.application)
        assert b"syntax is ok" in site.proxy.logs()
        assert requests.get(f"{site.url}/health", timeout=10).status_code == 200
        name = sorted(path.name for path in dataroot.iterdir())[0]
        base = f"{site.url}/d/{name}"
        assert requests.get(f"{base}/", timeout=10).status_code == 200
        schema = requests.get(f"{base}/api/v0.2/schema", timeout=10).json()["schema"]
        assert schema["dataframe"]["nObs"] > 0
        layout = requests.get(f"{base}/api/v0.2/layout/obs", timeout=10)
        assert layout.status_code == 200
        assert layout.headers["Content-Type"] == "application/octet-stream"
        # Without the slash: the redirect leads to this very address, not to the container's.
        moved = requests.get(base, allow_redirects=False, timeout=10)
        assert moved.is_redirect
        assert "172." not in moved.headers["Location"]


def test_large_bodies_and_long_addresses_get_through(engine, image, unpack, host, dataroot):
    with eb_engine.deployed(engine, unpack("fsx"), {**NO_AWS, "CXG_DATAROOT": MOUNT_POINT}, host, image.tag) as site:
        wait_until(lambda: answers(f"{site.url}/health/ready"), 60, site.application)
        base = f"{site.url}/d/{sorted(path.name for path in dataroot.iterdir())[0]}/api/v0.2"
        # 8 MB of indices: nginx alone would refuse them without our sentence. There are not so many cells.
        cells = {"filter": {"obs": {"index": list(range(10**6, 2 * 10**6))}}}
        body = json.dumps({"mode": "topN", "set1": cells, "set2": cells, "count": 1})
        assert len(body) > 8e6
        answer = requests.post(
            f"{base}/diffexp/obs", data=body, headers={"Content-Type": "application/json"}, timeout=60
        )
        assert answer.status_code == 413
        assert "two lists of the" in answer.json()["message"]
        query = "&".join(f"var:name={'x' * 50}{number}" for number in range(80))
        assert 4096 < len(query) < 8000
        assert requests.get(f"{base}/data/var?{query}", timeout=10).status_code in (400, 404)


def test_an_environment_without_data_never_becomes_healthy_and_says_why(engine, image, unpack, tmp_path):
    with eb_engine.deployed(engine, unpack("s3"), NO_AWS, tmp_path, image.tag) as site:
        assert site.application.wait(timeout=60)["StatusCode"] == 2
        log = site.application.logs().decode().splitlines()
        assert log[-1].startswith("cellxgene-eb: error: There is nothing to serve: set CXG_DATAROOT")


@pytest.mark.parametrize(
    "mode, dataroot_uri",
    [("fsx", "lustre://fs-01.fsx.eu-west-1.amazonaws.com@tcp:/abcdefgh"), ("s3-mount", "s3://atlas/cxg")],
)
def test_a_folder_bound_before_it_was_mounted_is_told_from_the_real_one(
    engine, image, unpack, tmp_path, mode, dataroot_uri
):
    properties = {**NO_AWS, "CXG_DATAROOT": dataroot_uri, "AWS_REGION": "eu-west-1"}
    if mode == "s3-mount":
        properties |= {"CXG_S3_MOUNT": "1"}
    with eb_engine.deployed(engine, unpack(mode), properties, tmp_path, image.tag) as site:
        assert site.application.wait(timeout=60)["StatusCode"] == 2
        last = site.application.logs().decode().splitlines()[-1]
        assert f"CXG_DATAROOT {dataroot_uri}" in last
        kind = "Lustre file system" if mode == "fsx" else "mounted bucket"
        assert f"not a {kind}: mount it on the host first" in last


@pytest.mark.parametrize("mode", MODES)
def test_a_bundle_without_an_image_holds_all_that_its_dockerfile_copies(tmp_path, image, mode):
    plan = plan_product(plan_image(image_options("--customize", "no-such-folder")), None, mode)
    write_bundle(plan, tmp_path / "artifact.zip")
    unpacked = eb_engine.unpack(tmp_path / "artifact.zip", tmp_path / "unpacked")
    assert unpacked.image is None
    assert unpacked.port == 8000
    assert set(unpacked.volumes) == ({MOUNT_POINT} if MODES[mode].mounted else set())


def test_the_image_built_from_the_bundle_is_the_one_built_here(engine, image, tmp_path):
    plan = plan_product(plan_image(image_options("--customize", "no-such-folder")), None, "s3")
    write_bundle(plan, tmp_path / "artifact.zip")
    unpacked = eb_engine.unpack(tmp_path / "artifact.zip", tmp_path / "unpacked")
    # The instance's engine builds with the classic builder; every layer of ours is in its cache already.
    _, log = engine.images.build(path=str(unpacked.folder), tag="cellxgene-eb:from-bundle", rm=True)
    try:
        assert any("Using cache" in str(line.get("stream", "")) for line in log)
        with eb_engine.deployed(engine, unpacked, NO_AWS, tmp_path, "cellxgene-eb:from-bundle") as site:
            assert site.application.wait(timeout=60)["StatusCode"] == 2
    finally:
        engine.images.remove("cellxgene-eb:from-bundle", force=True)
