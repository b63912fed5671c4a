"""The AWS calls made once, before the server starts: regions, credentials, one object, one listing.

The serving process reads S3 through TileDB and never loads boto3; this module is for the
entrypoint and `cxg doctor`. Every call gives up within seconds: TileDB, left to find out by
itself that there are no credentials, waits 80 seconds and then goes on unsigned.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from cxg.aws.errors import readable_errors, sentence
from cxg.config.runtime import AwsEnvironment
from cxg.errors import ConfigError

_CONNECT_S = 3
_READ_S = 5
_IMDS = "http://169.254.169.254"
IMDS_S = 1.0
MAX_CONFIG_BYTES = 1 << 20
SECRET_FIELD = "flask_secret_key"  # noqa: S105 - the name of the entry, not a secret
HOP_LIMIT_HINT = (
    "the instance metadata service takes the request but its answer never arrives, which is what a hop limit of 1 "
    "does to a container: set HttpPutResponseHopLimit to 2 (aws ec2 modify-instance-metadata-options "
    "--http-put-response-hop-limit 2)"
)


def split_s3(uri: str) -> tuple[str, str]:
    """Return the bucket and key (no slash at either end) of an ``s3://bucket/key`` URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key.strip("/")


def client(service: str, region: str | None, endpoint_url: str | None = None, unsigned: bool = False) -> Any:
    """Make a boto3 client that fails within seconds rather than minutes."""
    # Loading boto3 takes a third of a second, which a server on plain files does not need to pay.
    import boto3
    import botocore
    from botocore.config import Config

    settings: dict[str, Any] = {
        "connect_timeout": _CONNECT_S,
        "read_timeout": _READ_S,
        "retries": {"mode": "standard", "max_attempts": 2},
    }
    if unsigned:
        settings["signature_version"] = botocore.UNSIGNED
    if service == "s3" and endpoint_url:
        settings["s3"] = {"addressing_style": "path"}
    return boto3.client(service, region_name=region, endpoint_url=endpoint_url, config=Config(**settings))


class Aws:
    """AWS and stores of its kind, asked once each before the server starts.

    Parameters
    ----------
    environment : AwsEnvironment
        Where the instance metadata service is, and whether it may be asked.
    make_client : callable
        Makes a boto3 client.
    metadata_s : float
        Longest wait for the instance metadata service, in seconds.
    """

    def __init__(
        self, environment: AwsEnvironment, make_client: Callable[..., Any] = client, metadata_s: float = IMDS_S
    ) -> None:
        self._environment, self._client, self._metadata_s = environment, make_client, metadata_s

    def bucket_region(self, bucket: str, endpoint_url: str | None = None) -> str | None:
        """Return the region a bucket is in; None when the store does not tell.

        AWS names the region in a header of any answer, a refusal included, so that neither
        credentials nor permissions are needed. Some S3-compatible stores want a signature first.

        Raises
        ------
        StorageUnavailable
            The store cannot be reached.
        """
        for unsigned in (True, False):
            if not unsigned and self.find_credentials() is None:
                break
            with readable_errors(f"s3://{bucket}"):
                region = _region_header(self._client("s3", "us-east-1", endpoint_url, unsigned), bucket)
            if region:
                return region
        return None

    def find_credentials(self) -> str | None:
        """Tell how credentials were found (``env``, ``iam-role``, ...); None when there are none.

        Looks where TileDB will look. The credentials themselves are not kept.
        """
        from botocore.exceptions import BotoCoreError
        from botocore.session import Session

        session = Session()
        session.set_config_variable("metadata_service_timeout", 1)
        session.set_config_variable("metadata_service_num_attempts", 1)
        try:
            found = session.get_credentials()
        except BotoCoreError as error:
            raise ConfigError(
                f"AWS credentials cannot be read: {sentence(error)} Correct the AWS_* variables or the profile."
            ) from error
        return None if found is None else str(found.method)

    def metadata_state(self) -> str:
        """Ask the EC2 instance metadata service for a token, as an SDK would.

        Returns
        -------
        ``off`` (switched off by AWS_EC2_METADATA_DISABLED), ``absent`` (nothing there: this is no
        EC2 instance), ``silent`` (connects, never answers: the mark of a hop limit of 1), or ``answers``.
        """
        if self._environment.metadata_is_off:
            return "off"
        address = urlsplit(self._environment.metadata_url or _IMDS)
        connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=self._metadata_s)
        try:
            connection.connect()
        except OSError:
            return "absent"
        try:
            connection.request("PUT", "/latest/api/token", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return "silent"
        finally:
            connection.close()
        return "answers"

    def check_credentials(self, what: str) -> str | None:
        """See that AWS credentials can be had for `what`, a variable or key and its URI.

        Returns
        -------
        A warning to print, or None.

        Raises
        ------
        ConfigError
            There are none; the sentence says why, as far as that can be told.
        """
        method = self.find_credentials()
        if method not in (None, "iam-role"):
            return None
        state = self.metadata_state()
        if method == "iam-role":
            # The SDK fell back to version 1 of the service; TileDB does too, 20 seconds later.
            return f"{what}: {HOP_LIMIT_HINT}; until then the first answers take 20 s." if state == "silent" else None
        if state == "silent":
            raise ConfigError(f"{what} needs AWS credentials, and {HOP_LIMIT_HINT}.")
        if state == "answers":
            raise ConfigError(
                f"{what} needs AWS credentials, and this instance has no IAM role: give it an instance profile, or set "
                "data_locator.s3.no_sign_request: true if the bucket is public."
            )
        raise ConfigError(
            f"{what} needs AWS credentials and none were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or "
            "attach an IAM role, or set data_locator.s3.no_sign_request: true if the bucket is public."
        )

    def read_object(self, uri: str, region: str | None, endpoint_url: str | None, unsigned: bool = False) -> bytes:
        """Return the content of one small S3 object.

        Raises
        ------
        ConfigError
            It is not there, is refused, or is larger than 1 MB.
        StorageUnavailable
            The store cannot be reached.
        """
        bucket, key = split_s3(uri)
        with readable_errors(uri):
            answer = self._client("s3", region, endpoint_url, unsigned).get_object(Bucket=bucket, Key=key)
            content: bytes = answer["Body"].read(MAX_CONFIG_BYTES + 1)
        if len(content) > MAX_CONFIG_BYTES:
            raise ConfigError(f"{uri} is larger than 1 MB, which no configuration file is; check the URI.")
        return content

    def has_objects(self, uri: str, region: str | None, endpoint_url: str | None, unsigned: bool = False) -> bool:
        """Tell whether anything lies below an S3 prefix, which also proves the right to list it.

        Raises
        ------
        ConfigError
            The bucket is not there, or listing is refused.
        StorageUnavailable
            The store cannot be reached.
        """
        bucket, prefix = split_s3(uri)
        with readable_errors(uri):
            answer = self._client("s3", region, endpoint_url, unsigned).list_objects_v2(
                Bucket=bucket, Prefix=f"{prefix}/" if prefix else "", MaxKeys=1
            )
        return bool(answer.get("Contents"))

    def list_written(
        self, uri: str, region: str | None, endpoint_url: str | None, unsigned: bool, most: int
    ) -> list[tuple[str, datetime]]:
        """Return the path below an S3 prefix and time of the last write, of at most so many objects.

        Raises
        ------
        ConfigError, StorageUnavailable
            As `has_objects`.
        """
        bucket, prefix = split_s3(uri)
        with readable_errors(uri):
            pages = self._client("s3", region, endpoint_url, unsigned).get_paginator("list_objects_v2")
            found = pages.paginate(Bucket=bucket, Prefix=f"{prefix}/", PaginationConfig={"MaxItems": most})
            return [
                (item["Key"].removeprefix(f"{prefix}/"), item["LastModified"])
                for page in found
                for item in page.get("Contents", ())
            ]

    def read_secret(self, name: str, region: str) -> str:
        """Return the text of a secret in AWS Secrets Manager.

        Raises
        ------
        ConfigError
            It does not exist, may not be read, or holds no text.
        StorageUnavailable
            AWS cannot be reached.
        """
        with readable_errors(f"CXG_AWS_SECRET_NAME {name} ({region})"):
            answer = self._client("secretsmanager", region).get_secret_value(SecretId=name)
        text = answer.get("SecretString")
        if not isinstance(text, str):
            raise ConfigError(f"CXG_AWS_SECRET_NAME {name}: it holds bytes; store JSON with the key {SECRET_FIELD}.")
        return text


def _region_header(s3: Any, bucket: str) -> str | None:
    from botocore.exceptions import ClientError

    try:
        answer = s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region")
    return region if isinstance(region, str) else None
