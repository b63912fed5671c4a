"""The AWS calls of the start: regions, credentials, refusals, all with botocore's own stubs."""

import io
import socket
import threading
from datetime import UTC, datetime

import boto3
import botocore.config
import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from cxg.aws import calls
from cxg.aws.calls import Aws, split_s3
from cxg.aws.errors import readable_errors
from cxg.config import load
from cxg.config.runtime import AwsEnvironment
from cxg.errors import ConfigError, StorageUnavailable

KEYS = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    """An environment without credentials, where nothing can be asked for any."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


@pytest.fixture
def s3():
    """A stubbed S3 client, which `aws` hands out for every call."""
    client = boto3.client("s3", config=botocore.config.Config(s3={"addressing_style": "path"}), **KEYS)
    with Stubber(client) as stub:
        yield stub


@pytest.fixture
def aws(s3):
    """AWS, asked by the stubbed client."""
    return Aws(AwsEnvironment(), make_client=lambda *args: s3.client)


def asked(env):
    """AWS, asked in an environment; the metadata service is waited for only briefly."""
    return Aws(AwsEnvironment.of(env), metadata_s=0.2)


def headers(region):
    return {"ResponseMetadata": {"HTTPHeaders": {"x-amz-bucket-region": region} if region else {}}}


@pytest.mark.parametrize(
    "uri, expected",
    [("s3://b/a/c", ("b", "a/c")), ("s3://b", ("b", "")), ("s3://b/", ("b", "")), ("s3://b/a/", ("b", "a"))],
)
def test_split_s3(uri, expected):
    assert split_s3(uri) == expected


def test_endpoint_of_configuration_wins_over_the_environment():
    own = load("data_locator: {s3: {endpoint_url: 'http://minio:9000'}}", {}).config.data_locator.s3
    none = load("", {}).config.data_locator.s3
    env = {"AWS_ENDPOINT_URL": "http://a", "AWS_ENDPOINT_URL_S3": "http://b"}
    assert AwsEnvironment.of(env).endpoint_of(own) == "http://minio:9000"
    assert AwsEnvironment.of(env).endpoint_of(none) == "http://b"
    assert AwsEnvironment.of({"AWS_ENDPOINT_URL": "http://a"}).endpoint_of(none) == "http://a"
    assert AwsEnvironment.of({}).endpoint_of(none) is None


def test_clients_give_up_within_seconds():
    made = calls.client("s3", "eu-west-1", "http://127.0.0.1:1", unsigned=True)
    settings = made.meta.config
    assert settings.connect_timeout + settings.read_timeout <= 10
    assert settings.retries["total_max_attempts"] <= 3
    assert settings.s3["addressing_style"] == "path"
    assert made.meta.region_name == "eu-west-1"


def test_bucket_region_from_an_answer_and_from_a_refusal(aws, s3):
    s3.add_response("head_bucket", headers("eu-west-1"), {"Bucket": "b"})
    assert aws.bucket_region("b") == "eu-west-1"
    s3.add_client_error(
        "head_bucket", "403", http_status_code=403, response_meta=headers("eu-west-2")["ResponseMetadata"]
    )
    assert aws.bucket_region("b") == "eu-west-2"


def test_bucket_region_is_asked_for_with_a_signature_when_there_is_one(aws, s3, monkeypatch):
    s3.add_client_error("head_bucket", "403", http_status_code=403)
    assert aws.bucket_region("b") is None
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    s3.add_client_error("head_bucket", "403", http_status_code=403)
    s3.add_response("head_bucket", headers("eu-west-3"), {"Bucket": "b"})
    assert aws.bucket_region("b") == "eu-west-3"
    s3.assert_no_pending_responses()


def test_times_of_objects_come_page_by_page(aws, s3):
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    page = {"IsTruncated": True, "NextContinuationToken": "t", "Contents": [{"Key": "a/x", "LastModified": first}]}
    s3.add_response("list_objects_v2", page, {"Bucket": "b", "Prefix": "a/"})
    page = {"IsTruncated": False, "Contents": [{"Key": "a/y/z", "LastModified": second}]}
    s3.add_response("list_objects_v2", page, {"Bucket": "b", "Prefix": "a/", "ContinuationToken": "t"})
    assert aws.list_written("s3://b/a", None, None, False, 10) == [("x", first), ("y/z", second)]


def test_has_objects_lists_below_the_prefix_alone(aws, s3):
    s3.add_response("list_objects_v2", {"Contents": [{"Key": "a/x"}]}, {"Bucket": "b", "Prefix": "a/", "MaxKeys": 1})
    assert aws.has_objects("s3://b/a", None, None)
    s3.add_response("list_objects_v2", {}, {"Bucket": "b", "Prefix": "", "MaxKeys": 1})
    assert not aws.has_objects("s3://b", None, None)


def test_read_object_is_bounded(aws, s3):
    small, large = b"server: {}", b"x" * (calls.MAX_CONFIG_BYTES + 1)
    for content in (small, large):
        body = StreamingBody(io.BytesIO(content), len(content))
        s3.add_response("get_object", {"Body": body}, {"Bucket": "b", "Key": "c/config.yaml"})
    assert aws.read_object("s3://b/c/config.yaml", None, None) == small
    with pytest.raises(ConfigError, match="larger than 1 MB"):
        aws.read_object("s3://b/c/config.yaml", None, None)


@pytest.mark.parametrize(
    "code, status, error, message",
    [
        ("NoSuchBucket", 404, ConfigError, "no such bucket"),
        ("NoSuchKey", 404, ConfigError, "no such object"),
        ("AccessDenied", 403, ConfigError, "allow s3:ListBucket"),
        ("InvalidAccessKeyId", 403, ConfigError, "check AWS_ACCESS_KEY_ID"),
        ("SignatureDoesNotMatch", 403, ConfigError, "check AWS_SECRET_ACCESS_KEY"),
        ("ExpiredToken", 400, ConfigError, "have expired"),
        ("PermanentRedirect", 301, ConfigError, "data_locator.s3.region_name"),
        ("Strange", 400, ConfigError, "AWS answered Strange"),
        ("InternalError", 500, StorageUnavailable, "try again in a moment"),
        ("SlowDown", 503, StorageUnavailable, "try again in a moment"),
    ],
)
def test_refusals_are_one_sentence_with_a_mend(aws, s3, code, status, error, message):
    s3.add_client_error("list_objects_v2", code, "raw text", http_status_code=status)
    with pytest.raises(error) as caught:
        aws.has_objects("s3://b/a", None, None)
    assert str(caught.value).startswith("s3://b/a: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "raised, error, message",
    [
        (EndpointConnectionError(endpoint_url="http://x"), StorageUnavailable, "cannot be reached"),
        (NoCredentialsError(), ConfigError, "no AWS credentials were found"),
    ],
)
def test_unreachable_is_told_from_refused(raised, error, message):
    with pytest.raises(error, match=message), readable_errors("s3://b"):
        raise raised


@pytest.fixture
def metadata(monkeypatch):
    """A stand-in for the instance metadata service on loopback; `answer` is what it sends, None for silence."""
    listener = socket.create_server(("127.0.0.1", 0))
    state = {"answer": None, "requests": 0}
    held = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            state["requests"] += 1
            connection.recv(4096)
            if state["answer"] is None:
                held.append(connection)
                continue
            connection.sendall(state["answer"])
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://127.0.0.1:{listener.getsockname()[1]}/")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "false")
    state["env"] = {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{listener.getsockname()[1]}/"}
    yield state
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in held:
        connection.close()


REFUSES = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def test_a_token_that_never_arrives_is_told_as_the_hop_limit(metadata):
    with pytest.raises(ConfigError) as caught:
        asked(metadata["env"]).check_credentials("CXG_DATAROOT s3://b")
    assert "CXG_DATAROOT s3://b needs AWS credentials" in str(caught.value)
    assert "set HttpPutResponseHopLimit to 2" in str(caught.value)
    assert metadata["requests"] >= 1


def test_an_instance_without_a_role_is_told_as_such(metadata):
    metadata["answer"] = REFUSES
    assert asked(metadata["env"]).metadata_state() == "answers"
    with pytest.raises(ConfigError, match="no IAM role: give it an instance profile"):
        asked(metadata["env"]).check_credentials("CXG_DATAROOT s3://b")


def test_no_credentials_elsewhere_names_the_variables_and_the_public_switch():
    with pytest.raises(ConfigError, match=r"set AWS_ACCESS_KEY_ID .*no_sign_request: true if the bucket is public"):
        asked({"AWS_EC2_METADATA_DISABLED": "true"}).check_credentials("CXG_DATAROOT s3://b")


def test_metadata_states_without_a_service():
    assert asked({"AWS_EC2_METADATA_DISABLED": "TRUE"}).metadata_state() == "off"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert asked({"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{port}"}).metadata_state() == "absent"


def test_credentials_from_the_environment_are_enough(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    assert asked({}).check_credentials("CXG_DATAROOT s3://b") is None


def test_credentials_by_the_old_protocol_alone_are_warned_of(metadata):
    class OnInstance(Aws):
        def find_credentials(self):
            return "iam-role"

    asked_there = OnInstance(AwsEnvironment.of(metadata["env"]), metadata_s=0.2)
    warning = asked_there.check_credentials("CXG_DATAROOT s3://b")
    assert warning is not None
    assert "HttpPutResponseHopLimit" in warning
    metadata["answer"] = REFUSES
    assert asked_there.check_credentials("CXG_DATAROOT s3://b") is None
