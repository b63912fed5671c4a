"""`build.py push` with a real engine and a real registry; Amazon's API is played by moto."""

from __future__ import annotations

import io
import re
import tarfile

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

import build
from assembly.errors import AssemblyError
from assembly.image import connect
from assembly.push import Target, push_image, push_to_ecr
from tests.integration import registry

pytestmark = pytest.mark.integration

HOST = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
TARGET = Target(HOST, "cellxgene-eb", "1.0.0-0123456789ab")
PASSWORD = "123456789012-auth-token"


@pytest.fixture(scope="module")
def engine():
    engine = connect()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where the registry listens."""
    with registry.running(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture
def ecr(monkeypatch):
    """Amazon's API, new for each test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    requests.post(f"http://{host}:{port}/moto-api/reset", timeout=10)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    yield boto3.client("ecr", region_name="eu-west-1")
    server.stop()


@pytest.fixture
def image(engine, address):
    """Makes small images; all names are gone afterwards."""
    made = []

    def make(content: bytes) -> str:
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            for name, data in (("Dockerfile", b"FROM scratch\nCOPY file /\n"), ("file", content)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        archive.seek(0)
        built, _ = engine.images.build(fileobj=archive, custom_context=True, rm=True)
        made.append(built.id)
        return str(built.id)

    yield make
    for one in made:
        engine.images.remove(one, force=True)


def manifest_digest(address: str, repository: str, tag: str) -> str | None:
    """Digest by which the registry itself knows the image."""
    headers = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    url = f"http://{address}/v2/{repository}/manifests/{tag}"
    answer = requests.head(url, headers=headers, auth=("AWS", PASSWORD), timeout=10)
    return answer.headers["Docker-Content-Digest"] if answer.ok else None


def test_the_repository_is_made_with_immutable_tags_and_the_digest_is_the_registrys(engine, address, ecr, image):
    said: list[str] = []
    pushed = push_to_ecr(engine, image(b"one"), TARGET, ecr, said.append, address=address)
    assert pushed.reference == TARGET.reference
    assert pushed.digest == manifest_digest(address, TARGET.repository, TARGET.tag)
    repository = ecr.describe_repositories(repositoryNames=["cellxgene-eb"])["repositories"][0]
    assert repository["imageTagMutability"] == "IMMUTABLE"
    assert repository["imageScanningConfiguration"]["scanOnPush"] is True
    assert "push: made the repository cellxgene-eb, with immutable tags" in said
    assert any(line.endswith(" pushed") for line in said)
    assert PASSWORD not in "\n".join(said)


def test_a_repository_that_is_there_is_used(engine, address, ecr, image):
    ecr.create_repository(repositoryName="cellxgene-eb")
    target = Target(HOST, "cellxgene-eb", "second")
    said: list[str] = []
    push_to_ecr(engine, image(b"two"), target, ecr, said.append, address=address)
    assert manifest_digest(address, "cellxgene-eb", "second")
    assert not any("made the repository" in line for line in said)


def test_a_tag_is_never_moved(engine, address, ecr, image):
    first = image(b"three")
    target = Target(HOST, "cellxgene-eb", "third")
    pushed = push_to_ecr(engine, first, target, ecr, print, address=address)
    # moto keeps no images that were pushed elsewhere, so it is told of this one.
    url = f"http://{address}/v2/cellxgene-eb/manifests/third"
    headers = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    manifest = requests.get(url, headers=headers, auth=("AWS", PASSWORD), timeout=10).text
    ecr.put_image(repositoryName="cellxgene-eb", imageManifest=manifest, imageTag="third", imageDigest=pushed.digest)
    held = ecr.describe_images(repositoryName="cellxgene-eb", imageIds=[{"imageTag": "third"}])
    assert held["imageDetails"][0]["imageDigest"] == pushed.digest
    said: list[str] = []
    assert push_to_ecr(engine, first, target, ecr, said.append, address=address) == pushed
    assert any("is there already" in line for line in said)
    with pytest.raises(AssemblyError, match=r"is another image already, and tags are not moved"):
        push_to_ecr(engine, image(b"four"), target, ecr, print, address=address)
    assert manifest_digest(address, "cellxgene-eb", "third") == pushed.digest


def test_a_wrong_password_fails(engine, address, image):
    place = Target(address, "refused", "one")
    with pytest.raises(AssemblyError, match=r"was not pushed: .*; check the credentials and the right to push"):
        push_image(engine, image(b"five"), place, {"username": "AWS", "password": "wrong"}, print)
    assert manifest_digest(address, "refused", "one") is None


def test_a_registry_that_is_away_fails(engine, image):
    place = Target(f"127.0.0.1:{registry.free_port()}", "away", "one")
    with pytest.raises(AssemblyError, match=r"was not pushed: .*push again"):
        push_image(engine, image(b"six"), place, {"username": "AWS", "password": PASSWORD}, print)


def test_amazon_away_is_one_sentence(engine, image, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    client = boto3.client(
        "ecr",
        region_name="eu-west-1",
        endpoint_url=f"http://127.0.0.1:{registry.free_port()}",
        config=boto3.session.Config(retries={"max_attempts": 0}),
    )
    with pytest.raises(AssemblyError, match=rf"^{re.escape(HOST)}/cellxgene-eb: .*check AWS_PROFILE"):
        push_to_ecr(engine, image(b"seven"), TARGET, client, print)


def test_an_image_that_is_not_built_is_named(engine, ecr):
    with pytest.raises(AssemblyError, match="there is no image cellxgene-eb:absent here; `make build` makes it"):
        push_to_ecr(engine, "cellxgene-eb:absent", TARGET, ecr, print)


def test_the_command_line_prints_reference_and_digest(engine, address, ecr, image, capsys):
    arguments = [
        "push",
        "--image",
        f"{HOST}/from-the-command-line:one",
        "--local",
        image(b"eight"),
        "--address",
        address,
    ]
    assert build.main(arguments) == 0
    printed = capsys.readouterr().out
    assert f"push: {HOST}/from-the-command-line:one\n" in printed
    assert f"push: {manifest_digest(address, 'from-the-command-line', 'one')}\n" in printed


def test_the_command_line_fails_with_a_sentence(engine, ecr, capsys):
    assert build.main(["push", "--image", f"{HOST}/name:one", "--local", "absent:one"]) == 2
    assert "there is no image absent:one here" in capsys.readouterr().err
