"""Mounted dataroots: what is mounted with which command, and what already is."""

import subprocess

import pytest

from cxg.errors import ConfigError, StorageUnavailable
from cxg.startup import mounts
from cxg.startup.mounts import Mounted, S3Options, ensure_mounted, mount_command, read_mounts, requested_mount

FSX = "lustre://fs-0a1.fsx.us-east-1.amazonaws.com@tcp:/abcdefgh"
POINT = "/mnt/cxg"
MOUNTINFO = r"""
22 1 259:1 / / rw,noatime - xfs /dev/nvme0n1p1 rw
60 22 0:52 / /mnt/cxg ro,relatime shared:9 - lustre 10.0.1.5@tcp:/abcdefgh rw,flock
61 22 0:53 /sub\040folder /mnt/a\040b rw,relatime master:1 shared:2 - fuse mountpoint-s3 rw,user_id=0
broken line
""".strip()


class Recorder:
    """Runs nothing; remembers commands and gives the result set for it."""

    def __init__(self, code=0, stderr="", raises=None):
        self.commands, self.envs, self.code, self.stderr, self.raises = [], [], code, stderr, raises

    def __call__(self, command, env):
        self.commands.append(list(command))
        self.envs.append(dict(env))
        if self.raises:
            raise self.raises
        return subprocess.CompletedProcess(command, self.code, "", self.stderr)


def lustre(folder="", setting="CXG_DATAROOT"):
    return requested_mount(FSX + folder, setting, "")


def bucket(uri="s3://data/a/b"):
    return requested_mount(uri, "CXG_DATAROOT", "1")


def after(kind, source, root="/", before=()):
    """Answers of `read_mounts`: first `before`, then with the file system mounted."""
    answers = [tuple(before), (Mounted(POINT, root, kind, source),)]
    return lambda: answers.pop(0) if len(answers) > 1 else answers[0]


@pytest.mark.parametrize("uri", ["/data", "s3://data/a", "data"])
def test_plain_dataroots_ask_for_no_mount(uri):
    assert requested_mount(uri, "CXG_DATAROOT", "") is None
    assert requested_mount(uri, "CXG_DATAROOT", "0") is None


def test_lustre_uri_is_taken_apart():
    wanted = lustre("/atlas/v1/")
    assert (wanted.source, wanted.folder, wanted.kind) == (FSX.removeprefix("lustre://"), "atlas/v1", "lustre")
    assert lustre().folder == ""


@pytest.mark.parametrize(
    "uri", ["lustre://host/abc", "lustre://host@tcp", "lustre://host@tcp:/m/../x", "lustre://@tcp:/m"]
)
def test_other_lustre_uris_are_refused_with_the_form_to_use(uri):
    with pytest.raises(ConfigError, match=r"CXG_DATAROOT is .* write it as lustre://"):
        requested_mount(uri, "CXG_DATAROOT", "")


def test_s3_mount_needs_an_s3_dataroot():
    with pytest.raises(ConfigError, match=r"CXG_S3_MOUNT is set, but multi_dataset.dataroot is /data"):
        requested_mount("/data", "multi_dataset.dataroot", "1")
    with pytest.raises(ConfigError, match=r"CXG_S3_MOUNT is 'maybe'"):
        requested_mount("s3://data/x", "CXG_DATAROOT", "maybe")


def test_mountinfo_is_read():
    assert read_mounts(MOUNTINFO)[1:] == (
        Mounted("/mnt/cxg", "/", "lustre", "10.0.1.5@tcp:/abcdefgh"),
        Mounted("/mnt/a b", "/sub folder", "fuse", "mountpoint-s3"),
    )
    assert any(mount.point == "/" for mount in read_mounts())


def test_lustre_is_mounted_read_only_with_its_own_locks(tmp_path):
    run, point = Recorder(), str(tmp_path / "point")
    state = [(), (Mounted(point, "/", "lustre", "10.0.1.5@tcp:/abcdefgh"),)]
    path = ensure_mounted(lustre("/atlas"), point, S3Options(), {"A": "b"}, mounts=lambda: state.pop(0), run=run)
    assert run.commands == [
        ["mount", "-t", "lustre", "-o", "ro,relatime,flock", FSX.removeprefix("lustre://"), point],
    ]
    assert run.envs == [{"A": "b"}]
    assert path == f"{point}/atlas"
    assert (tmp_path / "point").is_dir()


@pytest.mark.parametrize(
    "folder, source, root, expected",
    [
        ("", "10.0.1.5@tcp:/abcdefgh", "/", POINT),
        ("/atlas", "10.0.1.5@tcp:/abcdefgh", "/", f"{POINT}/atlas"),
        ("/atlas", "10.0.1.5@tcp:/abcdefgh", "/atlas", POINT),
        ("/atlas/v1", "10.0.1.5@tcp:/abcdefgh", "/atlas", f"{POINT}/v1"),
        ("/atlas", "10.0.1.5@tcp,10.0.1.6@tcp:/abcdefgh/atlas", "/", POINT),
    ],
)
def test_lustre_bound_in_by_the_host_is_recognised(folder, source, root, expected):
    run = Recorder()
    present = (Mounted(POINT, root, "lustre", source),)
    assert ensure_mounted(lustre(folder), POINT, S3Options(), {}, mounts=lambda: present, run=run) == expected
    assert run.commands == []


@pytest.mark.parametrize(
    "present, message",
    [
        (
            Mounted(POINT, "/mnt/fsx", "xfs", "/dev/nvme0n1p1"),
            "a xfs folder, not a Lustre file system: mount it on the host",
        ),
        (Mounted(POINT, "/", "lustre", "10.0.1.5@tcp:/zzzzzzzz"), "whose mount name is not abcdefgh"),
        (Mounted(POINT, "/other", "lustre", "10.0.1.5@tcp:/abcdefgh"), "its folder /other, which does not hold /atlas"),
        (Mounted(POINT, "/atl", "lustre", "10.0.1.5@tcp:/abcdefgh"), "its folder /atl, which does not hold /atlas"),
    ],
)
def test_something_else_bound_in_is_refused(present, message):
    with pytest.raises(ConfigError) as caught:
        ensure_mounted(lustre("/atlas"), POINT, S3Options(), {}, mounts=lambda: (present,), run=Recorder())
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"CXG_DATAROOT {FSX}/atlas")


def test_a_mount_point_with_a_slash_at_its_end_is_the_same_one():
    present = (Mounted(POINT, "/", "lustre", "10.0.1.5@tcp:/abcdefgh"),)
    for spelling in (f"{POINT}/", "/mnt//cxg", "/mnt/./cxg/"):
        assert mounts.mount_at(spelling, present) == present[0]
        found = ensure_mounted(lustre("/atlas"), spelling, S3Options(), {}, mounts=lambda: present, run=Recorder())
        assert found == f"{POINT}/atlas"
    assert mounts.mount_at("/proc/", read_mounts()) == mounts.mount_at("/proc", read_mounts()) is not None


def test_bucket_bound_in_by_the_host_is_recognised():
    present = (Mounted(POINT, "/", "fuse", "mountpoint-s3"),)
    assert ensure_mounted(bucket(), POINT, S3Options(), {}, mounts=lambda: present, run=Recorder()) == POINT
    with pytest.raises(ConfigError, match="a ext4 folder, not a mounted bucket"):
        ensure_mounted(
            bucket(), POINT, S3Options(), {}, mounts=lambda: (Mounted(POINT, "/", "ext4", "/dev/sda"),), run=Recorder()
        )


@pytest.mark.parametrize(
    "code, stderr, message",
    [
        (32, "mount: /mnt: unknown filesystem type 'lustre'.", "install the Lustre client, or mount it on the host"),
        (1, "mount: /mnt: must be superuser to use mount.", "run the container as root with CAP_SYS_ADMIN"),
        (32, "mount: permission denied", "run the container as root with CAP_SYS_ADMIN"),
        (22, "mount.lustre: mount failed: Invalid argument", "check the mount name"),
        (5, "mount.lustre: Input/output error\nIs the MGS running?", "open TCP 988 and 1018-1023"),
        (1, "Fatal error: mount not ready", "install the package fuse3 and give the container /dev/fuse"),
        (1, "", "mount failed (exit code 1)"),
    ],
)
def test_failed_lustre_mounts_say_what_to_do(tmp_path, code, stderr, message):
    with pytest.raises(ConfigError) as caught:
        ensure_mounted(lustre(), str(tmp_path), S3Options(), {}, mounts=lambda: (), run=Recorder(code, stderr))
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"CXG_DATAROOT {FSX}")
    assert "\n" not in str(caught.value)


def test_a_mount_without_an_answer_is_given_up(tmp_path):
    run = Recorder(raises=subprocess.TimeoutExpired("mount", 60))
    with pytest.raises(StorageUnavailable, match=r"no answer within 60 s; open TCP 988"):
        ensure_mounted(lustre(), str(tmp_path), S3Options(), {}, mounts=lambda: (), run=run)


def test_success_without_a_mount_is_not_believed(tmp_path):
    with pytest.raises(ConfigError, match="nothing is mounted"):
        ensure_mounted(lustre(), str(tmp_path), S3Options(), {}, mounts=lambda: (), run=Recorder())


def test_mount_point_must_be_absolute_and_creatable(tmp_path):
    with pytest.raises(ConfigError, match="CXG_MOUNT_POINT is data; give an absolute path"):
        ensure_mounted(lustre(), "data", S3Options(), {}, mounts=lambda: (), run=Recorder())
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot be mounted at .*file/x"):
        ensure_mounted(lustre(), str(tmp_path / "file" / "x"), S3Options(), {}, mounts=lambda: (), run=Recorder())


def only(*names):
    return lambda name: f"/usr/bin/{name}" if name in names else None


def test_the_first_installed_client_is_taken_in_order_of_preference():
    def first(*names):
        return mount_command(bucket(), POINT, S3Options(), only(*names))[0][0]

    assert first("rclone", "mount-s3") == "mount-s3"
    assert first("rclone") == "rclone"
    with pytest.raises(ConfigError, match="neither mount-s3 nor rclone is installed"):
        first("mount")


STORE = S3Options("eu-west-1", "http://minio:9000", unsigned=True)


def test_mountpoint_command():
    command, extra = mount_command(bucket(), POINT, STORE, only("mount-s3"))
    text = " ".join(command)
    assert text.startswith(f"mount-s3 data {POINT} --read-only --allow-other")
    assert (
        "--prefix a/b/ --region eu-west-1 --endpoint-url http://minio:9000 --force-path-style --no-sign-request" in text
    )
    assert extra == {}
    plain = mount_command(bucket("s3://data"), POINT, S3Options(), only("mount-s3"))[0]
    assert not {"--prefix", "--region", "--endpoint-url", "--no-sign-request"} & set(plain)


def test_rclone_gets_its_settings_from_the_environment():
    command, extra = mount_command(bucket(), POINT, STORE, only("rclone"))
    assert command[:4] == ["rclone", "mount", "cxg:data/a/b", POINT]
    assert {"--read-only", "--allow-other", "--daemon"} <= set(command)
    assert extra["RCLONE_CONFIG_CXG_ENDPOINT"] == "http://minio:9000"
    assert extra["RCLONE_CONFIG_CXG_ENV_AUTH"] == "false"
    signed = mount_command(bucket(), POINT, S3Options("eu-west-1"), only("rclone"))[1]
    assert (signed["RCLONE_CONFIG_CXG_ENV_AUTH"], signed["RCLONE_CONFIG_CXG_PROVIDER"]) == ("true", "AWS")


def test_output_of_a_client_that_stays_behind_is_not_waited_for():
    command = ["sh", "-c", "echo went wrong >&2; sleep 30 & exit 3"]
    finished = mounts._run(command, {"PATH": "/usr/bin:/bin"})
    assert (finished.returncode, finished.stdout) == (3, "went wrong\n")
