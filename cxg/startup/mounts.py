"""Dataroots that are file systems to be mounted: FSx for Lustre, and S3 through FUSE.

A dataroot ``lustre://<dns>@tcp:/<mountname>[/folder]``, or an ``s3://`` one with CXG_S3_MOUNT=1, is served from a
folder below CXG_MOUNT_POINT (default /mnt/cxg). Mostly the host mounts it and binds it into the container, which needs
no privileges there; what is found at the mount point is then checked, since a folder bound before its file system was
mounted looks like an empty one. Where nothing is mounted, this module does it, which takes root and CAP_SYS_ADMIN.

Reading S3 directly is faster for CXGs. Among the FUSE clients Mountpoint is preferred, being AWS's own and read-only by
design; rclone, which Debian has, keeps listings for `LISTING_S` and reads parts of objects.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxg.aws.calls import split_s3
from cxg.errors import ConfigError, StorageUnavailable
from cxg.redact import redacted

DEFAULT_MOUNT_POINT = "/mnt/cxg"
LISTING_S = 10
_MOUNT_S = 60
_LUSTRE = re.compile(r"lustre://(?P<server>[^/@]+@[a-z0-9]+):/(?P<name>[^/]+)(?:/(?P<folder>.*))?")
_OCTAL = re.compile(r"\\([0-7]{3})")
FUSE_CLIENTS = ("mount-s3", "rclone")

Run = Callable[[Sequence[str], Mapping[str, str]], "subprocess.CompletedProcess[str]"]
Which = Callable[[str], str | None]


@dataclass(frozen=True)
class Mounted:
    """One line of /proc/self/mountinfo: which part (`root`) of what `source` is mounted where."""

    point: str
    root: str
    kind: str
    source: str


@dataclass(frozen=True)
class MountRequest:
    """A file system that a dataroot asks for.

    Attributes
    ----------
    uri : str
        The dataroot as configured.
    setting : str
        Variable or key that holds it, for messages.
    source : str
        What `mount` takes as the device: ``<server>@tcp:/<name>``, or ``bucket/prefix``.
    folder : str
        Part of the file system that is the dataroot; "" for all of it.
    kind : str
        ``lustre`` or ``s3``.
    """

    uri: str
    setting: str
    source: str
    folder: str
    kind: str


@dataclass(frozen=True)
class S3Options:
    """How a FUSE client reaches the bucket."""

    region: str | None = None
    endpoint_url: str | None = None
    unsigned: bool = False


def requested_mount(uri: str, setting: str, s3_mount: str) -> MountRequest | None:
    """Tell what mount a dataroot asks for; None for a plain path, or S3 that is read directly.

    Parameters
    ----------
    s3_mount : str
        Value of CXG_S3_MOUNT; "" where it is not set.

    Raises
    ------
    ConfigError
        A lustre:// URI of another form, or CXG_S3_MOUNT with a dataroot that is not on S3.
    """
    s3_mount = s3_mount.lower()
    if s3_mount not in ("", "0", "1", "true", "false"):
        raise ConfigError(f"CXG_S3_MOUNT is {s3_mount!r}; set it to 1 to mount the bucket, or leave it out.")
    if uri.startswith("lustre://"):
        parts = _LUSTRE.fullmatch(uri)
        folder = (parts["folder"] or "").strip("/") if parts else ""
        if parts is None or ".." in folder.split("/"):
            raise ConfigError(f"{setting} is {uri}; write it as lustre://<dns name>@tcp:/<mountname>[/folder].")
        return MountRequest(uri, setting, f"{parts['server']}:/{parts['name']}", folder, "lustre")
    if s3_mount not in ("1", "true"):
        return None
    if not uri.startswith("s3://"):
        raise ConfigError(f"CXG_S3_MOUNT is set, but {setting} is {uri}; it must be an s3:// URI to be mounted.")
    bucket, prefix = split_s3(uri)
    return MountRequest(uri, setting, f"{bucket}/{prefix}".rstrip("/"), "", "s3")


def read_mounts(text: str | None = None) -> tuple[Mounted, ...]:
    """Read what is mounted in this container; format: proc(5), /proc/[pid]/mountinfo."""
    found = []
    for line in (text if text is not None else Path("/proc/self/mountinfo").read_text(encoding="utf-8")).splitlines():
        left, _, right = line.partition(" - ")
        fields, tail = left.split(), right.split()
        if len(fields) >= 5 and len(tail) >= 2:
            found.append(Mounted(_unescape(fields[4]), _unescape(fields[3]), tail[0], _unescape(tail[1])))
    return tuple(found)


def mount_at(point: str, mounts: Sequence[Mounted]) -> Mounted | None:
    """Find the file system mounted exactly at `point`; the topmost when there are several."""
    return next((mount for mount in reversed(mounts) if mount.point == os.path.normpath(point)), None)


def ensure_mounted(
    wanted: MountRequest,
    point: str,
    options: S3Options,
    env: Mapping[str, str],
    *,
    mounts: Callable[[], Sequence[Mounted]] = read_mounts,
    run: Run | None = None,
    which: Which = shutil.which,
) -> str:
    """Mount what a dataroot asks for, unless that is mounted already, and return its path.

    Parameters
    ----------
    point : str
        Absolute path of the mount point.
    options : S3Options
        For the S3 kind alone.
    env : mapping
        Environment of the FUSE client; holds its credentials.

    Raises
    ------
    ConfigError
        Something else is mounted there, or it cannot be mounted from here.
    StorageUnavailable
        The server of the file system did not answer.
    """
    what = f"{wanted.setting} {wanted.uri}"
    if not point.startswith("/"):
        raise ConfigError(f"CXG_MOUNT_POINT is {point}; give an absolute path such as {DEFAULT_MOUNT_POINT}.")
    point = os.path.normpath(point)
    present = mount_at(point, mounts())
    if present is not None:
        return f"{point}/{verify(wanted, present)}".rstrip("/")
    command, extra = mount_command(wanted, point, options, which)
    try:
        Path(point).mkdir(parents=True, exist_ok=True)
        finished = (run or _run)(command, {**env, **extra})
    except subprocess.TimeoutExpired:
        raise StorageUnavailable(f"{what}: no answer within {_MOUNT_S} s; {_reach(wanted)}.") from None
    except OSError as error:
        raise ConfigError(
            f"{what}: cannot be mounted at {point} ({error.strerror}); {_BY_HOST.format(point)}."
        ) from error
    if finished.returncode != 0:
        raise ConfigError(_failure(wanted, point, command, finished))
    if mount_at(point, mounts()) is None:
        raise ConfigError(f"{what}: {command[0]} found no fault, but nothing is mounted; {_BY_HOST.format(point)}.")
    return f"{point}/{wanted.folder}".rstrip("/")


def verify(wanted: MountRequest, present: Mounted) -> str:
    """Check that what the host bound in is what the dataroot asks for; returns the folder left to add.

    Raises
    ------
    ConfigError
        It is something else.
    """
    where = f"{wanted.setting} {wanted.uri}: at {present.point} the host has bound in"
    if wanted.kind == "s3":
        if not present.kind.startswith("fuse"):
            raise ConfigError(f"{where} a {present.kind} folder, not a mounted bucket: {_BOUND_TOO_EARLY}")
        return ""
    if present.kind != "lustre":
        raise ConfigError(f"{where} a {present.kind} folder, not a Lustre file system: {_BOUND_TOO_EARLY}")
    name = wanted.source.rpartition("/")[2]
    # The kernel shows the server's address where the DNS name was given, so only the name is compared.
    tail = present.source.partition(":/")[2].strip("/").split("/")
    if tail[0] != name:
        raise ConfigError(f"{where} {present.source}, whose mount name is not {name}; mount the right file system.")
    bound = "/".join(part for part in ("/".join(tail[1:]), present.root.strip("/")) if part)
    if not bound:
        return wanted.folder
    if wanted.folder != bound and not wanted.folder.startswith(f"{bound}/"):
        raise ConfigError(f"{where} its folder /{bound}, which does not hold /{wanted.folder}; bind in the right one.")
    return wanted.folder[len(bound) :].strip("/")


def mount_command(
    wanted: MountRequest, point: str, options: S3Options, which: Which
) -> tuple[list[str], dict[str, str]]:
    """Return the command that mounts read-only, and the variables it needs besides the process's own.

    Raises
    ------
    ConfigError
        No program for it is installed.
    """
    if wanted.kind == "lustre":
        return ["mount", "-t", "lustre", "-o", "ro,relatime,flock", wanted.source, point], {}
    installed = next((name for name in FUSE_CLIENTS if which(name)), None)
    if installed is None:
        raise ConfigError(
            f"CXG_S3_MOUNT is set, but neither {' nor '.join(FUSE_CLIENTS)} is installed here: mount the bucket on the "
            f"host and bind it to {point}, or unset CXG_S3_MOUNT to read {wanted.uri} directly."
        )
    bucket, _, prefix = wanted.source.partition("/")
    maker = {"mount-s3": _mountpoint, "rclone": _rclone}[installed]
    return maker(bucket, prefix, point, options)


def _mountpoint(bucket: str, prefix: str, point: str, options: S3Options) -> tuple[list[str], dict[str, str]]:
    command = ["mount-s3", bucket, point, "--read-only", "--allow-other", "--metadata-ttl", str(LISTING_S)]
    command += ["--prefix", f"{prefix}/"] if prefix else []
    command += ["--region", options.region] if options.region else []
    command += ["--endpoint-url", options.endpoint_url, "--force-path-style"] if options.endpoint_url else []
    command += ["--no-sign-request"] if options.unsigned else []
    return command, {}


def _rclone(bucket: str, prefix: str, point: str, options: S3Options) -> tuple[list[str], dict[str, str]]:
    command = ["rclone", "mount", f"cxg:{bucket}/{prefix}".rstrip("/"), point, "--config", "", "--read-only"]
    command += ["--allow-other", "--no-modtime", "--daemon", "--daemon-wait", f"{_MOUNT_S // 2}s"]
    command += ["--vfs-cache-mode", "off", "--dir-cache-time", f"{LISTING_S}s", "--attr-timeout", f"{LISTING_S}s"]
    remote = {
        "TYPE": "s3",
        "PROVIDER": "Other" if options.endpoint_url else "AWS",
        "ENV_AUTH": "false" if options.unsigned else "true",
        "REGION": options.region or "us-east-1",
        "NO_CHECK_BUCKET": "true",
    }
    if options.endpoint_url:
        remote |= {"ENDPOINT": options.endpoint_url, "FORCE_PATH_STYLE": "true"}
    return command, {f"RCLONE_CONFIG_CXG_{name}": value for name, value in remote.items()}


_BY_HOST = "mount it on the host and bind it to {}"
_BOUND_TOO_EARLY = "mount it on the host first, then start the container."


def _reach(wanted: MountRequest) -> str:
    if wanted.kind == "lustre":
        return "open TCP 988 and 1018-1023 between this instance and the file system in their security groups"
    return "check the network, the region and the endpoint"


def _failure(
    wanted: MountRequest, point: str, command: Sequence[str], finished: subprocess.CompletedProcess[str]
) -> str:
    said = (
        redacted(" ".join((finished.stderr or finished.stdout or "").split()))[:300]
        or f"exit code {finished.returncode}"
    )
    lowered = said.lower()
    by_host = _BY_HOST.format(point)
    if wanted.kind == "lustre" and "unknown filesystem type" in lowered:
        remedy = f"install the Lustre client, or {by_host}"
    elif "mount not ready" in lowered or "fusermount" in lowered:
        remedy = f"install the package fuse3 and give the container /dev/fuse and CAP_SYS_ADMIN, or {by_host}"
    elif "permitted" in lowered or "permission" in lowered or "superuser" in lowered or "must be root" in lowered:
        remedy = f"run the container as root with CAP_SYS_ADMIN and /dev/fuse, or {by_host}"
    elif "invalid argument" in lowered and wanted.kind == "lustre":
        remedy = "check the mount name: it is LustreConfiguration.MountName of the file system"
    else:
        remedy = _reach(wanted)
    return f"{wanted.setting} {wanted.uri}: {command[0]} failed ({said}); {remedy}."


def _run(command: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    # A FUSE client stays behind as a daemon that may keep its output open, so waiting for the end of
    # a pipe could last for ever; memory-backed files also do without a writable disk.
    with open(os.memfd_create("mount-output"), "w+", encoding="utf-8", errors="replace") as output:  # noqa: PTH123
        finished = subprocess.run(
            list(command),
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_MOUNT_S,
            check=False,
        )
        output.seek(0)
        return subprocess.CompletedProcess(command, finished.returncode, stdout=output.read(), stderr="")


def _unescape(text: str) -> str:
    return _OCTAL.sub(lambda match: chr(int(match[1], 8)), text)
