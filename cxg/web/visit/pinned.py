"""The one build of the web client that the modules in `static/` know how to drive."""

from __future__ import annotations

import hashlib
from pathlib import Path

VERSION = "1.3.0"
SCRIPT = "main-1d9b57a05a93155621b5.js"
SCRIPT_SHA256 = "c5bb72127fc78cb671071c1d1d1310e43103a526f0d18538bb0b2ed85bd2bfd9"


def client_version(static: Path) -> str | None:
    """Return the version of the web client in the folder `static` when it is the pinned build, else None.

    The modules use parts of the client that are not an interface, so any other build, however similar, is unknown.
    """
    script = static / SCRIPT
    if not script.is_file():
        return None
    return VERSION if hashlib.sha256(script.read_bytes()).hexdigest() == SCRIPT_SHA256 else None
