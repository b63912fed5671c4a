"""The environment variables of the server process, and the keys they win over."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cxg.errors import ConfigError
from cxg.redact import redacted


@dataclass(frozen=True)
class EnvironmentVariable:
    """One environment variable of the server process; `key` is the key that it overrides, if any."""

    name: str
    meaning: str
    key: str | None = None


ENVIRONMENT = (
    EnvironmentVariable("CXG_DATAROOT", "The folder of datasets.", "multi_dataset.dataroot"),
    EnvironmentVariable("CXG_DATAPATH", "The one dataset to serve.", "single_dataset.datapath"),
    EnvironmentVariable("CXG_HOST", "Address to listen on.", "server.host"),
    EnvironmentVariable("CXG_PORT", "Port to listen on.", "server.port"),
    EnvironmentVariable(
        "CXG_TRUSTED_PROXIES",
        "Proxies in front whose X-Forwarded-For is believed: addresses and networks, separated by commas.",
        "server.trusted_proxies",
    ),
    EnvironmentVariable("CXG_VERBOSE", "Log each request: true or false.", "server.verbose"),
    EnvironmentVariable("CXG_CONFIG_FILE", "The configuration file: a path or an s3:// URI."),
    EnvironmentVariable("CXG_SECRET_KEY", "Secret key; wins over server.flask_secret_key."),
    EnvironmentVariable(
        "CXG_AWS_SECRET_NAME",
        "Secret in AWS Secrets Manager whose entry flask_secret_key is the secret key; wins over CXG_SECRET_KEY.",
    ),
    EnvironmentVariable(
        "CXG_AWS_SECRET_REGION_NAME",
        "Region of that secret; without it, the region of the dataroot's bucket, else of the configuration file's.",
    ),
    EnvironmentVariable("CXG_S3_MOUNT", "1: the container serves the dataroot's bucket mounted as a file system."),
    EnvironmentVariable("CXG_MOUNT_POINT", "Where a dataroot that is a file system is mounted; else /mnt/cxg."),
    EnvironmentVariable(
        "CXG_PUBLIC_URL", "Address to print when the container has started; the container cannot find it out."
    ),
    EnvironmentVariable("CXG_RUN_AS", "User to go on as when the container starts as root, to mount; else cxg."),
    EnvironmentVariable("CXG_WORKERS", "Worker processes; without it, from CPUs and memory."),
    EnvironmentVariable("CXG_THREADS", "Threads of each worker; without it, 8."),
    EnvironmentVariable(
        "CXG_MEMORY_MB", "Memory to share out, in MB; without it, the container's limit or the machine's memory."
    ),
    EnvironmentVariable("CXG_CLIENT_DIR", "Folder of the built web client: index.html and static/."),
    EnvironmentVariable(
        "CXG_CACHE_DIR",
        "Folder for decoded copies of the datasets in use, and copies of small files from S3, which are kept in "
        "a folder of their own in it; else a temporary one.",
    ),
    EnvironmentVariable(
        "CXG_CACHE_MB",
        "Most that the copies may take, in MB; else a quarter of the free space, or nothing where it is in memory "
        "(tmpfs). 0 switches it off.",
    ),
    EnvironmentVariable("CXG_PLUGINS_DIR", "Folder of plugins (*.py)."),
    EnvironmentVariable("CXG_DEPLOY_DIR", "Folder whose files are served at /static/cellxgene/deploy/."),
    EnvironmentVariable("CXG_INLINE_SCRIPTS_DIR", "Folder of the scripts named in server.inline_scripts."),
)


def read_number(texts: Mapping[str, str], name: str, least: int, what: str) -> int | None:
    """Read a whole number from the environment variable `name`; None where it is not set.

    `what` names the unit in the error sentence.

    Raises
    ------
    ConfigError
        The value is not a whole number, or is below `least`.
    """
    text = texts.get(name, "").strip()
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) < least:
        raise ConfigError(f"{name} is {redacted(text)[:40]!r}; it must be a whole number of {what}, {least} or more.")
    return int(text)
