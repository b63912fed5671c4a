"""The scripts and styles of the visit: where they are served, and the tags that load them in the client's page."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "static"
_START = "main.js"
_DIGEST_LENGTH = 20


@dataclass(frozen=True)
class Modules:
    """The modules under an address that changes with their content, so that browsers may keep them.

    Attributes
    ----------
    files : mapping of str to Path
        By path below the client's `static/`.
    tags : str
        HTML for the page's head. The start module must come before the client's deferred script, because scripts of
        both kinds run in the order of the document.
    """

    files: Mapping[str, Path]
    tags: str


@lru_cache(maxsize=1)
def load_modules() -> Modules:
    """Read the modules once, and name their folder after a digest of all of them."""
    paths = sorted(path for path in _FOLDER.iterdir() if path.suffix in (".js", ".css"))
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    folder = f"visit-{digest.hexdigest()[:_DIGEST_LENGTH]}"
    tags = [f'<link rel="stylesheet" href="static/{folder}/{path.name}">' for path in paths if path.suffix == ".css"]
    tags += [f'<link rel="modulepreload" href="static/{folder}/{path.name}">' for path in paths if path.suffix == ".js"]
    tags.append(f'<script type="module" src="static/{folder}/{_START}"></script>')
    return Modules({f"{folder}/{path.name}": path for path in paths}, "".join(tags))


def with_modules(template: str) -> str:
    """Put the tags of the modules into the client's page, before its first script."""
    position = template.lower().find("<script")
    if position < 0:
        position = max(template.lower().find("</head>"), 0)
    return template[:position] + load_modules().tags + template[position:]
