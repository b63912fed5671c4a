"""The TileDB configuration of a deployment."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import tiledb

from cxg.config import Config
from cxg.config.runtime import AwsEnvironment
from cxg.errors import ConfigError
from cxg.storage.listing import is_s3


def tiledb_settings(config: Config, aws: AwsEnvironment) -> dict[str, str]:
    """Return the TileDB configuration for this deployment.

    Later entries win: our defaults, the S3 section of the configuration, then
    `adaptor.cxg_adaptor.tiledb_ctx` word for word.

    Raises
    ------
    ConfigError
        A value TileDB does not accept.
    """
    s3 = config.data_locator.s3
    settings: dict[str, Any] = {
        # Waiting on S3 is latency, not work: more requests in flight than there are cores.
        "vfs.s3.max_parallel_ops": 32,
        "vfs.s3.connect_timeout_ms": 3000,
        "vfs.s3.request_timeout_ms": 10_000,
        "vfs.s3.connect_max_tries": 3,
    }
    if is_s3(config.multi_dataset.dataroot or config.single_dataset.datapath or ""):
        settings["sm.io_concurrency_level"] = 16
    region = s3.region_name
    if isinstance(region, str):
        settings["vfs.s3.region"] = region
    if endpoint := aws.endpoint_of(s3):
        parts = urlsplit(endpoint if "://" in endpoint else f"https://{endpoint}")
        settings |= {
            "vfs.s3.endpoint_override": parts.netloc,
            "vfs.s3.scheme": parts.scheme,
            "vfs.s3.use_virtual_addressing": "false",
        }
        if "vfs.s3.region" not in settings and not aws.region:
            settings["vfs.s3.region"] = "us-east-1"
    if s3.no_sign_request:
        settings["vfs.s3.no_sign_request"] = "true"
    settings |= config.adaptor.cxg_adaptor.tiledb_ctx
    plain = {key: str(value) for key, value in settings.items()}
    try:
        tiledb.Config(plain)
    except tiledb.TileDBError as error:
        raise ConfigError(f"adaptor.cxg_adaptor.tiledb_ctx: TileDB does not accept it ({error}).") from error
    return plain
