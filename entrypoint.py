"""Process 1 of the container: make everything ready, then become gunicorn.

The order is fixed, as each step may need what the one before it found:

1. configuration: the baked ``customize/config.yaml``, else CXG_CONFIG_FILE (a path or an s3:// URI);
   CXG_DATAROOT overrides its dataroot, and one of the two must be there;
2. secret key: AWS Secrets Manager, else CXG_SECRET_KEY, else the configuration, else none;
3. mount, when the dataroot asks for one, after which root's rights are given up;
4. checks: the dataroot lists, and AWS credentials can be had when it needs them;
5. `os.execvpe` of gunicorn, so that SIGTERM reaches it and its exit code is the container's.

A failure is one line on standard error that names the variable, key or URI and the fix, and exit
code 2. Nothing secret is printed.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

from cxg.aws.calls import Aws
from cxg.config import Config, load
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError, CxgError, one_line
from cxg.memory import plan
from cxg.redact import redacted
from cxg.startup import mounts
from cxg.startup.preflight import DEFAULTS, Source, find_config
from cxg.startup.prepare import prepare
from cxg.startup.prepared import Data, Prepared
from cxg.startup.s3_access import S3Access

BAKED_CONFIG = Path(__file__).resolve().parent / "customize" / "config.yaml"
RUN_AS = "cxg"
# A container is reached from outside it, unless its operator says otherwise.
CONTAINER_DEFAULTS = {"CXG_HOST": "0.0.0.0"}  # noqa: S104


def say(line: str) -> None:
    """Write one line to standard error, which is the container's log."""
    sys.stderr.write(f"cellxgene-eb: {redacted(line)}\n")
    sys.stderr.flush()


def mount(wanted: mounts.MountRequest, point: str, options: mounts.S3Options) -> str:
    """Mount a file system with the credentials of this process, unless it is mounted; its path."""
    return mounts.ensure_mounted(wanted, point, options, os.environ)


def drop_root(user: str, make_groups: Callable[[list[int]], None] = os.setgroups) -> None:
    """Go on as an ordinary user when started as root, which only mounting needs."""
    if os.geteuid() != 0:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        return
    make_groups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir


@dataclass(frozen=True)
class Machine:
    """What the start reads and changes on its machine besides files; tests give others."""

    read_mounts: Callable[[], Sequence[mounts.Mounted]] = mounts.read_mounts
    mount: Callable[[mounts.MountRequest, str, mounts.S3Options], str] = mount
    drop_root: Callable[[str], None] = drop_root


THIS_MACHINE = Machine()


def mount_data(data: Data, runtime: Runtime, s3: S3Access, machine: Machine) -> str:
    """Mount what the dataroot asks for and return the path to serve; its own URI when it asks for nothing."""
    wanted = mounts.requested_mount(data.uri, data.setting, runtime.s3_mount)
    if wanted is None:
        return data.uri
    what = f"{data.setting} {data.uri}"
    point = runtime.mount_point or mounts.DEFAULT_MOUNT_POINT
    options = mounts.S3Options()
    if wanted.kind == "s3" and mounts.mount_at(point, machine.read_mounts()) is None:
        warning = s3.check_credentials(what)
        if warning:
            say(f"warning: {warning}")
        region = s3.data_region(data.uri, data.setting)
        options = mounts.S3Options(region, s3.endpoint_url, s3.unsigned)
    path = machine.mount(wanted, point, options)
    say(f"{what} is mounted at {path}.")
    return path


def keep_text(source: Source) -> str:
    """Return the path under which the server reads the configuration again.

    What came from S3 is kept in memory, in a file descriptor that gunicorn and its workers
    inherit: the root file system may be read-only, and the text may hold a secret.
    """
    if source.uri is None:
        return source.name
    descriptor = os.memfd_create("config.yaml", 0)  # no close-on-exec
    with os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as copy:
        copy.write(source.text)
    return f"/proc/self/fd/{descriptor}"


def read_config(source: Source, runtime: Runtime) -> Config:
    """Read the configuration and say what in it has no effect."""
    if source.note:
        say(source.note)
    loaded = load(source.text, runtime.overrides, source.name)
    for warning in loaded.warnings:
        say(f"warning: {warning}")
    return loaded.config


def make_ready(runtime: Runtime, aws: Aws, baked: Path, machine: Machine) -> Prepared:
    """Do steps 1 to 4 and return what the server needs.

    Raises
    ------
    CxgError
        The first step that fails.
    """

    def locate(data: Data, s3: S3Access) -> str:
        path = mount_data(data, runtime, s3, machine)
        machine.drop_root(runtime.run_as or RUN_AS)
        return path

    source = find_config(runtime, baked, aws)
    config = read_config(source, runtime)
    prepared = prepare(config, runtime, aws, locate, config_uri=source.uri)
    for warning in prepared.warnings:
        say(f"warning: {warning}")
    key = prepared.secret
    if key is not None and key.weakness:
        say(f"warning: {key.weakness}.")
    if os.geteuid() == 0:
        say("warning: the server runs as root; name an ordinary user in CXG_RUN_AS.")
    found = key.source if key else "none, and none is needed"
    say(f"configuration: {source.name}; data: {prepared.path}; secret key: {found}.")
    return replace(prepared, config_file=None if source.name == DEFAULTS else keep_text(source))


def become_gunicorn(prepared: Prepared) -> NoReturn:
    """Look at the datasets, print the memory plan, and replace this process by gunicorn."""
    # Loaded late: a faulty configuration is answered without loading the server.
    from cxg.startup.first_look import FirstLook
    from cxg.startup.gunicorn import gunicorn_command, server_environment

    if prepared.region:
        os.environ["AWS_REGION"] = prepared.region  # TileDB reads it from this process's own environment
    look = FirstLook(prepared.config, prepared.runtime)
    look.run()
    for line in look.lines():
        say(f"warning: {line}")
    shares = plan(prepared.runtime)
    sys.stderr.write(f"{shares.table()}\n")
    sys.stderr.flush()
    if prepared.runtime.public_url:  # only whoever publishes the port knows it
        say(f"open {prepared.runtime.public_url} in a web browser.")
    server = prepared.config.server
    command = gunicorn_command(server.host, server.port, shares.workers, shares.threads)
    environment = server_environment({**CONTAINER_DEFAULTS, **os.environ}, prepared, shares)
    os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is the point


def main(baked: Path = BAKED_CONFIG, machine: Machine = THIS_MACHINE) -> NoReturn:
    """Prepare, then become gunicorn; exit with code 2 and one line when something is wrong."""
    try:
        runtime = Runtime.of({**CONTAINER_DEFAULTS, **os.environ})
        become_gunicorn(make_ready(runtime, Aws(runtime.aws), baked, machine))
    except ConfigError as error:
        for problem in error.problems:
            say(f"error: {one_line(problem)}")
    except CxgError as error:
        say(f"error: {one_line(error)}")
    except Exception as error:  # noqa: BLE001 - the last resort before the container dies; still one line
        say(f"error: {type(error).__name__}: {one_line(error)}; please report this.")
    sys.exit(2)


if __name__ == "__main__":
    main()
