"""The server's image, built with the Docker SDK, then looked at: its configuration, its size, its layers."""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assembly import ROOT, Say, one_line
from assembly.context import BuildContext, plan_context, stage_context
from assembly.errors import AssemblyError
from assembly.tags import CUSTOMIZE_LABEL

NAME = "cellxgene-eb"
_CONFIG = "/app/customize/config.yaml"
_LOG_TAIL = 25


@dataclass(frozen=True)
class ImagePlan:
    """One build of the image.

    context : what goes in.
    tag : name and tag of the result.
    build_args : for the Dockerfile's ARG lines.
    network : network of the build's own steps; None for Docker's default.
    """

    context: BuildContext
    tag: str
    build_args: Mapping[str, str] = field(default_factory=dict)
    network: str | None = None

    def lines(self) -> Iterator[str]:
        """Describe the plan for a person."""
        yield f"image: {self.tag}, version {self.context.version}, commit {self.context.commit}"
        for name, value in sorted(self.build_args.items()):
            yield f"  build argument {name}={value}"
        if self.network:
            yield f"  network of the build: {self.network}"
        for path in self.context.files:
            yield f"  {path}"
        for path in self.context.overlays.files:
            yield f"  customize/{path}"


@dataclass(frozen=True)
class BuiltImage:
    """An image in the local engine; sizes in bytes, uncompressed, oldest layer first."""

    id: str
    tag: str
    size_bytes: int
    layers: tuple[tuple[int, str], ...]

    def lines(self) -> Iterator[str]:
        """Return the size and layer table, without the empty layers."""
        yield f"image: {self.tag} {self.id[:19]}, {self.size_bytes / 1e6:,.0f} MB"
        for size_bytes, made_by in self.layers:
            if size_bytes:
                yield f"  {size_bytes / 1e6:>8,.1f} MB  {made_by}"


def add_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `image` to the verbs of `build.py`."""
    parser = verbs.add_parser("image", help="build the server's image")
    parser.add_argument("--image", metavar="NAME:TAG", help=f"name of the image (default: {NAME}:<version>)")
    add_image_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the plan and build nothing")
    parser.set_defaults(run=_run)


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `image` and `build` share."""
    add_customize_option(parser)
    add = parser.add_argument
    add(
        "--base-image",
        default=os.environ.get("PYTHON_IMAGE"),
        metavar="NAME:TAG",
        help="Python image to build on, for sites that mirror images (also: the variable PYTHON_IMAGE)",
    )
    add("--apt-packages", metavar="NAMES", help="Debian packages to add, such as a FUSE client")
    add(
        "--network",
        default=os.environ.get("BUILD_NETWORK"),
        metavar="MODE",
        help="network of the build's steps, such as `host` (also: the variable BUILD_NETWORK)",
    )


def add_customize_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the site's own files are."""
    parser.add_argument("--customize", type=Path, default=Path("customize"), metavar="DIR", help="default: %(default)s")


def plan_image(options: argparse.Namespace) -> ImagePlan:
    """Work out a build from the command line's options, without writing anything.

    Raises
    ------
    AssemblyError
        A file of the project or of `customize/` is missing, unknown or faulty.
    """
    context = plan_context(ROOT, options.customize)
    chosen = {"BASE_IMAGE": options.base_image, "APT_PACKAGES": options.apt_packages}
    build_args = {name: value for name, value in chosen.items() if value}
    return ImagePlan(context, options.image or f"{NAME}:{context.version}", build_args, options.network)


def build_image(plan: ImagePlan, say: Say) -> BuiltImage:
    """Build the image and check what can be checked in it without data.

    Raises
    ------
    AssemblyError
        There is no Docker engine, a step of the build failed, or something in the image is faulty.
    """
    engine = connect()
    with tempfile.TemporaryDirectory(prefix="cellxgene-eb-") as folder:
        stage_context(plan.context, Path(folder))
        _build(engine, plan, folder, say)
    if Path("config.yaml") in plan.context.overlays.files:
        say(run_in_image(engine, plan.tag, ["cxg", "config", "check", _CONFIG]).strip())
    say(run_in_image(engine, plan.tag, ["cxg", "doctor", "--without-data"]).strip())
    image = engine.images.get(plan.tag)
    layers = tuple((int(step["Size"]), _made_by(step["CreatedBy"])) for step in reversed(image.history()))
    return BuiltImage(image.id, plan.tag, int(image.attrs["Size"]), layers)


def connect() -> Any:
    """Return the client of the Docker engine.

    Raises
    ------
    AssemblyError
        The SDK is not installed, or no engine answers.
    """
    try:
        import docker  # the other verbs, and the image's own build, do without the SDK
    except ImportError:
        raise AssemblyError(
            "the Docker SDK is not installed here: run `make build`, or pip install -r requirements-build.txt"
        ) from None
    try:
        engine = docker.from_env(timeout=1800)
        engine.ping()
    except docker.errors.DockerException as error:
        raise AssemblyError(
            f"no Docker engine answers ({one_line(error)}): start Docker, or set DOCKER_HOST"
        ) from error
    return engine


def run_in_image(engine: Any, tag: str, command: list[str], **options: Any) -> str:
    """Run one command in a new container of the image, without network; returns what it printed.

    Raises
    ------
    AssemblyError
        It failed; holds what it printed.
    """
    settings = {"network_mode": "none", "read_only": True, **options}
    container = engine.containers.create(tag, entrypoint=command, **settings)
    try:
        container.start()
        code = container.wait()["StatusCode"]
        printed: str = container.logs().decode(errors="replace")
    finally:
        container.remove(force=True)
    if code:
        raise AssemblyError(f"`{' '.join(command)}` in {tag} ended with {code}:\n{printed.strip()}")
    return printed


def _build(engine: Any, plan: ImagePlan, folder: str, say: Say) -> None:
    said: list[str] = []
    digest = plan.context.overlays.digest
    stream = engine.api.build(
        path=folder,
        tag=plan.tag,
        labels={CUSTOMIZE_LABEL: digest} if digest else {},  # version and commit are the Dockerfile's own
        buildargs=dict(plan.build_args),
        network_mode=plan.network,
        rm=True,
        forcerm=True,
        decode=True,
    )
    for record in stream:
        if "error" in record:
            tail = "\n".join(said[-_LOG_TAIL:])
            raise AssemblyError(f"the image could not be built: {one_line(record['error'])}\n{tail}")
        for line in str(record.get("stream", "")).splitlines():
            if line.strip():
                said.append(line)
            if line.startswith("Step "):
                say(line)


def _made_by(command: str) -> str:
    """Shorten the engine's record of a layer to its instruction."""
    text = " ".join(command.split()).removeprefix("/bin/sh -c ").removeprefix("#(nop) ")
    text = re.sub(r"\b(dir|file|multi):[0-9a-f]{64}", r"\1", text)
    return text if len(text) <= 90 else f"{text[:87]}..."


def _run(options: argparse.Namespace, say: Say) -> None:
    plan = plan_image(options)
    for line in plan.lines() if options.dry_run else build_image(plan, say).lines():
        say(line)
