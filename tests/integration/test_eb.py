"""The real `eb` command against a look-alike of AWS: what it uploads is our artifact, byte for byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml

import build
from tests.integration import eb_lookalike

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
EB_CLI = "awsebcli==3.27.5"
IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/cellxgene-eb:1.0.0-0123456789ab"
LIMIT_S = 300


@pytest.fixture(scope="session")
def eb():
    """The `eb` command, in an environment of its own: its requirements contradict ours. EB_CLI names another."""
    if found := os.environ.get("EB_CLI"):
        return found
    folder = ROOT / "build" / "eb-cli"
    program = folder / "bin" / "eb"
    if not program.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(folder / "bin" / "pip"), "install", "-q", EB_CLI], check=True)
    return str(program)


@pytest.fixture
def account(monkeypatch):
    """An AWS account with nothing in it."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_EC2_METADATA_DISABLED": "true",
        # `eb create` attaches Amazon's own policies to the roles it makes.
        "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
    }.items():
        monkeypatch.setenv(name, value)
    with eb_lookalike.running() as state:
        # Another test may have made moto's account before, without those policies.
        requests.post(f"{state.url}/moto-api/reset", timeout=60).raise_for_status()
        monkeypatch.setenv("AWS_ENDPOINT_URL", state.url)
        yield state


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An operator's checkout: a git repository that `eb` has not seen yet, with a file that is not committed."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("Dockerfile", "README.md"):
        (folder / name).write_text(f"{name} of the project\n")
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "one"]):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path))
    return folder


def run(program, *arguments):
    """Run `eb`; its output, and failure with it."""
    finished = subprocess.run(
        [program, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert finished.returncode == 0, f"eb {' '.join(arguments)} ended with {finished.returncode}:\n{finished.stdout}"
    return finished.stdout


def test_init_create_and_deploy_send_our_artifact(eb, account, project):
    run(eb, "init", "atlas", "-p", eb_lookalike.BRANCH, "-r", eb_lookalike.REGION)
    config = project / ".elasticbeanstalk" / "config.yml"
    before = yaml.safe_load(config.read_text())
    assert before["global"]["default_platform"] == eb_lookalike.BRANCH
    guide = (ROOT / "docs" / "deploy.md").read_text().splitlines()
    name_the_bundle = next(line for line in guide if line.startswith("printf "))
    subprocess.run(["sh", "-c", name_the_bundle], check=True)
    assert yaml.safe_load(config.read_text()) == {**before, "deploy": {"artifact": "artifact.zip"}}

    first = bundle(project, IMAGE)
    run(
        eb,
        "create",
        "atlas-site",
        "--elb-type",
        "application",
        "--instance-types",
        "m7i.large",
        "--envvars",
        "CXG_DATAROOT=s3://atlas/cxg",
    )
    environment = account.environments[0]
    assert account.bundle(environment["VersionLabel"]) == first
    chosen = {(one["Namespace"], one["OptionName"]): one.get("Value") for one in account.options}
    assert chosen["aws:elasticbeanstalk:environment", "LoadBalancerType"] == "application"
    assert chosen["aws:elasticbeanstalk:application:environment", "CXG_DATAROOT"] == "s3://atlas/cxg"

    second = bundle(project, IMAGE.replace("1.0.0", "1.0.1"), "--mode", "fsx")
    assert second != first
    run(eb, "deploy", "atlas-site", "--label", "second")
    assert environment["VersionLabel"] == "second"
    assert account.bundle("second") == second


def test_an_archive_is_sent_without_a_line_in_the_configuration(eb, account, project):
    run(eb, "init", "atlas", "-p", eb_lookalike.BRANCH, "-r", eb_lookalike.REGION)
    run(eb, "create", "atlas-site")
    sent = bundle(project, IMAGE)
    archive = ("--region", eb_lookalike.REGION, "--archive", "artifact.zip", "--label", "archived")
    run(eb, "deploy", "atlas-site", *archive)
    assert account.environments[0]["VersionLabel"] == "archived"
    assert account.bundle("archived") == sent


def bundle(project, image, *options):
    """Write artifact.zip; its bytes."""
    assert build.main(["bundle", "--image", image, *options]) == 0
    return (project / "artifact.zip").read_bytes()
