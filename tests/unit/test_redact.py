"""No credential in any message: addresses, presigned queries, settings, whoever prints them."""

import logging
from pathlib import Path

import pytest

from cxg.aws.calls import Aws
from cxg.cli.main import main
from cxg.config import load
from cxg.config.runtime import AwsEnvironment, Runtime
from cxg.errors import ConfigError, CxgError, DatasetInvalid, StorageUnavailable
from cxg.redact import redacted, traceback_text
from cxg.startup import mounts
from cxg.storage.storage import Storage
from tests.served import serve

SECRETS = [
    "http://user:hush@minio:9000",
    "HTTPS://user:hush@minio",
    "http://user:hu/sh@minio:9000/x",
    "http://user:hu@sh@minio",
    "http://user:hu\"s'h@minio",
    "http://hush@minio",
    "http:/user:hush@minio",
    "s3://AKIAX:hu/sh@bucket/x",
    "ftp://user:hush@host/x",
    "https://b.s3.amazonaws.com/k?X-Amz-Credential=hush%2F1&X-Amz-Signature=hush&X-Amz-Security-Token=hush",
    "https://b.s3.amazonaws.com/k?AWSAccessKeyId=hush&Signature=hush",
    "https://acc.blob.core.windows.net/x?sv=1&sig=hush",
    "https://example.org/x?a=b&token=hush&password=hush&api_key=hush",
    "Authorization: AWS4-HMAC-SHA256 Credential=x, SignedHeaders=host, Signature=hush",
    "parameter 'vfs.s3.aws_secret_access_key' with value 'hush' is not",
    "vfs.s3.proxy_password=hush",
    "flask_secret_key: hush",
    "AWS_SECRET_ACCESS_KEY=hush",
]
PLAIN = [
    "s3://bucket/study@2.cxg: there is no such object",
    "lustre://fs-1.fsx.us-east-1.amazonaws.com@tcp:/name is not mounted",
    "write to someone@example.org",
    "https://example.org/a?b=c",
    "http://minio:9000 cannot be reached",
    "CXG_SECRET_KEY is too short; secret key: none, and none is needed",
    'store {"flask_secret_key": "..."} there',
    "There is no column called 'a@b'.",
]


@pytest.mark.parametrize("text", SECRETS)
def test_what_may_be_a_credential_is_not_shown(text: str) -> None:
    told = redacted(f"before {text} after")
    assert "hu" not in told
    assert "sh@" not in told
    assert told.startswith("before ")
    assert told.endswith(" after")
    assert "***" in told


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_none_is(text: str) -> None:
    assert redacted(text) == text or "..." in text


@pytest.mark.parametrize("kind", [CxgError, StorageUnavailable, DatasetInvalid, ConfigError])
def test_none_of_our_errors_shows_one(kind: type[CxgError]) -> None:
    error = kind(f"{SECRETS[0]} does not answer")
    assert str(error) == "http://***@minio:9000 does not answer"
    assert "hush" not in repr(error)


ENDPOINTS = [
    "http://user:hush@minio:90000000",
    "http://user:hush@minio:port",
    "user:hush@minio:9000",
    "ftp://user:hush@minio",
    "http://user:hu sh@minio",
    "//user:hush@minio",
    "{url: http://user:hush@minio}",
    "[http://user:hush@minio]",
]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_an_endpoint_that_is_refused_is_not_shown_with_its_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], endpoint: str
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"data_locator:\n  s3:\n    endpoint_url: {endpoint}\n")
    assert main(["config", "check", str(file)]) == 2
    told = capsys.readouterr()
    assert "data_locator.s3.endpoint_url" in told.err
    assert "hu" not in told.out + told.err


@pytest.mark.parametrize(
    "text",
    [
        "multi_dataset: {dataroot: 's3://AKIAX:hu/sh@bucket/x'}",
        "multi_dataset: {dataroot: 'https://user:hush@host/x'}",
        "server: {port: 'http://user:hush@a-host-whose-name-is-so-long-that-the-end-of-it-is-cut-off'}",
        "server: {verbose: 'http://user:hushhushhushhushhushhushhushhushhushhushhushhush@host'}",
        "server: {flask_secret_key: *hush}",
        "server:\n  flask_secret_key:hush",
        "server: {host: 'http://user:hush@host'}",
        "server: {about_legal_tos: 'https://user:hu sh@host'}",
        "server: {csp_directives: {img-src: ['https://user:hush@host;']}}",
    ],
)
def test_no_fault_of_a_configuration_shows_a_credential(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, {})
    assert "hu" not in str(caught.value)


def test_a_configuration_that_is_taken_does_not_show_it_either() -> None:
    config = load("data_locator: {s3: {endpoint_url: 'http://user:hush@minio:9000'}}", {}).config
    assert config.data_locator.s3.endpoint_url == "http://user:hush@minio:9000"
    assert "hush" not in repr(config)


def test_an_environment_variable_that_is_no_number_is_shown_without_it() -> None:
    from cxg.memory import plan

    with pytest.raises(ConfigError) as caught:
        plan(Runtime.of({"CXG_WORKERS": "http://user:hushhushhushhushhushhushhushhushhush@host"}))
    assert "hush" not in str(caught.value)


def test_an_endpoint_that_boto3_refuses_is_one_sentence_without_it() -> None:
    with pytest.raises(ConfigError) as caught:
        Aws(AwsEnvironment()).has_objects("s3://bucket/x", "us-east-1", "http://user:hush@minio_1:9000", unsigned=True)
    assert "hush" not in str(caught.value)
    assert "endpoint" in str(caught.value)


def test_what_a_mount_program_says_is_told_without_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import subprocess

    said = "x" * 280 + " http://user:hushhushhushhushhush@minio failed"
    finished = subprocess.CompletedProcess(["rclone"], 1, stdout="", stderr=said)
    wanted = mounts.MountRequest("s3://bucket", "CXG_DATAROOT", "bucket", "", "s3")
    assert "hush" not in mounts._failure(wanted, "/mnt", ["rclone"], finished)


def test_no_log_line_shows_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "data" / f"{name}.cxg").mkdir(parents=True)
    client = serve(tmp_path / "data", tmp_path / "client")
    failures = [StorageUnavailable("away"), DatasetInvalid("damaged"), RuntimeError(f"{SECRETS[0]} ended")]

    def fail(self: Storage, uri: str) -> None:
        failure = failures.pop()
        raise failure from RuntimeError(f"HTTP response from {SECRETS[9]} and {SECRETS[0]}")

    monkeypatch.setattr(Storage, "listing", fail)
    with caplog.at_level(logging.DEBUG):
        for name in ("a", "b", "c"):
            client.get(f"/d/{name}.cxg/api/v0.2/schema")
    assert not failures
    assert "minio" in caplog.text
    assert "hush" not in caplog.text


def test_a_traceback_is_shown_without_it() -> None:
    try:
        raise ValueError(SECRETS[0])
    except ValueError as error:
        told = traceback_text(error)
    assert "ValueError: http://***@minio:9000" in told


def test_the_entrypoint_prints_none(capsys: pytest.CaptureFixture[str]) -> None:
    import entrypoint

    entrypoint.say(f"open {SECRETS[0]} in a web browser.")
    assert capsys.readouterr().err == "cellxgene-eb: open http://***@minio:9000 in a web browser.\n"
