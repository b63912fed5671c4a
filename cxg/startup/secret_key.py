"""The key that signs the links of `cxg share`, and session cookies of plugins.

AWS Secrets Manager is asked first, then CXG_SECRET_KEY, then the configuration. There is no
default value: one made up at start would differ between instances, and log users out at each
restart. A source that is named but cannot be read stops the start; it is never passed over for
the next one, as that would run a site with another key than its operator believes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from cxg.aws.calls import SECRET_FIELD
from cxg.config import Config
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError
from cxg.startup.s3_access import S3Access

_LEAST_LENGTH = 16
_LEAST_DIFFERENT = 8
_GENERATE = 'python3 -c "import secrets; print(secrets.token_hex(32))"'


@dataclass(frozen=True)
class SecretKey:
    """A secret key and where it was found; the value never shows in a repr or a log."""

    value: str = field(repr=False)
    source: str

    @property
    def weakness(self) -> str | None:
        """Say what is wrong with the key and how to fix it, or None when it is strong enough."""
        if len(self.value) < _LEAST_LENGTH or len(set(self.value)) < _LEAST_DIFFERENT:
            return (
                f"the secret key from {self.source} is too easy to guess: use {_LEAST_LENGTH} characters or more, "
                f"made by {_GENERATE}"
            )
        return None


def secret_region(config: Config, runtime: Runtime, s3: S3Access, config_uri: str | None) -> str:
    """Find the region of Secrets Manager to ask.

    CXG_AWS_SECRET_REGION_NAME, else the region of the dataroot's bucket, else that of the bucket
    the configuration came from, else the process's own AWS region.

    Raises
    ------
    ConfigError
        None of these tells it.
    StorageUnavailable
        The store with the bucket cannot be reached.
    """
    if runtime.secret_region:
        return runtime.secret_region
    locator = config.data_locator.s3
    dataroot = config.multi_dataset.dataroot or config.single_dataset.datapath
    for uri in (dataroot, config_uri):
        if uri and uri.startswith("s3://"):
            if uri == dataroot and isinstance(locator.region_name, str):
                return locator.region_name
            if found := s3.bucket_region(uri):
                return found
    if runtime.aws.region:
        return runtime.aws.region
    raise ConfigError("CXG_AWS_SECRET_NAME is set, but its region is not known: set CXG_AWS_SECRET_REGION_NAME.")


def find_secret_key(config: Config, runtime: Runtime, s3: S3Access, config_uri: str | None = None) -> SecretKey | None:
    """Find the secret key of this deployment; None when no source names one.

    Parameters
    ----------
    s3 : S3Access
        Tells the regions of buckets, and asks AWS for the secret.
    config_uri : str, optional
        Where the configuration was read from, when that was S3.

    Raises
    ------
    ConfigError
        The source that is named cannot be used.
    StorageUnavailable
        AWS cannot be reached.
    """
    if name := runtime.secret_name:
        region = secret_region(config, runtime, s3, config_uri)
        return SecretKey(_entry(s3.aws.read_secret(name, region), name), f"AWS Secrets Manager ({name}, {region})")
    if value := runtime.secret_key:
        return SecretKey(value, "CXG_SECRET_KEY")
    if value := config.server.flask_secret_key:
        return SecretKey(value, "server.flask_secret_key")
    return None


def _entry(text: str, name: str) -> str:
    try:
        entries = json.loads(text)
    except ValueError:
        # The parser's own message would quote the secret.
        raise ConfigError(
            f'CXG_AWS_SECRET_NAME {name}: the secret is not JSON; store {{"{SECRET_FIELD}": "..."}} there.'
        ) from None
    value = entries.get(SECRET_FIELD) if isinstance(entries, dict) else None
    if not isinstance(value, str) or not value:
        raise ConfigError(f"CXG_AWS_SECRET_NAME {name}: the secret has no text under the key {SECRET_FIELD}; add it.")
    return value
