"""The start on AWS from end to end: configuration and data on S3, the key in Secrets Manager, then a server that answers.

A container's start, and `cxg launch`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from tests import cxgs
from tests.integration.launched import ROOT, launched
from tests.integration.registry import free_port

pytestmark = pytest.mark.integration

KEY = "6b1f0a9cd8e24735a1f7c90b3d5e8246"
REGION, ELSEWHERE = "eu-central-1", "eu-west-1"
LIMIT_S = 60


@pytest.fixture(scope="module")
def aws(tmp_path_factory):
    """An account with data and configuration in one region, and secrets in two."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    settings = {"endpoint_url": url, "aws_access_key_id": "test", "aws_secret_access_key": "test"}
    s3 = boto3.client("s3", region_name=REGION, **settings)
    for bucket in ("atlas", "settings"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    folder = tmp_path_factory.mktemp("aws")
    cxgs.KINDS["Xr-Xc"](folder / "one.cxg")
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            s3.put_object(Bucket="atlas", Key=f"cxg/{path.relative_to(folder).as_posix()}", Body=path.read_bytes())
    s3.put_object(
        Bucket="settings", Key="site.yaml", Body=b"multi_dataset: {dataroot: 's3://atlas/cxg', base_url: site}\n"
    )
    for region, secret in ((REGION, KEY), (ELSEWHERE, "asd")):
        secrets = boto3.client("secretsmanager", region_name=region, **settings)
        secrets.create_secret(Name="site", SecretString=json.dumps({"flask_secret_key": secret}))
    yield url
    server.stop()


@contextlib.contextmanager
def started(tmp_path, url, variables):
    """The entrypoint as a process of its own, in an environment of its own; its port, and the file it logs to."""
    # A copy elsewhere, so that a configuration of the developer's own in customize/ is not taken for a baked one.
    program = tmp_path / "entrypoint.py"
    program.write_text((ROOT / "entrypoint.py").read_text())
    client = tmp_path / "client"
    (client / "static").mkdir(parents=True)
    (client / "index.html").write_text("<html></html>")
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        "CXG_CLIENT_DIR": str(client),
        "CXG_HOST": "127.0.0.1",
        "CXG_PORT": str(port),
        "CXG_WORKERS": "1",
        "CXG_RUN_AS": "nobody-of-that-name",
        **variables,
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, str(program)], env=environment, stdout=output, stderr=output)
        try:
            yield process, f"http://127.0.0.1:{port}", log
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            process.wait(LIMIT_S)


def wait_ready(process, url, log):
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{url}/health/ready", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    pytest.fail(f"not ready, exit code {process.poll()}; its log:\n{log.read_text()}")


def environment_of(process):
    """The environment of a running process, which gunicorn has from the entrypoint."""
    pairs = Path(f"/proc/{process.pid}/environ").read_text().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def test_configuration_secret_and_data_come_from_aws(aws, tmp_path):
    variables = {"CXG_CONFIG_FILE": "s3://settings/site.yaml", "CXG_AWS_SECRET_NAME": "site"}
    with started(tmp_path, aws, variables) as (process, url, log):
        wait_ready(process, url, log)
        schema = requests.get(f"{url}/site/one.cxg/api/v0.2/schema", timeout=20).json()["schema"]
        assert schema["dataframe"]["nObs"] > 0
        found = environment_of(process)
        assert found["CXG_SECRET_KEY"] == KEY
        assert found["AWS_REGION"] == REGION
        assert "CXG_AWS_SECRET_NAME" not in found
        printed = log.read_text()
        assert KEY not in printed
        assert f"secret key: AWS Secrets Manager (site, {REGION})" in printed
        assert b"gunicorn" in Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert process.returncode == 0


def test_the_secrets_own_region_wins(aws, tmp_path):
    variables = {
        "CXG_DATAROOT": "s3://atlas/cxg",
        "CXG_AWS_SECRET_NAME": "site",
        "CXG_AWS_SECRET_REGION_NAME": ELSEWHERE,
    }
    with started(tmp_path, aws, variables) as (process, url, log):
        wait_ready(process, url, log)
        assert environment_of(process)["CXG_SECRET_KEY"] == "asd"
        assert "too easy to guess" in log.read_text()


@pytest.mark.parametrize(
    "variables, message",
    [
        ({"CXG_DATAROOT": "s3://absent/cxg"}, "CXG_DATAROOT s3://absent/cxg: there is no such bucket"),
        (
            {"CXG_CONFIG_FILE": "s3://settings/absent.yaml"},
            "CXG_CONFIG_FILE s3://settings/absent.yaml: there is no such object",
        ),
        (
            {"CXG_CONFIG_FILE": "s3://absent/site.yaml"},
            "CXG_CONFIG_FILE s3://absent/site.yaml: there is no such bucket",
        ),
        (
            {"CXG_DATAROOT": "s3://atlas/cxg", "CXG_AWS_SECRET_NAME": "absent"},
            f"CXG_AWS_SECRET_NAME absent ({REGION}): no such secret in this region",
        ),
    ],
)
def test_what_aws_does_not_have_is_one_line_and_exit_code_2(aws, tmp_path, variables, message):
    with started(tmp_path, aws, variables) as (process, _, log):
        assert process.wait(LIMIT_S) == 2
        lines = log.read_text().splitlines()
        assert len(lines) == 1
        assert lines[0].startswith(f"cellxgene-eb: error: {message}")


def account(url):
    """Environment of someone at a terminal, who has credentials but named no region."""
    return {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "CXG_WORKERS": "1"}


def test_launch_takes_secret_and_region_from_aws(aws, tmp_path):
    with launched(tmp_path, "s3://atlas/cxg", environment={**account(aws), "CXG_AWS_SECRET_NAME": "site"}) as server:
        schema = server.get("/d/one.cxg/api/v0.2/schema").json()["schema"]
        assert schema["dataframe"]["nObs"] > 0
        found = environment_of(server.process)
        assert found["CXG_SECRET_KEY"] == KEY
        assert found["AWS_REGION"] == REGION
        assert "CXG_AWS_SECRET_NAME" not in found
        assert KEY not in server.log()


@pytest.mark.parametrize(
    "dataroot, variables, message",
    [
        ("s3://absent/cxg", {}, "cxg launch s3://absent/cxg: there is no such bucket"),
        ("s3://atlas/cxg", {"CXG_AWS_SECRET_NAME": "absent"}, f"CXG_AWS_SECRET_NAME absent ({REGION}): no such secret"),
    ],
)
def test_a_launch_that_aws_refuses_is_one_line_and_exit_code_2(aws, tmp_path, dataroot, variables, message):
    (tmp_path / "static").mkdir()
    (tmp_path / "index.html").write_text("<html></html>")
    done = subprocess.run(
        [sys.executable, "-m", "cxg.cli.main", "launch", dataroot, "--client", tmp_path, "--port", str(free_port())],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(tmp_path), **account(aws), **variables},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert done.stderr.startswith(f"cxg: {message}")
