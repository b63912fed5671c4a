"""The tag that names an image for ever: the package's version, the commit, and a digest of the site's own files.

The build leaves the three in the image as labels, so that a push sends only what its tag says.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from assembly.context import UNKNOWN, read_commit, read_version
from assembly.errors import AssemblyError
from assembly.overlays import Overlays

# Git ignores the site's own files, so the commit does not tell them apart.
CUSTOMIZE_LABEL = "cellxgene-eb.customize"
_VERSION_LABEL = "org.opencontainers.image.version"
_COMMIT_LABEL = "org.opencontainers.image.revision"


def immutable_tag(root: Path, overlays: Overlays) -> str:
    """Tag such as ``1.0.0-0123456789ab``, with the digest of the site's own files behind it when there are any.

    Raises
    ------
    AssemblyError
        The commit does not say what was built: there is none, or files differ from it.
    """
    version, commit = read_version(root), read_commit(root)
    if commit == UNKNOWN:
        raise AssemblyError(f"{root} has no commit to make a tag from; give one with --tag")
    if commit.endswith("-dirty"):
        raise AssemblyError(
            "files differ from the last commit, which would name the image wrongly; commit, or use --tag"
        )
    return _joined(version, commit, overlays.digest)


def check_origin(labels: Mapping[str, str], local: str, tag: str) -> None:
    """See that an image was built from what its tag will say.

    Parameters
    ----------
    labels : mapping of str to str
        Labels of the image.
    local : str
        Name of the image on this machine, for the message.
    tag : str
        What `immutable_tag` returned.

    Raises
    ------
    AssemblyError
        It was built from another commit, or with other files of the site.
    """
    built = _joined(
        labels.get(_VERSION_LABEL, UNKNOWN), labels.get(_COMMIT_LABEL, UNKNOWN), labels.get(CUSTOMIZE_LABEL, "")
    )
    if built != tag:
        raise AssemblyError(
            f"{local} was built as {built}, but the files here are {tag}: build it again with `make build`"
        )


def _joined(*parts: str) -> str:
    return "-".join(part for part in parts if part)
