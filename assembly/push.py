"""The image to a registry, under a tag that is never moved and says what the image was built from.

For Amazon ECR the repository is made when it is missing, with immutable tags, and the password is fetched from
AWS; any other registry is reached with what `docker login` stored. A push that fails in the middle of its
stream fails here: the Docker SDK itself reports no error.
"""

from __future__ import annotations

import argparse
import base64
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assembly import ROOT, Say, one_line
from assembly.context import read_version
from assembly.errors import AssemblyError
from assembly.image import NAME, add_customize_option, connect
from assembly.overlays import read_overlays
from assembly.tags import check_origin, immutable_tag

if TYPE_CHECKING:
    import docker

_ECR_HOST = re.compile(r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class Target:
    """Where an image goes: registry address, repository name and tag."""

    host: str
    repository: str
    tag: str

    @property
    def name(self) -> str:
        """Return the repository with its registry."""
        return f"{self.host}/{self.repository}"

    @property
    def reference(self) -> str:
        """Return the full name of the image."""
        return f"{self.name}:{self.tag}"


@dataclass(frozen=True)
class Pushed:
    """What the registry holds now; `digest` names the image for ever."""

    reference: str
    digest: str


def parse_target(image: str, tag: str) -> Target:
    """Take a name such as ``registry/name[:tag]`` apart; a tag in it wins over `tag`.

    Raises
    ------
    AssemblyError
        It has no registry, or the tag is none.
    """
    host, slash, rest = image.partition("/")
    if not slash or not rest or not ("." in host or ":" in host or host == "localhost"):
        raise AssemblyError(f"{image} names no registry; write it as registry.example.org/name")
    repository, _, own_tag = rest.partition(":")
    chosen = own_tag or tag
    if not _TAG.fullmatch(chosen):
        raise AssemblyError(f"{chosen} is not a valid tag; use letters, digits, '.', '_' and '-'")
    return Target(host, repository, chosen)


def push_to_ecr(
    engine: docker.DockerClient, local: str, target: Target, ecr: Any, say: Say, *, address: str | None = None
) -> Pushed:
    """Push to Amazon ECR, making the repository when it is missing.

    Parameters
    ----------
    local
        Name or id of the image in the engine.
    ecr
        A boto3 client of ECR in the registry's region.
    address
        Where the registry is reached when not under its own name: an interface endpoint, a tunnel.

    Raises
    ------
    AssemblyError
        AWS or the registry refused, or the tag stands for another image already.
    """
    with _aws_errors(target.name):
        _ensure_repository(ecr, target.repository, say)
        held = _held_digest(ecr, target)
        token = ecr.get_authorization_token()["authorizationData"][0]["authorizationToken"]
    user, _, password = base64.b64decode(token).decode().partition(":")
    place = Target(address or target.host, target.repository, target.tag)
    if held is not None:
        digests = _image(engine, local).attrs.get("RepoDigests") or []
        if f"{place.name}@{held}" not in digests:
            raise AssemblyError(
                f"{target.reference} is another image already, and tags are not moved; "
                "give this one a tag of its own with --tag"
            )
        say(f"push: {target.reference} is there already")
        return Pushed(target.reference, held)
    pushed = push_image(engine, local, place, {"username": user, "password": password}, say)
    return Pushed(target.reference, pushed.digest)


def push_image(
    engine: docker.DockerClient, local: str, target: Target, credentials: Mapping[str, str] | None, say: Say
) -> Pushed:
    """Tag an image and push it; `credentials` are `username` and `password`, None for those of `docker login`.

    Raises
    ------
    AssemblyError
        There is no such image, or the registry refused.
    """
    _image(engine, local).tag(target.name, tag=target.tag)
    options: dict[str, Any] = {"auth_config": dict(credentials)} if credentials else {}
    stream = engine.images.push(target.name, tag=target.tag, stream=True, decode=True, **options)
    return Pushed(target.reference, read_push_stream(stream, target.reference, say))


def read_push_stream(stream: Iterable[Mapping[str, Any]], reference: str, say: Say) -> str:
    """Follow a push to its end; returns the digest.

    Raises
    ------
    AssemblyError
        The stream holds an error, or ends without a digest.
    """
    digest = None
    for event in stream:
        if "error" in event:
            reason = one_line(event["error"])
            refused = re.search(r"unauthorized|authentication|denied|no basic auth", reason, re.IGNORECASE)
            remedy = "check the credentials and the right to push" if refused else "push again"
            raise AssemblyError(f"{reference} was not pushed: {reason}; {remedy}")
        if event.get("status") in {"Pushed", "Layer already exists", "Mounted from"}:
            say(f"push: {event.get('id', '')} {event['status'].lower()}")
        aux = event.get("aux")
        digest = aux.get("Digest", digest) if isinstance(aux, Mapping) else digest
    if not digest:
        raise AssemblyError(f"{reference} was not pushed: the registry gave no digest; push again")
    return str(digest)


def add_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `push` to the verbs of `build.py`."""
    parser = verbs.add_parser("push", help="push the image to a registry; makes the repository in Amazon ECR")
    parser.add_argument(
        "--image",
        metavar="REGISTRY/NAME[:TAG]",
        help=f"default: {NAME} in the ECR registry of the AWS account and region in use",
    )
    parser.add_argument("--tag", help="default: version, commit and customize/, as in 1.0.0-0123456789ab-89abcdef")
    add_customize_option(parser)
    parser.add_argument("--local", metavar="NAME:TAG", help=f"image to push (default: --image if built, else {NAME})")
    parser.add_argument("--address", metavar="HOST", help="where the registry is reached, if not under its own name")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, say: Say) -> None:
    image = options.image or f"{_own_registry()}/{NAME}"
    worked_out = ""
    if not options.tag and ":" not in image.rpartition("/")[2]:
        worked_out = immutable_tag(ROOT, read_overlays(options.customize, ROOT / "requirements.txt"))
    target = parse_target(image, options.tag or worked_out)
    engine = connect()
    try:
        local = options.local or _built(engine, target.reference, f"{NAME}:{read_version(ROOT)}")
        if worked_out:
            check_origin(_image(engine, local).labels, local, worked_out)
        ecr_host = _ECR_HOST.fullmatch(target.host)
        if ecr_host:
            pushed = push_to_ecr(engine, local, target, _ecr_client(ecr_host["region"]), say, address=options.address)
        else:
            pushed = push_image(engine, local, target, None, say)
    finally:
        engine.close()
    say(f"push: {pushed.reference}")
    say(f"push: {pushed.digest}")
    say(f"push: next, `make build IMAGE={pushed.reference}`, then `eb deploy`")


def _ensure_repository(ecr: Any, name: str, say: Say) -> None:
    try:
        ecr.create_repository(
            repositoryName=name, imageTagMutability="IMMUTABLE", imageScanningConfiguration={"scanOnPush": True}
        )
        say(f"push: made the repository {name}, with immutable tags")
    except ecr.exceptions.RepositoryAlreadyExistsException:
        pass


def _held_digest(ecr: Any, target: Target) -> str | None:
    """Digest of the image that has the tag already, or None."""
    try:
        found = ecr.describe_images(repositoryName=target.repository, imageIds=[{"imageTag": target.tag}])
    except ecr.exceptions.ImageNotFoundException:
        return None
    details = found.get("imageDetails") or []
    return str(details[0]["imageDigest"]) if details else None


def _own_registry() -> str:
    import boto3

    region = os.environ.get("AWS_REGION") or boto3.session.Session().region_name
    if not region:
        raise AssemblyError("no AWS region is set; set AWS_REGION, or name the registry: --image registry/name")
    with _aws_errors("the AWS account in use"):
        account = boto3.client("sts", region_name=region).get_caller_identity()["Account"]
    return f"{account}.dkr.ecr.{region}.amazonaws.com"


def _ecr_client(region: str) -> Any:
    import boto3

    return boto3.client("ecr", region_name=region)


def _built(engine: docker.DockerClient, *names: str) -> str:
    """The first of these images that is in the engine; the last when none is."""
    from docker.errors import ImageNotFound

    for name in names:
        try:
            engine.images.get(name)
        except ImageNotFound:
            continue
        return name
    return names[-1]


def _image(engine: docker.DockerClient, local: str) -> Any:
    from docker.errors import ImageNotFound

    try:
        return engine.images.get(local)
    except ImageNotFound as error:
        raise AssemblyError(f"there is no image {local} here; `make build` makes it") from error


@contextmanager
def _aws_errors(what: str) -> Iterator[None]:
    """Turn what boto3 raises about `what` into our sentence."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        reason = one_line(error)
        raise AssemblyError(
            f"{what}: {reason}; check AWS_PROFILE or the AWS_* variables, and the right to push"
        ) from error
