"""Published packages by name, version and sha256.

pip does the fetching, so that whatever mirror, proxy or certificate the user
has set for pip is used here too, and none is named by us. pip gets the hash,
and the file is hashed once more before anyone opens it.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from assembly.errors import AssemblyError

_TIMEOUT_S = 900
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class PinnedFile:
    """One published file: exactly these bytes or nothing."""

    name: str
    version: str
    sha256: str
    filename: str

    @property
    def requirement(self) -> str:
        """Return the line of a requirements file that admits this file only."""
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}\n"


# pip insists on asking a source package for its metadata, even when told to download only, and for that it
# would fetch whatever setuptools is newest. This one is handed to it instead: same bytes every time.
SETUPTOOLS = PinnedFile(
    name="setuptools",
    version="84.2.1",
    sha256="ca140b45d5325a9478f880e351484f62fef15f336462e449ca0c03c873d589c2",
    filename="setuptools-84.2.1-py3-none-any.whl",
)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, as 64 hex digits; reads it in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def check_sha256(path: Path, pin: PinnedFile) -> None:
    """Raise AssemblyError unless the file is the pinned one, byte for byte."""
    found = sha256_of(path)
    if found != pin.sha256:
        raise AssemblyError(
            f"{path.name} has sha256 {found}, expected {pin.sha256}: the download is damaged or not the "
            "published file; it was not used"
        )


def fetch_wheel(pin: PinnedFile, folder: Path) -> Path:
    """Download a wheel into `folder` and return its checked path.

    Raises
    ------
    AssemblyError
        pip could not get it, or the bytes are not the pinned ones.
    """
    return _download(pin, folder, ["--only-binary", pin.name], dict(os.environ))


def fetch_sdist(pin: PinnedFile, folder: Path) -> Path:
    """Download a source package into `folder` and return its checked path; it is not installed.

    Raises
    ------
    AssemblyError
        pip could not get it, or the bytes are not the pinned ones.
    """
    with tempfile.TemporaryDirectory() as scratch:
        tools = Path(scratch) / "tools"
        wheel = fetch_wheel(SETUPTOOLS, Path(scratch))
        with zipfile.ZipFile(wheel) as archive:  # a pure Python wheel: unpacked is installed
            archive.extractall(tools)
        env = {**os.environ, "PYTHONPATH": str(tools)}
        return _download(pin, folder, ["--no-binary", pin.name, "--no-build-isolation"], env)


def _download(pin: PinnedFile, folder: Path, options: Sequence[str], env: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "wanted.txt"
        wanted.write_text(pin.requirement, encoding="utf-8")
        arguments = ["download", "--no-deps", "--require-hashes", "--dest", str(folder), *options]
        _pip([*arguments, "--requirement", str(wanted)], env, pin)
    path = folder / pin.filename
    if not path.is_file():
        raise AssemblyError(f"pip downloaded {pin.name} {pin.version} but not as {pin.filename}")
    check_sha256(path, pin)
    return path


def _pip(arguments: Sequence[str], env: dict[str, str], pin: PinnedFile) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise AssemblyError(f"pip did not finish getting {pin.name} {pin.version} in {_TIMEOUT_S} s") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["(pip said nothing)"]
        errors = [line for line in lines if line.lower().startswith("error")]
        raise AssemblyError(
            f"pip could not get {pin.name} {pin.version}: {(errors or lines)[-1].strip()} "
            "(check the network and pip's own settings with `python -m pip config list`)"
        )
