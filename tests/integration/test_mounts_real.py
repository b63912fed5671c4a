"""Mounting for real: S3 through FUSE from MinIO, Lustre through a helper that binds a folder, and rights given up after."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import requests

from cxg.config import default
from cxg.errors import DatasetInvalid
from cxg.format.dataset import open_dataset
from cxg.startup.mounts import FUSE_CLIENTS, S3Options, ensure_mounted, mount_at, read_mounts, requested_mount
from cxg.storage.storage import Storage
from tests.integration import minio
from tests.integration.conftest import answers, wait_until
from tests.integration.registry import free_port

pytestmark = pytest.mark.integration

BUCKET, PREFIX = "atlas", "site/cxg"
# What stands in for the Lustre client: binds a folder in place of a file system. mount(8) calls it with
# the source, the mount point and -o options.
HELPER = """\
#!/bin/sh
echo "$@" >/tmp/mount.lustre.arguments
case "$1" in
    fs-01.example.org@tcp:/abcdefgh) mount --bind /lustre "$2" && mount -o remount,ro,bind "$2" ;;
    *) echo "mount.lustre: mount $1 at $2 failed: Invalid argument" >&2; exit 22 ;;
esac
"""
# Of the packages rclone and fuse3, which a site adds to its image; the first name is what some versions of rclone want.
FUSE_PROGRAMS = {
    "/usr/bin/fusermount": "fusermount3",
    "/usr/bin/fusermount3": "fusermount3",
    "/usr/bin/rclone": "rclone",
}
ROUTES = ("schema", "layout/obs", "annotations/var", "config", "colors")


@pytest.fixture(scope="module")
def store(dataroot):
    """MinIO with the datasets below a prefix."""
    with minio.running() as running:
        running.client().create_bucket(Bucket=BUCKET)
        running.upload(dataroot, BUCKET, PREFIX)
        yield running


@pytest.fixture
def point(tmp_path):
    """A mount point; what is mounted there is gone afterwards."""
    folder = tmp_path / "point"
    yield str(folder)
    if mount_at(str(folder), read_mounts()) is not None:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def installed():
    """FUSE clients of this machine; one at least, or the tests fail."""
    found = [name for name in FUSE_CLIENTS if shutil.which(name)]
    return found or [" or ".join(FUSE_CLIENTS)]


@pytest.mark.parametrize("client", installed())
def test_a_bucket_is_mounted_read_only_and_datasets_read_from_it(client, store, point, dataroot):
    wanted = requested_mount(f"s3://{BUCKET}/{PREFIX}", "CXG_DATAROOT", "1")
    assert wanted is not None
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **store.environment()}

    def only(name):
        return shutil.which(name) if name == client else None

    path = ensure_mounted(wanted, point, S3Options("us-east-1", store.url), env, which=only)
    assert path == point
    mounted = mount_at(point, read_mounts())
    assert mounted is not None
    assert mounted.kind.startswith("fuse")
    names = sorted(one.name for one in dataroot.iterdir())
    assert sorted(one.name for one in Path(path).iterdir()) == names
    with pytest.raises(OSError, match=r"Read-only|denied"):
        (Path(path) / "new").write_text("x")

    for name in names:
        np.testing.assert_equal(outcome(f"{path}/{name}"), outcome(f"{dataroot}/{name}"))
    # Mounted already: recognised, not mounted again.
    assert ensure_mounted(wanted, point, S3Options(), env, which=lambda name: None) == point


def outcome(uri):
    """What is read from a dataset; the sentence, when it is one of the damaged ones."""
    try:
        dataset = open_dataset(Storage(default()), uri, "one")
    except DatasetInvalid as error:
        return str(error)
    try:
        readable = dataset.x_problem is None and dataset.x_kind is not None
        expression = dataset.read_X_columns(np.arange(min(5, dataset.n_var))) if readable else dataset.x_problem
        return dataset.n_obs, dataset.n_var, dataset.x_kind, dataset.embeddings, expression
    finally:
        dataset.close()


@contextlib.contextmanager
def container(engine, image, environment, volumes, **options):
    """A container of the image, started as root so that it can mount; rights beyond that are not given."""
    port = free_port()
    started = engine.containers.run(
        image.tag,
        detach=True,
        user="0",
        network_mode="host",
        environment={
            "CXG_HOST": "127.0.0.1",
            "CXG_PORT": str(port),
            "AWS_EC2_METADATA_DISABLED": "true",
            **environment,
        },
        volumes=[f"{source}:{target}:ro" for target, source in volumes.items()],
        cap_add=["SYS_ADMIN"],
        security_opt=["apparmor=unconfined"],
        **options,
    )
    try:
        yield started, f"http://127.0.0.1:{port}"
    finally:
        started.remove(force=True, v=True)


def in_container(started, *command):
    """What a command in the container prints."""
    code, output = started.exec_run(list(command), user="0")
    assert code == 0, output.decode()
    return output.decode()


def same_answers(url, reference, names):
    """Compare every route of every dataset with those of another server."""
    for name in names:
        for route in ROUTES:
            theirs = requests.get(f"{reference}/d/{name}/api/v0.2/{route}", timeout=20)
            ours = requests.get(f"{url}/d/{name}/api/v0.2/{route}", timeout=20)
            assert (ours.status_code, ours.content) == (theirs.status_code, theirs.content), f"{name} {route}"


def test_the_container_mounts_a_bucket_gives_up_root_and_serves(engine, image, store, dataroot, serve):
    programs = {target: shutil.which(name) for target, name in FUSE_PROGRAMS.items()}
    environment = {
        "CXG_DATAROOT": f"s3://{BUCKET}/{PREFIX}",
        "CXG_S3_MOUNT": "1",
        "AWS_ENDPOINT_URL": store.url,
        **store.environment(),
    }
    with container(engine, image, environment, programs, devices=["/dev/fuse"]) as (started, url):
        wait_until(lambda: answers(f"{url}/health/ready"), 60, started)
        assert f"CXG_DATAROOT s3://{BUCKET}/{PREFIX} is mounted at /mnt/cxg" in started.logs().decode()
        same_answers(url, serve().url, sorted(one.name for one in dataroot.iterdir()))
        status = in_container(started, "cat", "/proc/1/status")
        assert "Uid:\t10001\t10001\t10001\t10001" in status
        assert "CapEff:\t0000000000000000" in status


def test_the_container_mounts_lustre_read_only_gives_up_root_and_serves(engine, image, tmp_path, dataroot, serve):
    helper = tmp_path / "mount.lustre"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    volumes = {"/sbin/mount.lustre": helper, "/lustre": dataroot.parent}
    uri = f"lustre://fs-01.example.org@tcp:/abcdefgh/{dataroot.name}"
    with container(engine, image, {"CXG_DATAROOT": uri}, volumes) as (started, url):
        wait_until(lambda: answers(f"{url}/health/ready"), 60, started)
        arguments = in_container(started, "cat", "/tmp/mount.lustre.arguments")
        assert arguments.split()[:2] == ["fs-01.example.org@tcp:/abcdefgh", "/mnt/cxg"]
        assert {"ro", "relatime", "flock"} <= set(arguments.split()[-1].split(","))
        same_answers(url, serve().url, sorted(one.name for one in dataroot.iterdir()))
        assert "Uid:\t10001" in in_container(started, "cat", "/proc/1/status")


@pytest.mark.parametrize(
    "uri, with_helper, user, message",
    [
        ("lustre://fs-01.example.org@tcp:/wrongone", True, "0", "check the mount name"),
        ("lustre://fs-01.example.org@tcp:/abcdefgh", False, "0", "install the Lustre client, or mount it on the host"),
        ("lustre://fs-01.example.org@tcp:/abcdefgh", True, "10001", "mount it on the host and bind it to /mnt/cxg"),
        ("lustre://fs-01.example.org@tcp:/abcdefgh/absent", True, "0", "/mnt/cxg/absent cannot be listed"),
    ],
)
def test_a_failed_mount_is_one_line_and_exit_code_2(engine, image, tmp_path, dataroot, uri, with_helper, user, message):
    helper = tmp_path / "mount.lustre"
    helper.write_text(HELPER)
    helper.chmod(0o755)
    volumes = (
        {helper: "/sbin/mount.lustre", dataroot.parent: "/lustre"} if with_helper else {dataroot.parent: "/lustre"}
    )
    started = engine.containers.run(
        image.tag,
        detach=True,
        user=user,
        environment={"CXG_DATAROOT": uri, "AWS_EC2_METADATA_DISABLED": "true"},
        volumes={str(source): {"bind": target, "mode": "ro"} for source, target in volumes.items()},
        cap_add=["SYS_ADMIN"],
        security_opt=["apparmor=unconfined"],
    )
    try:
        assert started.wait(timeout=60)["StatusCode"] == 2
        lines = [line for line in started.logs().decode().splitlines() if ": error: " in line]
        assert len(lines) == 1
        assert message in lines[0]
        assert "CXG_DATAROOT" in lines[0]
    finally:
        started.remove(force=True, v=True)
