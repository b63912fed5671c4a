"""What a deployment is made of, found and reached: its configuration, its data.

The entrypoint does this before the server starts, and `cxg doctor` to tell what is wrong.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from cxg.aws.calls import Aws
from cxg.config import Config
from cxg.config.files import read_config_file
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError, StorageUnavailable
from cxg.startup.prepared import Data
from cxg.startup.s3_access import CheckedData, S3Access

DEFAULTS = "the defaults"
_LIST_S = 20.0
# With one of these in adaptor.cxg_adaptor.tiledb_ctx, TileDB reaches S3 in a way that boto3 does not see.
_OWN_S3 = ("aws_access_key_id", "aws_role_arn", "config_source", "endpoint_override", "no_sign_request", "proxy_host")


@dataclass(frozen=True)
class Source:
    """The configuration's text, where it came from (`uri`: when that is S3), and what to say about the choice."""

    text: str
    name: str
    uri: str | None = None
    note: str | None = None


def find_config(runtime: Runtime, baked: Path, aws: Aws) -> Source:
    """Return the text of the configuration, which is empty when CXG_DATAROOT alone is set.

    Raises
    ------
    ConfigError
        There is none and CXG_DATAROOT is not set either, or it cannot be read.
    StorageUnavailable
        It is on S3, which cannot be reached.
    """
    named = runtime.config_file
    if baked.is_file():
        note = f"CXG_CONFIG_FILE {named} is not used: there is a customize/config.yaml." if named else None
        return Source(read_config_file(baked), str(baked), note=note)
    if named.startswith("s3://"):
        return Source(_fetch_config(named, runtime, aws), named, named)
    if named:
        try:
            return Source(read_config_file(Path(named)), named)
        except ConfigError as error:
            raise ConfigError(f"CXG_CONFIG_FILE {error}") from error
    if {"CXG_DATAROOT", "CXG_DATAPATH"} & runtime.overrides.keys():
        return Source("", DEFAULTS)
    raise ConfigError(
        "There is nothing to serve: set CXG_DATAROOT to the folder or s3:// URI that holds the datasets, or "
        "CXG_CONFIG_FILE to a configuration that names it."
    )


def _fetch_config(uri: str, runtime: Runtime, aws: Aws) -> str:
    unsigned = aws.find_credentials() is None
    what = f"CXG_CONFIG_FILE {uri}"
    try:
        content = aws.read_object(uri, runtime.aws.region, runtime.aws.endpoint_url, unsigned)
    except ConfigError as error:
        if unsigned:
            aws.check_credentials(what)
        raise ConfigError(f"CXG_CONFIG_FILE {error}") from error
    except StorageUnavailable as error:
        raise StorageUnavailable(f"CXG_CONFIG_FILE {error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what}: byte {error.start + 1} is not UTF-8 text; save the file as UTF-8.") from None


def find_data(config: Config, runtime: Runtime) -> Data:
    """Find what is to be served.

    Raises
    ------
    ConfigError
        Neither a dataroot nor a single dataset is configured.
    """
    for variable, key, uri in (
        ("CXG_DATAROOT", "multi_dataset.dataroot", config.multi_dataset.dataroot),
        ("CXG_DATAPATH", "single_dataset.datapath", config.single_dataset.datapath),
    ):
        if uri:
            return Data(uri, variable if variable in runtime.overrides else key, variable)
    raise ConfigError(
        "The configuration names no data: set multi_dataset.dataroot in it, or the environment variable CXG_DATAROOT."
    )


def check_data(uri: str, setting: str, config: Config, s3: S3Access) -> CheckedData:
    """See that a dataroot or dataset can be listed, within seconds.

    Parameters
    ----------
    uri : str
        A path or an s3:// URI.
    setting : str
        The variable or key that holds it, for messages.

    Raises
    ------
    ConfigError, StorageUnavailable
        What is missing or refused; it does not answer.
    """
    if uri.startswith("s3://"):
        if any(f"vfs.s3.{name}" in config.adaptor.cxg_adaptor.tiledb_ctx for name in _OWN_S3):
            own = "adaptor.cxg_adaptor.tiledb_ctx has S3 settings of its own"
            return CheckedData((f"{setting} {uri} was not checked, as {own}.",))
        return s3.check(uri, setting)
    check_folder(uri, setting)
    return CheckedData()


def check_folder(path: str, setting: str, timeout_s: float = _LIST_S) -> None:
    """List a folder once, within a time: a dead network file system would block for ever.

    Raises
    ------
    ConfigError, StorageUnavailable
        It is not there or not readable; it does not answer.
    """
    problems: list[OSError] = []

    def look() -> None:
        try:
            with os.scandir(path) as items:
                next(items, None)
        except OSError as error:
            problems.append(error)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        raise StorageUnavailable(
            f"{setting} {path}: no answer within {timeout_s:.0f} s; check the file system it is on."
        )
    if problems:
        remedy = {
            FileNotFoundError: "create it, or bind it into the container",
            NotADirectoryError: "name the folder that holds the datasets",
            PermissionError: f"make it readable for user {os.geteuid()}",
        }.get(type(problems[0]), "check the file system it is on")
        raise ConfigError(f"{setting} {path} cannot be listed ({problems[0].strerror}); {remedy}.")
