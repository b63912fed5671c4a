"""S3 as one deployment reaches it: the endpoint, whether requests are signed, and the regions of its buckets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cxg.aws.calls import Aws, split_s3
from cxg.config import S3Locator
from cxg.config.runtime import AwsEnvironment
from cxg.errors import ConfigError, StorageUnavailable


@dataclass(frozen=True)
class CheckedData:
    """The data can be listed: what to warn of, and the AWS region to read it in (None: as set, or no S3)."""

    warnings: tuple[str, ...] = ()
    region: str | None = None


class S3Access:
    """S3 of a configuration and its environment. The region of a bucket is asked for once.

    Attributes
    ----------
    aws : Aws
    endpoint_url : str or None
        None for AWS itself.
    unsigned : bool
        Whether requests go without credentials.
    """

    def __init__(self, aws: Aws, locator: S3Locator, environment: AwsEnvironment) -> None:
        self.aws, self._locator, self._environment = aws, locator, environment
        self.endpoint_url, self.unsigned = environment.endpoint_of(locator), locator.no_sign_request
        self._regions: dict[str, str | None] = {}

    def bucket_region(self, uri: str) -> str | None:
        """Return the region of the bucket of an S3 URI; None when the store does not tell.

        Raises
        ------
        StorageUnavailable
            The store cannot be reached.
        """
        bucket = split_s3(uri)[0]
        if bucket not in self._regions:
            self._regions[bucket] = self.aws.bucket_region(bucket, self.endpoint_url)
        return self._regions[bucket]

    def data_region(self, uri: str, setting: str) -> str | None:
        """Find the region to read the data in; None when only the store itself can know.

        Raises
        ------
        ConfigError, StorageUnavailable
            data_locator.s3.region_name is not the bucket's; the store cannot be reached.
        """
        named, own = self._locator.region_name, self._environment.region
        if named is False or (self.endpoint_url and isinstance(named, str)):
            return named or own
        with _naming(setting):
            found = self.bucket_region(uri)
        if isinstance(named, str):
            if found not in (None, named):
                raise ConfigError(
                    f"data_locator.s3.region_name is {named}, but {setting} {uri} is in {found}; "
                    "set it to that, or to true."
                )
            return named
        return found or own

    def check_credentials(self, what: str) -> str | None:
        """See that credentials can be had where requests are signed; a warning to print, or None.

        Raises
        ------
        ConfigError
            There are none.
        """
        return None if self.unsigned else self.aws.check_credentials(what)

    def check(self, uri: str, setting: str) -> CheckedData:
        """See that an S3 prefix lists with the credentials at hand, and find its region.

        Raises
        ------
        ConfigError, StorageUnavailable
            What is missing or refused; S3 cannot be reached.
        """
        what = f"{setting} {uri}"
        warning = self.check_credentials(what)
        region = self.data_region(uri, setting)
        with _naming(setting):
            filled = self.aws.has_objects(uri, region, self.endpoint_url, self.unsigned)
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
