"""The bundle for Elastic Beanstalk's Docker platform: `artifact.zip`, the same bytes for the same inputs.

Two kinds. With an image's name it holds `Dockerrun.aws.json`, and instances pull that image; without one it
holds the Dockerfile and its context, and each instance builds the image itself, which needs no registry.
Both carry `.ebextensions` and `.platform`, put together from `beanstalk/` by `MODES`: how the data is reached.

Format: https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/single-container-docker-configuration.html
"""

from __future__ import annotations

import argparse
import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from assembly import ROOT, Say
from assembly.errors import AssemblyError
from assembly.overlays import Overlays, read_overlays

ARTIFACT = Path("artifact.zip")
TEMPLATES = Path("beanstalk")
MOUNT_POINT = "/mnt/cxg"
# Beanstalk's limit: https://docs.aws.amazon.com/elasticbeanstalk/latest/dg/applications-sourcebundle.html
MAX_BYTES = 512 << 20
_EARLIEST = (1980, 1, 1, 0, 0, 0)  # what the zip format can hold
_FILE, _PROGRAM = 0o100644, 0o100755
_IMAGE = re.compile(
    r"(?:[a-z0-9.-]+(?::[0-9]+)?/)?[a-z0-9._/-]+(?::[\w][\w.-]{0,127})?(?:@sha256:[0-9a-f]{64})?", re.ASCII
)


@dataclass(frozen=True)
class Mode:
    """How an environment reaches its data.

    Attributes
    ----------
    purpose : str
        How the plan of a build calls it.
    hooks : tuple of str
        Programs of `beanstalk/hooks` that run on the instance before the container starts.
    extensions : tuple of str
        Files of `beanstalk/ebextensions` besides the common one.
    mounted : bool
        Whether the instance mounts a file system that the container gets as a volume.
    """

    purpose: str
    hooks: tuple[str, ...]
    extensions: tuple[str, ...] = ()
    mounted: bool = False


MODES: Mapping[str, Mode] = {
    "s3": Mode("the container reads S3 itself", ("10-metadata-hop-limit.sh",)),
    "fsx": Mode("the instance mounts FSx for Lustre", ("20-mount-fsx.sh",), ("30-fsx.config",), mounted=True),
    "s3-mount": Mode("the instance mounts the bucket", ("20-mount-s3.sh",), ("31-s3-mount.config",), mounted=True),
}


@dataclass(frozen=True)
class Member:
    """One file of the bundle: its path, contents and mode as the zip keeps it."""

    path: str
    content: bytes
    mode: int = _FILE


@dataclass(frozen=True)
class BundlePlan:
    """Everything the bundle will hold, sorted by path, and in words what it is."""

    entries: tuple[Member, ...]
    kind: str
    mode: str

    @property
    def size_bytes(self) -> int:
        """Return the size of the contents together."""
        return sum(len(entry.content) for entry in self.entries)

    def lines(self) -> Iterator[str]:
        """Describe the plan for a person, one line for each file."""
        yield f"bundle: {self.kind}; {MODES[self.mode].purpose}"
        for entry in self.entries:
            yield f"  {entry.mode & 0o777:o} {len(entry.content):>9,}  {entry.path}"


def plan_bundle(
    root: Path,
    *,
    image: str | None = None,
    context: Path | None = None,
    mode: str = "s3",
    overlays: Overlays | None = None,
) -> BundlePlan:
    """Put the bundle together without writing anything.

    Parameters
    ----------
    root
        The project: `Dockerrun.aws.json` and `beanstalk/`.
    image
        Name of a pushed image, with its registry and tag or digest.
    context
        Folder with the Dockerfile and all it copies; used when there is no `image`.
    mode
        One of `MODES`.
    overlays
        The site's own `customize/`, for its ebextensions.

    Raises
    ------
    AssemblyError
        Something is missing, or two files have the same place.
    """
    if mode not in MODES:
        raise AssemblyError(f"{mode} is no way to reach the data; it is one of {', '.join(MODES)}")
    if (image is None) == (context is None):
        raise AssemblyError("a bundle needs either an image's name or the folder to build one from")
    entries = list(_platform(root / TEMPLATES, MODES[mode]))
    if image is not None:
        entries.append(Member("Dockerrun.aws.json", _dockerrun(root, image, MODES[mode])))
        kind = f"instances pull {image}"
    elif context is not None:
        entries += _context(context)
        kind = "instances build the image from the Dockerfile"
        if MODES[mode].mounted:
            entries.append(Member("Dockerrun.aws.json", _dockerrun(root, None, MODES[mode])))
    entries += _site_extensions(overlays)
    entries.sort(key=lambda entry: entry.path)
    for first, second in pairwise(entries):
        if first.path == second.path:
            raise AssemblyError(
                f"{first.path} is in the bundle twice; rename the site's own, for example to 90-site.config"
            )
    plan = BundlePlan(tuple(entries), kind, mode)
    if plan.size_bytes > MAX_BYTES:
        raise AssemblyError(f"the bundle has {plan.size_bytes >> 20} MB; Elastic Beanstalk takes 512 MB at most")
    return plan


def write_bundle(plan: BundlePlan, target: Path) -> None:
    """Write the zip: entries sorted, all times alike, modes kept, and no compression.

    Compressed bytes depend on the zlib at hand; uncompressed ones are the same everywhere.
    """
    part = target.with_name(f".{target.name}.part")
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for entry in plan.entries:
            info = zipfile.ZipInfo(entry.path, _EARLIEST)
            info.create_system = 3  # Unix, so that the modes count
            info.external_attr = entry.mode << 16
            archive.writestr(info, entry.content)
    part.replace(target)


def add_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `bundle` to the verbs of `build.py`."""
    parser = verbs.add_parser("bundle", help="write artifact.zip for Elastic Beanstalk, for an image that is pushed")
    parser.add_argument("--image", required=True, metavar="REGISTRY/NAME:TAG", help="the image that instances pull")
    add_bundle_options(parser)
    parser.set_defaults(run=_run)


def add_bundle_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `bundle` and `build` share."""
    parser.add_argument(
        "--mode", choices=sorted(MODES), default="s3", help="how the data is reached (default: %(default)s)"
    )
    parser.add_argument("--artifact", type=Path, default=ARTIFACT, metavar="FILE", help="default: %(default)s")
    parser.add_argument("--dry-run", action="store_true", help="print the plan and write nothing")


def finish_bundle(plan: BundlePlan, target: Path, say: Say, *, dry_run: bool = False) -> None:
    """Write the bundle and say how it is sent, or print the plan."""
    if dry_run:
        for line in plan.lines():
            say(line)
        return
    write_bundle(plan, target)
    say(f"bundle: {target}, {target.stat().st_size:,} bytes, {len(plan.entries)} files; {plan.kind}")
    say("bundle: `eb` sends the git repository until .elasticbeanstalk/config.yml names the bundle, so add once:")
    say(f"    printf 'deploy:\\n  artifact: {target.as_posix()}\\n' >> .elasticbeanstalk/config.yml")


def _run(options: argparse.Namespace, say: Say) -> None:
    overlays = read_overlays(Path("customize"), ROOT / "requirements.txt")
    plan = plan_bundle(ROOT, image=options.image, mode=options.mode, overlays=overlays)
    finish_bundle(plan, options.artifact, say, dry_run=options.dry_run)


def _platform(templates: Path, mode: Mode) -> Iterator[Member]:
    for name in ("10-environment.config", *mode.extensions):
        yield Member(f".ebextensions/{name}", _read(templates / "ebextensions" / name))
    nginx = ".platform/nginx/conf.d"
    yield Member(f"{nginx}/10-cellxgene.conf", _read(templates / "nginx" / "http.conf"))
    yield Member(f"{nginx}/elasticbeanstalk/10-cellxgene.conf", _read(templates / "nginx" / "server.conf"))
    for name in mode.hooks:
        # A change of configuration runs the second folder instead of the first.
        for folder in ("hooks", "confighooks"):
            yield Member(f".platform/{folder}/prebuild/{name}", _read(templates / "hooks" / name), _PROGRAM)


def _dockerrun(root: Path, image: str | None, mode: Mode) -> bytes:
    try:
        document: dict[str, Any] = json.loads(_read(root / "Dockerrun.aws.json"))
    except ValueError as error:
        raise AssemblyError(f"Dockerrun.aws.json is not JSON ({error})") from error
    if image is None:
        del document["Image"]  # the Dockerfile stands in its place
    elif not _IMAGE.fullmatch(image):
        raise AssemblyError(f"{image} is not a valid image name; write it as registry/name:tag")
    elif ":" not in image.rpartition("/")[2]:
        raise AssemblyError(f"{image} has no tag; instances started later would pull another image than their siblings")
    else:
        document["Image"]["Name"] = image
    if mode.mounted:
        document["Volumes"] = [{"HostDirectory": MOUNT_POINT, "ContainerDirectory": MOUNT_POINT}]
    return (json.dumps(document, indent=2) + "\n").encode()


def _context(context: Path) -> Iterator[Member]:
    dockerfile = context / "Dockerfile"
    if not dockerfile.is_file():
        raise AssemblyError(f"{context} has no Dockerfile")
    if not re.search(r"^EXPOSE\s+\d+", dockerfile.read_text(encoding="utf-8"), re.MULTILINE):
        raise AssemblyError(f"{dockerfile} has no EXPOSE line, without which Elastic Beanstalk refuses to deploy")
    for path in sorted(context.rglob("*")):
        if path.is_symlink():
            raise AssemblyError(f"{path} is a link; only plain files and folders are taken")
        if path.is_file():
            yield Member(path.relative_to(context).as_posix(), path.read_bytes(), _mode(path))


def _site_extensions(overlays: Overlays | None) -> Iterator[Member]:
    for path in overlays.ebextensions if overlays else ():
        name = PurePosixPath(".ebextensions", path.name)
        yield Member(str(name), _read(overlays.root / path) if overlays else b"")


def _mode(path: Path) -> int:
    return _PROGRAM if path.stat().st_mode & 0o100 else _FILE


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AssemblyError(f"{path} cannot be read ({error.strerror})") from error
