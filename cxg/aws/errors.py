"""What AWS and boto3 refuse, as one sentence each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cxg.errors import ConfigError, StorageUnavailable, one_line

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
    """Turn boto3's errors about `what` into one sentence that says how to correct it.

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
        raise ConfigError(f"{what}: {sentence(error)}") from error
    except ValueError as error:  # an endpoint without a scheme, say, or with a name that no host has
        raise ConfigError(f"{what}: {sentence(error)} Correct endpoint_url, or AWS_ENDPOINT_URL.") from error


def sentence(error: Exception) -> str:
    """Return the text of an error on one line, with a full stop."""
    text = one_line(error)
    return text if text.endswith(".") else text + "."
