"""The hooks that instances run before the container starts, in a container that plays the instance.

The programs that would reach the network or the kernel are stand-ins which note how they were called.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

HOOKS = Path(__file__).resolve().parents[2] / "beanstalk" / "hooks"
STUB = '#!/bin/sh\necho "{name} $*" >>/calls\n{body}\n'
# Programs of an instance: what they print and how they end. A mounted folder is one that /mounted names.
INSTANCE = {
    "mountpoint": 'grep -qx "$2" /mounted 2>/dev/null',
    "findmnt": 'case "$3" in FSTYPE) cat /kind;; *) cat /source;; esac',
    "mount": 'for point in "$@"; do :; done; echo "$point" >>/mounted; ${MOUNT:-true}',
    "umount": "rm -f /mounted",
    "modprobe": "${MODPROBE:-true}",
    "dnf": "${DNF:-true}",
    "systemctl": "true",
    "mount-s3": "true",
}
FSX = {"CXG_DATAROOT": "lustre://fs-01.fsx.eu-west-1.amazonaws.com@tcp:/abcdefgh/cxg"}
SOURCE = "fs-01.fsx.eu-west-1.amazonaws.com@tcp:/abcdefgh"
S3 = {"CXG_DATAROOT": "s3://atlas/site/cxg"}
OLD_FSTAB = "/dev/vda / xfs defaults 0 0\n10.0.0.1@tcp:/zzzzzzzz /mnt/cxg lustre ro 0 0\n"


@pytest.fixture
def instance(engine, image):
    """Runs hooks one after the other on the same instance; `stubs` and `files` are what it has beside the usual."""
    made = []

    def start(stubs=None, files=None, without=()):
        container = engine.containers.create(
            image.tag, entrypoint=["sleep", "600"], user="0", network_mode="none", detach=True
        )
        made.append(container)
        programs = {name: body for name, body in {**INSTANCE, **(stubs or {})}.items() if name not in without}
        entries = {f"stubs/{name}": STUB.format(name=name, body=body) for name, body in programs.items()}
        entries |= {f"hooks/{path.name}": path.read_text() for path in HOOKS.glob("*.sh")}
        entries |= {"etc/fstab": OLD_FSTAB, **(files or {})}
        container.put_archive("/", archive(entries))
        container.start()

        def run(hook, env):
            command = ["bash", "-c", f"PATH=/stubs:$PATH /hooks/{hook} 2>&1"]
            code, output = container.exec_run(command, environment=env)
            return code, output.decode()

        def read(path):
            return container.exec_run(["cat", path])[1].decode()

        return run, read

    yield start
    for container in made:
        container.remove(force=True)


def archive(entries):
    """A tar of programs and files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in entries.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(text.encode()), 0o755
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def test_fsx_is_mounted_and_noted_for_the_next_boot(instance):
    run, read = instance()
    code, said = run("20-mount-fsx.sh", FSX)
    assert (code, said) == (0, f"mounting FSx: {SOURCE} is at /mnt/cxg\n")
    calls = read("/calls").splitlines()
    assert "dnf install -y -q lustre-client" in calls
    assert "modprobe lustre" in calls
    assert f"mount -t lustre -o ro,relatime,flock {SOURCE} /mnt/cxg" in calls
    table = read("/etc/fstab").splitlines()
    assert table[0] == OLD_FSTAB.splitlines()[0]
    assert len(table) == 2
    assert table[1].startswith(f"{SOURCE} /mnt/cxg lustre ro,relatime,flock,_netdev")


def test_fsx_that_is_mounted_already_is_left_alone(instance):
    run, read = instance(files={"mounted": "/mnt/cxg\n", "kind": "lustre\n", "source": "10.0.0.9@tcp:/abcdefgh\n"})
    code, said = run("20-mount-fsx.sh", FSX)
    assert code == 0
    assert "is mounted already" in said
    assert not [call for call in read("/calls").splitlines() if call.startswith(("mount ", "umount"))]
    assert read("/etc/fstab") == OLD_FSTAB


def test_another_fsx_than_before_takes_its_place(instance):
    run, read = instance(files={"mounted": "/mnt/cxg\n", "kind": "lustre\n", "source": "10.0.0.9@tcp:/zzzzzzzz\n"})
    assert run("20-mount-fsx.sh", FSX)[0] == 0
    calls = read("/calls").splitlines()
    assert "umount --lazy /mnt/cxg" in calls
    assert f"mount -t lustre -o ro,relatime,flock {SOURCE} /mnt/cxg" in calls


@pytest.mark.parametrize(
    "env, message",
    [
        ({}, "set CXG_DATAROOT to lustre://"),
        ({"CXG_DATAROOT": "s3://atlas"}, "set CXG_DATAROOT to lustre://"),
        ({**FSX, "DNF": "false"}, "lustre-client cannot be installed"),
        ({**FSX, "MODPROBE": "false"}, "the kernel module does not load"),
        ({**FSX, "MOUNT": "false"}, "TCP 988 and 1018-1023"),
    ],
)
def test_without_fsx_the_deployment_fails_and_says_why(instance, env, message):
    run, read = instance()
    code, said = run("20-mount-fsx.sh", env)
    assert code == 1
    assert said.splitlines()[-1].startswith("mounting FSx: ")
    assert message in said.splitlines()[-1]
    assert read("/etc/fstab") == OLD_FSTAB


def test_a_bucket_is_mounted_through_the_table_of_the_next_boot(instance):
    run, read = instance()
    code, said = run("20-mount-s3.sh", S3)
    assert (code, said) == (0, "mounting S3: s3://atlas/site/cxg/ is at /mnt/cxg\n")
    assert "mount /mnt/cxg" in read("/calls").splitlines()
    line = read("/etc/fstab").splitlines()[-1].split()
    assert line[:3] == ["s3://atlas/site/cxg/", "/mnt/cxg", "mount-s3"]
    assert {"ro", "allow-other", "_netdev"} <= set(line[3].split(","))
    # A second deployment finds it there.
    code, said = run("20-mount-s3.sh", S3)
    assert code == 0
    assert "is mounted already" in said
    # Another bucket takes its place.
    assert run("20-mount-s3.sh", {"CXG_DATAROOT": "s3://other"})[0] == 0
    assert read("/etc/fstab").splitlines()[-1].startswith("s3://other/ /mnt/cxg mount-s3 ")
    assert "umount --lazy /mnt/cxg" in read("/calls").splitlines()


def test_mountpoint_is_installed_where_it_is_missing(instance):
    run, read = instance(without=("mount-s3",))
    assert run("20-mount-s3.sh", S3)[0] == 0
    assert "dnf install -y -q mount-s3" in read("/calls").splitlines()


@pytest.mark.parametrize(
    "env, without, message",
    [
        ({}, (), "set CXG_DATAROOT to s3://"),
        ({**S3, "MOUNT": "false"}, (), "s3:ListBucket and s3:GetObject"),
        ({**S3, "DNF": "false"}, ("mount-s3",), "mount-s3 cannot be installed"),
    ],
)
def test_without_the_bucket_the_deployment_fails_and_says_why(instance, env, without, message):
    run, _ = instance(without=without)
    code, said = run("20-mount-s3.sh", env)
    assert code == 1
    assert message in said.splitlines()[-1]


METADATA = 'case "$*" in *PUT*) echo token;; *instance-id*) echo i-0123456789abcdef0;; *placement/region*) echo eu-west-1;; esac'


def test_the_hop_limit_is_set_to_two(instance):
    run, read = instance(stubs={"curl": METADATA, "aws": "true"})
    assert run("10-metadata-hop-limit.sh", {}) == (0, "metadata hop limit: set to 2\n")
    asked = next(call for call in read("/calls").splitlines() if call.startswith("aws "))
    assert "--region eu-west-1 --instance-id i-0123456789abcdef0" in asked
    assert "--http-tokens required --http-put-response-hop-limit 2" in asked


@pytest.mark.parametrize(
    "stubs, message",
    [
        (
            {"curl": METADATA, "aws": "echo UnauthorizedOperation >&2; exit 254"},
            "allow ec2:ModifyInstanceMetadataOptions",
        ),
        ({"curl": "exit 7", "aws": "true"}, "the metadata service does not answer"),
    ],
)
def test_without_that_right_the_deployment_goes_on_and_says_so(instance, stubs, message):
    run, _ = instance(stubs=stubs)
    code, said = run("10-metadata-hop-limit.sh", {})
    assert code == 0
    assert message in said
