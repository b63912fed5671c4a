"""The published server, `cellxgene` 1.3.0, in an environment of its own.

Its dependencies clash with ours (it wants numpy 2.0.1 and flatbuffers 2.0.7), so it lives in
`build/reference-venv`, made once from the hashed pins beside this file:
``python tests/reference/env.py`` makes it by hand, the fixtures do so when it is missing.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE.parents[1] / "build" / "reference-venv"
BUILD_PINS = HERE / "requirements-build.txt"
PINS = HERE / "requirements.txt"


def ensure(folder: Path = VENV) -> Path:
    """Make the environment unless it is there and complete; answers its Python interpreter.

    Parameters
    ----------
    folder
        Where it lives; made anew when the pins or the Python version have changed.

    Raises
    ------
    RuntimeError
        A package could not be installed; the text holds the end of pip's output.
    """
    python = folder / "bin" / "python"
    stamp = folder / "made-from"
    wanted = _fingerprint()
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    venv.create(folder, clear=True, with_pip=True)
    _pip_install(python, BUILD_PINS)
    # --no-deps: the lock is complete, and on Python 3.13 it departs from the numpy that cellxgene names.
    _pip_install(python, PINS, "--no-build-isolation")
    stamp.write_text(wanted)
    return python


def _fingerprint() -> str:
    digest = hashlib.sha256(PINS.read_bytes() + BUILD_PINS.read_bytes()).hexdigest()
    return f"{sys.version_info[0]}.{sys.version_info[1]} {digest}\n"


def _pip_install(python: Path, pins: Path, *options: str) -> None:
    command = [str(python), "-m", "pip", "install", "--require-hashes", "--no-deps", *options, "-r", str(pins)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True, timeout=1200)
    if done.returncode:
        raise RuntimeError(f"installing {pins.name} failed:\n{(done.stdout + done.stderr)[-3000:]}")


if __name__ == "__main__":
    print(ensure())
