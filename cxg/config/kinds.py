"""The values that a configuration key takes, and the sentence for a wrong one.

A kind reads one YAML node. It never raises for a bad value: it complains, with the node at
fault, and goes on, so that all the faults of a file are shown together.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import yaml

from cxg.config.checks import check_link, check_public_url, check_url
from cxg.config.nodes import Complain, is_tagged, wrong

_DECIMAL = re.compile(r"(?!.{30})[-+]?(0|[1-9][0-9]*(_[0-9]+)*)")
_NUMBER = re.compile(r"[-+]?([0-9]+(_[0-9]+)*(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]{1,2})?")


class Kind(Protocol):
    """The values one key takes."""

    @property
    def expected(self) -> str:
        """Return the allowed values in words, to follow 'must be'."""

    def read(self, node: yaml.Node, name: str, complain: Complain) -> Any:
        """Return the value of `node`, or None after a complaint that starts with `name`."""


def _or_null(expected: str, null: bool) -> str:
    return f"{expected}, or null" if null else expected


@dataclass(frozen=True)
class Switch:
    """True or false."""

    expected: str = "true or false"

    def read(self, node: yaml.Node, name: str, complain: Complain) -> bool | None:
        """Read a YAML boolean."""
        if is_tagged(node, "bool"):
            return str(node.value).lower() in {"true", "yes", "on"}
        quoted = is_tagged(node, "str") and str(node.value).lower() in {"true", "false", "yes", "no", "on", "off"}
        complain(node, wrong(node, name, self.expected, "; write it without quotes" if quoted else ""))
        return None


@dataclass(frozen=True)
class Whole:
    """A whole number between two bounds, both included; `null` says whether null is a value too."""

    low: int
    high: int | None = None
    null: bool = False
    null_value: int | None = None

    @property
    def expected(self) -> str:
        """Return the bounds in words."""
        bounds = f"of {self.low} or more" if self.high is None else f"from {self.low} to {self.high}"
        return _or_null(f"a whole number {bounds}", self.null)

    def read(self, node: yaml.Node, name: str, complain: Complain) -> int | None:
        """Read a decimal whole number."""
        if self.null and is_tagged(node, "null"):
            return self.null_value
        if is_tagged(node, "int") and _DECIMAL.fullmatch(node.value):
            value = int(node.value)
            if value >= self.low and (self.high is None or value <= self.high):
                return value
        complain(node, wrong(node, name, self.expected))
        return None


@dataclass(frozen=True)
class Number:
    """A finite number of at least (or, with `above`, more than) `low`."""

    low: float
    above: bool = False
    null: bool = False

    @property
    def expected(self) -> str:
        """Return the bound in words."""
        bound = f"more than {self.low:g}" if self.above else f"of {self.low:g} or more"
        return _or_null(f"a number {bound}", self.null)

    def read(self, node: yaml.Node, name: str, complain: Complain) -> float | None:
        """Read a number; `1e-2`, which YAML 1.1 calls text, counts as one."""
        if self.null and is_tagged(node, "null"):
            return None
        plain = isinstance(node, yaml.ScalarNode) and node.style is None and is_tagged(node, "int", "float", "str")
        if plain and _NUMBER.fullmatch(node.value):
            value = float(node.value)
            if self.low < value < math.inf or (value == self.low and not self.above):
                return value
        complain(node, wrong(node, name, self.expected))
        return None


@dataclass(frozen=True)
class String:
    """String that passes `check`, which returns what is wrong with it, or None; `clean` puts it in its one form.

    A secret's text never appears in a complaint, nor does an address that may hold a user and password.
    """

    what: str = "text"
    check: Callable[[str], str | None] = field(default=lambda _text: None)
    null: bool = True
    secret: bool = False
    clean: Callable[[str], str] = field(default=lambda text: text)

    @property
    def expected(self) -> str:
        """Return the kind of text in words."""
        return _or_null(self.what, self.null)

    def read(self, node: yaml.Node, name: str, complain: Complain) -> str | None:
        """Read a text scalar."""
        if self.null and is_tagged(node, "null"):
            return None
        if not is_tagged(node, "str"):
            complain(node, self._wrong_type(node, name))
            return None
        text = str(node.value)
        reason = self.check(text) if text.strip() else "is empty; give a value or remove the key"
        if reason is not None:
            complain(node, self._told(name, text, reason))
        return self.clean(text)

    def _told(self, name: str, text: str, reason: str) -> str:
        if self.secret or not text.strip():
            return f"{name} {reason}"
        if "@" in text and self.check in (check_link, check_public_url, check_url):
            return f"{name} is not shown here, as it may hold a password: {reason}"
        return f"{name} is {text!r}: {reason}"

    def _wrong_type(self, node: yaml.Node, name: str) -> str:
        if self.secret:
            return f"{name} must be {self.expected}, but is not; its value is not shown here. Put it in quotes"
        scalar = isinstance(node, yaml.ScalarNode) and not is_tagged(node, "null")
        return wrong(node, name, self.expected, "; put it in quotes" if scalar else "")


@dataclass(frozen=True)
class SwitchOrString:
    """True, false, or a text that passes `check`; null counts as false."""

    what: str
    check: Callable[[str], str | None]

    @property
    def expected(self) -> str:
        """Return the choices in words."""
        return f"true, false or {self.what}"

    def read(self, node: yaml.Node, name: str, complain: Complain) -> bool | str | None:
        """Read a switch or a text."""
        if is_tagged(node, "null"):
            return False
        if is_tagged(node, "bool"):
            return Switch().read(node, name, complain)
        if is_tagged(node, "str"):
            return String(self.what, self.check, null=False).read(node, name, complain)
        complain(node, wrong(node, name, self.expected))
        return None
