"""How a key of the configuration is declared."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from cxg.config import checks
from cxg.config.kinds import Kind, String
from cxg.config.lists import Settings


def key(default: object, kind: Kind, doc: str) -> Any:
    """Make the field of a dataclass for one key of the file."""
    # A repr shows no secrets, access keys or passwords of an address.
    secret = isinstance(kind, String) and (kind.secret or kind.check is checks.check_url)
    shown = not secret and not isinstance(kind, Settings)
    metadata = {"kind": kind, "doc": doc}
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata, repr=shown)
    return field(default=default, metadata=metadata, repr=shown)
