"""Versions of the packages that matter, in any Python environment."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

_PACKAGES = (
    "cellxgene",
    "flask",
    "werkzeug",
    "gunicorn",
    "numpy",
    "scipy",
    "tiledb",
    "anndata",
    "isal",
    "flask-compress",
)
_PROGRAM = """
import importlib.metadata, json, sys
found = {"python": sys.version.split()[0]}
for name in json.loads(sys.argv[1]):
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""


def versions(python: Path) -> dict[str, str]:
    """Python's version and those of the packages that are installed for it."""
    command = [str(python), "-c", _PROGRAM, json.dumps(_PACKAGES)]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    found: dict[str, str] = json.loads(done.stdout)
    return found
