"""AWS that a test sets up: what is there, whose credentials are found, and which calls came."""

from __future__ import annotations

from cxg.aws.calls import Aws
from cxg.config import load
from cxg.config.runtime import AwsEnvironment
from cxg.errors import ConfigError
from cxg.startup.s3_access import S3Access


class FakeAws(Aws):
    """Answers from its attributes. An answer that is an exception is raised.

    Attributes
    ----------
    regions : dict
        Region of each bucket; the store does not tell that of another.
    objects : dict
        Content of each S3 object, by URI.
    secrets : dict
        Text of each secret, by name.
    filled : bool or Exception
        Whether anything lies below the prefix that is listed.
    credentials : str or None
        How credentials are found.
    calls : list
        Every call but those for a region or the kind of credentials, as tuples.
    asked_regions : list
        Buckets whose region was asked for.
    """

    def __init__(self, regions=None, secrets=None):
        super().__init__(AwsEnvironment())
        self.regions, self.secrets, self.objects = regions or {}, secrets or {}, {}
        self.filled, self.credentials = True, "env"
        self.calls, self.asked_regions = [], []
        self.written = []

    def bucket_region(self, bucket, endpoint_url=None):
        self.asked_regions.append(bucket)
        return self.regions.get(bucket)

    def find_credentials(self):
        return self.credentials

    def check_credentials(self, what):
        self.calls.append(("credentials", what))
        if self.credentials is None:
            raise ConfigError("no credentials")

    def read_object(self, uri, region, endpoint_url, unsigned=False):
        self.calls.append(("read", uri, region, endpoint_url, unsigned))
        return answer(self.objects[uri])

    def has_objects(self, uri, region, endpoint_url, unsigned=False):
        self.calls.append(("list", uri, region, endpoint_url, unsigned))
        return answer(self.filled)

    def list_written(self, uri, region, endpoint_url, unsigned, most):
        self.calls.append(("written", uri, region))
        return answer(self.written)

    def read_secret(self, name, region):
        self.calls.append(("secret", name, region))
        return answer(self.secrets[name])


def answer(value):
    """Return a value, or raise it when it is an exception."""
    if isinstance(value, Exception):
        raise value
    return value


def access(aws, config=None):
    """S3 of a configuration, by default of an empty one, in an empty environment."""
    return S3Access(aws, (config or load("", {}).config).data_locator.s3, AwsEnvironment())
