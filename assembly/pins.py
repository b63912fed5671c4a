"""The rules for a site's own `requirements.txt`: every package pinned exactly, none against ours.

An exact pin is `name==1.2.3`, with extras, a marker and hashes if wanted. Ranges, URLs, version
control, local files and pip's own options are violations: with them, two builds from equal inputs
could differ, or fetch from somewhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

_HASH = re.compile(r"\s--hash=sha(256|384|512):[0-9a-f]{64,128}(?=\s|$)")
_VERSION_CONTROL = re.compile(r"(^|@\s*)(git|hg|svn|bzr)(\+|://|@)")
_LOCAL_FILE = re.compile(r"^(\.|/|~|[A-Za-z]:\\)|\.(whl|zip|tar\.gz)(\s|$)")


@dataclass(frozen=True)
class PinnedRequirement:
    """One exact pin: the package's name as written, its version, the line it starts on."""

    name: str
    version: Version
    line: int
    hashed: bool


def read_own_pins(text: str) -> dict[str, Version]:
    """Read the versions in a requirements.txt of ours, by canonical package name."""
    pins: dict[str, Version] = {}
    for _, line in _logical_lines(text):
        requirement = Requirement(_HASH.sub("", line))
        pins[canonicalize_name(requirement.name)] = Version(next(iter(requirement.specifier)).version)
    return pins


def find_violations(text: str, own: str, source: str = "customize/requirements.txt") -> list[str]:
    """List every violation in a site's requirements, in the file's order.

    Parameters
    ----------
    text : str
        The site's requirements.txt.
    own : str
        Our requirements.txt, all exact pins.
    source : str
        The site's file's name, for the sentences.
    """
    ours = read_own_pins(own)
    problems: list[str] = []
    pins: dict[str, PinnedRequirement] = {}
    for number, line in _logical_lines(text):
        found = _read_pin(line, number)
        if isinstance(found, str):
            problems.append(f"{source} line {number}: {found}")
            continue
        key = canonicalize_name(found.name)
        if key in pins:
            problems.append(f"{source} line {number}: {found.name} is there twice, first on line {pins[key].line}")
        elif key in ours and ours[key] != found.version:
            sentence = f"{found.name}=={found.version} contradicts the server's own {key}=={ours[key]}; remove the line"
            problems.append(f"{source} line {number}: {sentence}")
        pins.setdefault(key, found)
    hashed = [pin for pin in pins.values() if pin.hashed]
    if hashed:
        bare = [pin for pin in pins.values() if not pin.hashed]
        problems += [
            f"{source} line {pin.line}: {pin.name} has no hash, but {hashed[0].name} has: hash all of them or none"
            for pin in bare
        ]
    return problems


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their continuations joined, comments and blank ones left out, and the number of the first."""
    pending, start = "", 0
    for number, line in enumerate([*text.removeprefix("\ufeff").splitlines(), ""], start=1):
        start = start if pending else number
        continued = line.endswith("\\") and not line.lstrip().startswith("#")
        pending += line[:-1] + " " if continued else line
        if continued:
            continue
        complete = re.sub(r"(^|\s)#.*$", "", pending).strip()
        pending = ""
        if complete:
            yield start, complete


def _read_pin(line: str, number: int) -> PinnedRequirement | str:
    """Read one logical line as an exact pin, or say what it is instead."""
    bare = _HASH.sub("", line).strip()
    refused = _refuse_form(bare)
    if refused:
        return refused
    try:
        requirement = Requirement(bare)
    except InvalidRequirement:
        return f"{bare!r} is not a valid requirement; write name==version"
    if requirement.url:
        return f"{requirement.name} comes from a URL; pin it as {requirement.name}==version"
    specifiers = list(requirement.specifier)
    if not specifiers:
        return f"{requirement.name} has no version; pin it as {requirement.name}==version"
    one = specifiers[0]
    if len(specifiers) > 1 or one.operator != "==" or one.version.endswith(".*"):
        written = str(requirement.specifier)
        return f"{requirement.name}{written} is not exact; pin it as {requirement.name}==version"
    try:
        version = Version(one.version)
    except InvalidVersion:
        return f"{requirement.name}=={one.version} is not a valid version; write it as on its release page"
    return PinnedRequirement(requirement.name, version, number, bare != line)


def _refuse_form(line: str) -> str | None:
    if line.startswith("-"):
        option = line.split(maxsplit=1)[0].split("=", maxsplit=1)[0]
        return f"the pip option {option} is not taken here; this file holds name==version only"
    if " --" in line:
        option = line.split(" --", 1)[1].split(maxsplit=1)[0].split("=", maxsplit=1)[0]
        return f"the option --{option} is not taken here; only --hash=sha256:... is"
    if _VERSION_CONTROL.search(line):
        return f"{line.split(maxsplit=1)[0]!r} comes from version control; pin a published release as name==version"
    if "://" in line and "@" not in line.split("://", maxsplit=1)[0]:
        return f"{line!r} is a URL; pin a published release as name==version"
    if "://" not in line and _LOCAL_FILE.search(line):
        return f"{line!r} is a file on this machine; pin a published release as name==version"
    return None
