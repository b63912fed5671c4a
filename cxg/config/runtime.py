"""The environment of the process, read once into a frozen value; nothing below the start asks the environment again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cxg.config.environment import ENVIRONMENT, read_number
from cxg.config.model import S3Locator

_NUMBERS = ("CXG_MEMORY_MB", "CXG_WORKERS", "WEB_CONCURRENCY", "CXG_THREADS", "CXG_CACHE_MB")


@dataclass(frozen=True)
class AwsEnvironment:
    """What the variables of the AWS SDKs say; the SDKs read credentials from the environment themselves."""

    endpoint_url: str | None = None
    region: str | None = None
    metadata_is_off: bool = False
    metadata_url: str | None = None

    @classmethod
    def of(cls, env: Mapping[str, str]) -> AwsEnvironment:
        """Read the variables; an empty one is not set."""
        return cls(
            endpoint_url=env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or None,
            region=env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or None,
            metadata_is_off=env.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true",
            metadata_url=env.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or None,
        )

    def endpoint_of(self, locator: S3Locator) -> str | None:
        """Return the address of the S3-compatible store in use; None for AWS itself."""
        return locator.endpoint_url or self.endpoint_url


@dataclass(frozen=True)
class Runtime:
    """What the environment variables say, see `ENVIRONMENT`; an empty variable is not set.

    Attributes
    ----------
    overrides : mapping
        Variables that win over a key of the configuration, by name; `cxg.config.load` takes them.
    numbers : mapping
        Texts of the variables that are numbers. A text is checked when its number is asked for, so that a wrong one
        stops the step that needs it and no other command.
    """

    overrides: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, str] = field(default_factory=dict)
    config_file: str = ""
    secret_key: str | None = field(default=None, repr=False)
    secret_name: str | None = None
    secret_region: str | None = None
    s3_mount: str = ""
    mount_point: str | None = None
    public_url: str | None = None
    run_as: str | None = None
    client_dir: Path | None = None
    cache_dir: str | None = None
    plugins_dir: Path | None = None
    deploy_dir: Path | None = None
    inline_scripts_dir: Path | None = None
    aws: AwsEnvironment = AwsEnvironment()

    @classmethod
    def of(cls, env: Mapping[str, str]) -> Runtime:
        """Read the variables of an environment."""

        def folder(name: str) -> Path | None:
            return Path(env[name]) if env.get(name) else None

        keyed = [variable.name for variable in ENVIRONMENT if variable.key is not None]
        return cls(
            overrides={name: env[name] for name in keyed if env.get(name)},
            numbers={name: env[name] for name in _NUMBERS if env.get(name)},
            config_file=env.get("CXG_CONFIG_FILE", ""),
            secret_key=env.get("CXG_SECRET_KEY") or None,
            secret_name=env.get("CXG_AWS_SECRET_NAME") or None,
            secret_region=env.get("CXG_AWS_SECRET_REGION_NAME") or None,
            s3_mount=env.get("CXG_S3_MOUNT", ""),
            mount_point=env.get("CXG_MOUNT_POINT") or None,
            public_url=env.get("CXG_PUBLIC_URL") or None,
            run_as=env.get("CXG_RUN_AS") or None,
            client_dir=folder("CXG_CLIENT_DIR"),
            cache_dir=env.get("CXG_CACHE_DIR") or None,
            plugins_dir=folder("CXG_PLUGINS_DIR"),
            deploy_dir=folder("CXG_DEPLOY_DIR"),
            inline_scripts_dir=folder("CXG_INLINE_SCRIPTS_DIR"),
            aws=AwsEnvironment.of(env),
        )

    def in_region(self, region: str | None) -> Runtime:
        """Return the same with another AWS region; None keeps the region."""
        return self if region is None else replace(self, aws=replace(self.aws, region=region))

    @property
    def memory_mb(self) -> int | None:
        """Return the memory to share out, in MB; raises `ConfigError`, as the others, where it is not such a number."""
        return read_number(self.numbers, "CXG_MEMORY_MB", 1, "MB")

    @property
    def workers(self) -> int | None:
        """Return the number of worker processes; hosting platforms name them in WEB_CONCURRENCY."""
        own = read_number(self.numbers, "CXG_WORKERS", 1, "processes")
        return own or read_number(self.numbers, "WEB_CONCURRENCY", 1, "processes")

    @property
    def threads(self) -> int | None:
        """Return the number of threads of each worker."""
        return read_number(self.numbers, "CXG_THREADS", 1, "threads")

    @property
    def cache_mb(self) -> int | None:
        """Return the most that the copies may take, in MB; 0 switches them off."""
        return read_number(self.numbers, "CXG_CACHE_MB", 0, "megabytes")


NO_VARIABLES = Runtime()
