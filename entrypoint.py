"""Process 1 of the container: make everything ready, then become gunicorn.

The order is fixed, as each step may need what the one before it found:

1. configuration: the baked ``customize/config.yaml``, else CXG_CONFIG_FILE (a path or an s3:// URI);
   CXG_DATAROOT overrides its dataroot, and one of the two must be there;
2. secret key: AWS Secrets Manager, else CXG_SECRET_KEY, else the configuration, else none;
3. mount, when the dataroot asks for one, after which root's rights are given up;
4. checks: the dataroot lists, and AWS credentials can be had when it needs them;
5. `os.execvpe` of gunicorn, so that SIGTERM reaches it and its exit code is the container's.

A failure is one line on standard error that names the variable, key or URI and the mend, and exit
code 2. Nothing secret is printed.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import NoReturn

from cxg import aws
from cxg.config import Config, load
from cxg.errors import ConfigError, CxgError
from cxg.memory import plan
from cxg.redact import redacted
from cxg.startup import mounts
from cxg.startup.preflight import DEFAULTS, Source, check_data, data_setting, find_config, s3_region
from cxg.startup.secret_key import SecretKey, find_secret_key

BAKED_CONFIG = Path(__file__).resolve().parent / "customize" / "config.yaml"
RUN_AS = "cxg"
Environment = MutableMapping[str, str]


def say(line: str) -> None:
    """Write one line to standard error, which is the container's log."""
    sys.stderr.write(f"cellxgene-eb: {redacted(line)}\n")
    sys.stderr.flush()


def mount_data(uri: str, setting: str, config: Config, env: Environment) -> str:
    """Mount what the dataroot asks for and return the path to serve; `uri` itself when it asks for nothing."""
    wanted = mounts.wanted_mount(uri, setting, env)
    if wanted is None:
        return uri
    point = env.get("CXG_MOUNT_POINT") or mounts.DEFAULT_MOUNT_POINT
    options = mounts.S3Options()
    if wanted.kind == "s3" and mounts.mount_at(point, mounts.read_mounts()) is None:
        locator = config.data_locator.s3
        warning = None if locator.no_sign_request else aws.check_credentials(f"{setting} {uri}", env)
        if warning:
            say(f"warning: {warning}")
        region = s3_region(uri, setting, config, env)
        options = mounts.S3Options(region, aws.endpoint_of(locator, env), locator.no_sign_request)
    path = mounts.ensure_mounted(wanted, point, options, env)
    say(f"{setting} {uri} is mounted at {path}.")
    return path


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


def keep_text(source: Source) -> str:
    """Path under which the server reads the configuration again.

    What came from S3 is kept in memory, in a file descriptor that gunicorn and its workers
    inherit: the root file system may be read-only, and the text may hold a secret.
    """
    if source.uri is None:
        return source.name
    descriptor = os.memfd_create("config.yaml", 0)  # no close-on-exec
    with os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as copy:
        copy.write(source.text)
    return f"/proc/self/fd/{descriptor}"


def prepare(env: Environment, baked: Path = BAKED_CONFIG) -> tuple[Config, SecretKey | None]:
    """Do steps 1 to 4 and leave in `env` what the server needs.

    Raises
    ------
    CxgError
        The first step that fails.
    """
    source = find_config(env, baked)
    if source.note:
        say(source.note)
    env.setdefault("CXG_HOST", "0.0.0.0")  # noqa: S104 - a container is reached from outside it
    loaded = load(source.text, env, source.name)
    for warning in loaded.warnings:
        say(f"warning: {warning}")
    config = loaded.config
    uri, setting = data_setting(config, env)
    key = find_secret_key(config, env, source.uri)
    path = mount_data(uri, setting, config, env)
    drop_root(env.get("CXG_RUN_AS") or RUN_AS)
    checked = check_data(path, setting, config, env)
    for warning in checked.warnings:
        say(f"warning: {warning}")
    if checked.region:
        env["AWS_REGION"] = checked.region
    variable = "CXG_DATAROOT" if config.multi_dataset.dataroot else "CXG_DATAPATH"
    env[variable] = path
    if source.name == DEFAULTS:
        env.pop("CXG_CONFIG_FILE", None)
    else:
        env["CXG_CONFIG_FILE"] = keep_text(source)
    env.pop("CXG_AWS_SECRET_NAME", None)  # asked already; the workers need no way to it
    if key is not None:
        env["CXG_SECRET_KEY"] = key.value
        if key.weakness:
            say(f"warning: {key.weakness}.")
    if os.geteuid() == 0:
        say("warning: the server runs as root; name an ordinary user in CXG_RUN_AS.")
    say(f"configuration: {source.name}; data: {path}; secret key: {key.source if key else 'none, and none is needed'}.")
    return config, key


def main() -> NoReturn:
    """Prepare, then become gunicorn; exit with code 2 and one line when something is wrong."""
    try:
        config, _ = prepare(os.environ)
        # Loaded late: a faulty configuration is answered without loading the server.
        from cxg.startup.first_look import FirstLook
        from cxg.startup.gunicorn import gunicorn_command, server_environment

        look = FirstLook(config)
        look.run()
        for line in look.lines():
            say(f"warning: {line}")
        shares = plan(os.environ)
        sys.stderr.write(f"{shares.table()}\n")
        sys.stderr.flush()
        if os.environ.get("CXG_PUBLIC_URL"):  # only whoever publishes the port knows it
            say(f"open {os.environ['CXG_PUBLIC_URL']} in a web browser.")
        command = gunicorn_command(config.server.host, config.server.port, shares.workers, shares.threads)
        os.execvpe(command[0], command, server_environment(os.environ, shares))  # noqa: S606 - no shell is the point
    except ConfigError as error:
        for problem in error.problems:
            say(f"error: {' '.join(problem.split())}")
    except CxgError as error:
        say(f"error: {' '.join(str(error).split())}")
    except Exception as error:  # noqa: BLE001 - the last resort before the container dies; still one line
        say(f"error: {type(error).__name__}: {' '.join(str(error).split())}; please report this.")
    sys.exit(2)


if __name__ == "__main__":
    main()
