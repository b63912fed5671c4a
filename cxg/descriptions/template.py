"""The commented file that `cxg describe` writes: every key, those that the CXG answers filled in."""

from __future__ import annotations

import json
import textwrap
from dataclasses import fields
from typing import Any

from cxg.descriptions.keys import KEYS
from cxg.descriptions.model import Description

_WIDTH = 100
_START = """\
# Describes {dataset}. Keys that begin with '#' are examples: remove the sign and write your own.
# A running server sees a change within half a minute; `cxg inspect` names what is wrong in the file.
"""


def template(dataset: str, known: Description) -> str:
    """Write the file for one dataset; reading it gives what is known, without a fault.

    Parameters
    ----------
    dataset : str
        Name of the CXG.
    known : Description
        Keys that it has are filled in, the others are comments.
    """
    empty = Description()
    given = {one.name: getattr(known, one.name) for one in fields(known)}
    parts = [_START.format(dataset=" ".join(dataset.split()))]
    for name, key in KEYS.items():
        lines = textwrap.wrap(key.doc, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
        value = given.get(name)
        if value and value != getattr(empty, name):
            lines.append(f"{name}: {_written(value)}")
        else:
            lines += [f"#{line}" for line in f"{name}: {key.example}".splitlines()]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _written(value: Any) -> str:
    """Write a text or a list of texts; JSON is YAML."""
    if isinstance(value, tuple):
        return json.dumps([_clean(text) for text in value], ensure_ascii=False)
    return json.dumps(_clean(value), ensure_ascii=False)


def _clean(text: str) -> str:
    return "".join(char for char in text if char.isprintable() or char == "\n")
