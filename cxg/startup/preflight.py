"""What a deployment is made of, found and reached: its configuration, its data.

The entrypoint does this before the server starts, and `cxg doctor` to tell what is wrong.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cxg import aws
from cxg.config import Config
from cxg.config.files import read_config_file
from cxg.errors import ConfigError, StorageUnavailable

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


@dataclass(frozen=True)
class CheckedData:
    """The data can be listed: what to warn of, and the AWS region to read it in (None: as set, or no S3)."""

    warnings: tuple[str, ...] = ()
    region: str | None = None


def find_config(env: Mapping[str, str], baked: Path) -> Source:
    """Text of the configuration, which is empty when CXG_DATAROOT alone is set.

    Raises
    ------
    ConfigError
        There is none and CXG_DATAROOT is not set either, or it cannot be read.
    StorageUnavailable
        It is on S3, which cannot be reached.
    """
    named = env.get("CXG_CONFIG_FILE", "")
    if baked.is_file():
        note = f"CXG_CONFIG_FILE {named} is not used: there is a customize/config.yaml." if named else None
        return Source(read_config_file(baked), str(baked), note=note)
    if named.startswith("s3://"):
        return Source(_fetch_config(named, env), named, named)
    if named:
        try:
            return Source(read_config_file(Path(named)), named)
        except ConfigError as error:
            raise ConfigError(f"CXG_CONFIG_FILE {error}") from error
    if env.get("CXG_DATAROOT") or env.get("CXG_DATAPATH"):
        return Source("", DEFAULTS)
    raise ConfigError(
        "There is nothing to serve: set CXG_DATAROOT to the folder or s3:// URI that holds the datasets, or "
        "CXG_CONFIG_FILE to a configuration that names it."
    )


def _fetch_config(uri: str, env: Mapping[str, str]) -> str:
    endpoint = env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL")
    unsigned = aws.find_credentials() is None
    what = f"CXG_CONFIG_FILE {uri}"
    try:
        content = aws.read_object(uri, env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION"), endpoint, unsigned)
    except ConfigError as error:
        if unsigned:
            aws.check_credentials(what, env)
        raise ConfigError(f"CXG_CONFIG_FILE {error}") from error
    except StorageUnavailable as error:
        raise StorageUnavailable(f"CXG_CONFIG_FILE {error}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{what}: byte {error.start + 1} is not UTF-8 text; save the file as UTF-8.") from None


def data_setting(config: Config, env: Mapping[str, str]) -> tuple[str, str]:
    """URI of the data, and the variable or key that names it.

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
            return uri, variable if env.get(variable) else key
    raise ConfigError(
        "The configuration names no data: set multi_dataset.dataroot in it, or the environment variable CXG_DATAROOT."
    )


def check_data(uri: str, setting: str, config: Config, env: Mapping[str, str]) -> CheckedData:
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
        return check_s3(uri, setting, config, env)
    check_folder(uri, setting)
    return CheckedData()


def s3_region(uri: str, setting: str, config: Config, env: Mapping[str, str]) -> str | None:
    """Find the region to read an S3 dataroot in; None when only the store itself can know.

    Raises
    ------
    ConfigError, StorageUnavailable
        data_locator.s3.region_name is not the bucket's; the store cannot be reached.
    """
    locator = config.data_locator.s3
    endpoint = aws.endpoint_of(locator, env)
    own = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
    if locator.region_name is False or (endpoint and isinstance(locator.region_name, str)):
        return locator.region_name or own
    with _naming(setting):
        found = aws.bucket_region(aws.split_s3(uri)[0], endpoint)
    if isinstance(locator.region_name, str):
        if found not in (None, locator.region_name):
            raise ConfigError(
                f"data_locator.s3.region_name is {locator.region_name}, but {setting} {uri} is in {found}; "
                "set it to that, or to true."
            )
        return locator.region_name
    return found or own


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
        mend = {
            FileNotFoundError: "create it, or bind it into the container",
            NotADirectoryError: "name the folder that holds the datasets",
            PermissionError: f"make it readable for user {os.geteuid()}",
        }.get(type(problems[0]), "check the file system it is on")
        raise ConfigError(f"{setting} {path} cannot be listed ({problems[0].strerror}); {mend}.")


def check_s3(uri: str, setting: str, config: Config, env: Mapping[str, str]) -> CheckedData:
    """See that an S3 prefix lists with the credentials at hand, and find its region.

    Raises
    ------
    ConfigError, StorageUnavailable
        What is missing or refused; S3 cannot be reached.
    """
    what = f"{setting} {uri}"
    if any(f"vfs.s3.{name}" in config.adaptor.cxg_adaptor.tiledb_ctx for name in _OWN_S3):
        return CheckedData((f"{what} was not checked, as adaptor.cxg_adaptor.tiledb_ctx has S3 settings of its own.",))
    locator = config.data_locator.s3
    warning = None if locator.no_sign_request else aws.check_credentials(what, env)
    region = s3_region(uri, setting, config, env)
    with _naming(setting):
        filled = aws.has_objects(uri, region, aws.endpoint_of(locator, env), locator.no_sign_request)
    empty = None if filled else f"{what} holds nothing yet; datasets put there appear within half a minute."
    return CheckedData(tuple(one for one in (warning, empty) if one), region)


@contextmanager
def _naming(setting: str) -> Iterator[None]:
    """Put the variable or key in front of what AWS says about its value."""
    try:
        yield
    except StorageUnavailable as error:
        raise StorageUnavailable(f"{setting} {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{setting} {error}") from error
