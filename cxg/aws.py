"""The AWS calls made once, before the server starts: regions, credentials, one object, one listing.

The serving process reads S3 through TileDB and never loads boto3; this module is for the
entrypoint and `cxg doctor`. Every call gives up within seconds: TileDB, left to find out by
itself that there are no credentials, waits 80 seconds and then goes on unsigned.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cxg.errors import ConfigError, StorageUnavailable, one_line

if TYPE_CHECKING:
    from cxg.config import S3Locator

_CONNECT_S = 3
_READ_S = 5
_IMDS = "http://169.254.169.254"
IMDS_S = 1.0
MAX_CONFIG_BYTES = 1 << 20
HOP_LIMIT_HINT = (
    "the instance metadata service takes the request but its answer never arrives, which is what a hop limit of 1 "
    "does to a container: set HttpPutResponseHopLimit to 2 (aws ec2 modify-instance-metadata-options "
    "--http-put-response-hop-limit 2)"
)


def split_s3(uri: str) -> tuple[str, str]:
    """Bucket and key (no slash at either end) of an ``s3://bucket/key`` URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key.strip("/")


def endpoint_of(locator: S3Locator, env: Mapping[str, str]) -> str | None:
    """Address of the S3-compatible store in use; None for AWS itself."""
    return locator.endpoint_url or env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or None


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


def bucket_region(bucket: str, endpoint_url: str | None = None) -> str | None:
    """Region a bucket is in; None when the store does not tell.

    AWS names the region in a header of any answer, a refusal included, so that neither
    credentials nor permissions are needed. Some S3-compatible stores want a signature first.

    Raises
    ------
    StorageUnavailable
        The store cannot be reached.
    """
    for unsigned in (True, False):
        if not unsigned and find_credentials() is None:
            break
        with readable_errors(f"s3://{bucket}"):
            region = _region_header(client("s3", "us-east-1", endpoint_url, unsigned), bucket)
        if region:
            return region
    return None


def _region_header(s3: Any, bucket: str) -> str | None:
    from botocore.exceptions import ClientError

    try:
        answer = s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        answer = error.response
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = headers.get("x-amz-bucket-region")
    return region if isinstance(region, str) else None


def find_credentials() -> str | None:
    """How credentials were found (``env``, ``iam-role``, ...); None when there are none.

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
            f"AWS credentials cannot be read: {_line(error)} Mend the AWS_* variables or profile."
        ) from error
    return None if found is None else str(found.method)


def metadata_state(env: Mapping[str, str]) -> str:
    """Ask the EC2 instance metadata service for a token, as an SDK would.

    Returns
    -------
    ``off`` (switched off by AWS_EC2_METADATA_DISABLED), ``absent`` (nothing there: this is no
    EC2 instance), ``silent`` (connects, never answers: the mark of a hop limit of 1), or ``answers``.
    """
    if env.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return "off"
    address = urlsplit(env.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _IMDS)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=IMDS_S)
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


def check_credentials(what: str, env: Mapping[str, str]) -> str | None:
    """See that AWS credentials can be had for `what`, a variable or key and its URI.

    Returns
    -------
    A warning to print, or None.

    Raises
    ------
    ConfigError
        There are none; the sentence says why, as far as that can be told.
    """
    method = find_credentials()
    if method not in (None, "iam-role"):
        return None
    state = metadata_state(env)
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
        f"{what} needs AWS credentials and none were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or attach "
        "an IAM role, or set data_locator.s3.no_sign_request: true if the bucket is public."
    )


def read_object(uri: str, region: str | None, endpoint_url: str | None, unsigned: bool = False) -> bytes:
    """Content of one small S3 object.

    Raises
    ------
    ConfigError
        It is not there, is refused, or is larger than 1 MB.
    StorageUnavailable
        The store cannot be reached.
    """
    bucket, key = split_s3(uri)
    with readable_errors(uri):
        answer = client("s3", region, endpoint_url, unsigned).get_object(Bucket=bucket, Key=key)
        content: bytes = answer["Body"].read(MAX_CONFIG_BYTES + 1)
    if len(content) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{uri} is larger than 1 MB, which no configuration file is; check the URI.")
    return content


def has_objects(uri: str, region: str | None, endpoint_url: str | None, unsigned: bool = False) -> bool:
    """Whether anything lies below an S3 prefix, which also proves the right to list it.

    Raises
    ------
    ConfigError
        The bucket is not there, or listing is refused.
    StorageUnavailable
        The store cannot be reached.
    """
    bucket, prefix = split_s3(uri)
    with readable_errors(uri):
        answer = client("s3", region, endpoint_url, unsigned).list_objects_v2(
            Bucket=bucket, Prefix=f"{prefix}/" if prefix else "", MaxKeys=1
        )
    return bool(answer.get("Contents"))


def list_written(
    uri: str, region: str | None, endpoint_url: str | None, unsigned: bool, most: int
) -> list[tuple[str, datetime]]:
    """Path below an S3 prefix and time of the last write, of at most so many objects.

    Raises
    ------
    ConfigError, StorageUnavailable
        As `has_objects`.
    """
    bucket, prefix = split_s3(uri)
    with readable_errors(uri):
        pages = client("s3", region, endpoint_url, unsigned).get_paginator("list_objects_v2")
        found = pages.paginate(Bucket=bucket, Prefix=f"{prefix}/", PaginationConfig={"MaxItems": most})
        return [
            (item["Key"].removeprefix(f"{prefix}/"), item["LastModified"])
            for page in found
            for item in page.get("Contents", ())
        ]


_DENIED = "access is denied; allow s3:ListBucket on the bucket and s3:GetObject on its objects for the role in use"
_ELSEWHERE = "the bucket is in another region; set data_locator.s3.region_name to it, or to true"
_MEANINGS = {
    "NoSuchBucket": "there is no such bucket; check its name",
    "NoSuchKey": "there is no such object; check the key",
    "404": "there is no such bucket or object; check the URI",
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "InvalidAccessKeyId": "the access key does not exist; check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "the secret access key does not fit the access key; check AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the credentials have expired; renew them",
    "InvalidToken": "the session token is not valid; check AWS_SESSION_TOKEN",
    "PermanentRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "ResourceNotFoundException": "no such secret in this region; check the name and CXG_AWS_SECRET_REGION_NAME",
    "AccessDeniedException": "access is denied; allow secretsmanager:GetSecretValue on it for the role in use",
    "DecryptionFailure": "it cannot be decrypted; allow kms:Decrypt on its key for the role in use",
    "UnrecognizedClientException": "the credentials are not valid; check AWS_ACCESS_KEY_ID",
    "InvalidSignatureException": "the secret access key does not fit the access key; check AWS_SECRET_ACCESS_KEY",
    "ExpiredTokenException": "the credentials have expired; renew them",
}


@contextmanager
def readable_errors(what: str) -> Iterator[None]:
    """Turn boto3's errors about `what` into one sentence with a mend.

    Raises
    ------
    ConfigError
        AWS refused: something here has to be changed.
    StorageUnavailable
        AWS cannot be reached, or failed itself.
    """
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError
    from botocore.exceptions import ConnectionError as NoConnectionError

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _MEANINGS:
            raise ConfigError(f"{what}: {_MEANINGS[code]}.") from error
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if int(status) >= 500 or code in {"SlowDown", "ThrottlingException"}:
            raise StorageUnavailable(f"{what}: AWS answered {code}; try again in a moment.") from error
        raise ConfigError(f"{what}: AWS answered {code}; check the name, the region and the rights.") from error
    except NoCredentialsError as error:
        raise ConfigError(
            f"{what}: no AWS credentials were found; attach an IAM role or set AWS_ACCESS_KEY_ID."
        ) from error
    except (NoConnectionError, HTTPClientError) as error:
        raise StorageUnavailable(
            f"{what}: AWS cannot be reached ({type(error).__name__}); check the network, the region and the endpoint."
        ) from error
    except BotoCoreError as error:
        raise ConfigError(f"{what}: {_line(error)}") from error
    except ValueError as error:  # an endpoint without a scheme, say, or with a name that no host has
        raise ConfigError(f"{what}: {_line(error)} Correct endpoint_url, or AWS_ENDPOINT_URL.") from error


def _line(error: Exception) -> str:
    text = one_line(error)
    return text if text.endswith(".") else text + "."
