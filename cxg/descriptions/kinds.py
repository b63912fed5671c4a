"""The values that a key of a description takes, and the sentence for a wrong one.

YAML reads a plain `no` as false, `2026-11-30` as a date and `12` as a number. Where a text is wanted, all of them
are taken as they are written. A kind never raises: it complains, with the node at fault, and returns None.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlsplit

import yaml

from cxg.access import (
    EVERYONE,
    PUBLIC_FROM_EXPECTED,
    SIGNED_IN,
    VISIBLE_TO_EXPECTED,
    check_audience,
    parse_moment,
)
from cxg.config.nodes import Complain, describe_found, is_tagged, pairs
from cxg.descriptions.model import ENTRIES_MAX, LINE_MAX
from cxg.format.geneset_files import ENDINGS
from cxg.links import link_problem

VIEW_PARAMETERS = ("gene", "color", "labels", "layout", "select", "genesets", "scatter", "zoom")
"""The parameters of a link to a view."""

# Parameters whose names are separated by commas, and the signs that mean something between names.
_JOINED = ("genesets", "scatter", "zoom")
_SEPARATORS = re.compile(r"[\\,:!]")
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)?(10\.\d{4,9}/[^\s\"<>]+)", re.IGNORECASE)
_DATE = re.compile(r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?")
_NUMBER = re.compile(r"[-+]?\d{1,9}(\.\d{1,9})?")
_NONE = re.compile(r"(?:none|no)\b[\s,;:.–—-]*", re.IGNORECASE)
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")


class Kind(Protocol):
    """The values one key takes."""

    def read(self, node: yaml.Node, name: str, complain: Complain) -> Any:
        """Return the value of `node`; None when it is empty, or after a complaint."""


def as_written(node: yaml.Node) -> str | None:
    """Return a scalar as it stands in the file, whatever YAML takes it for; None for an empty one and for lists."""
    if not isinstance(node, yaml.ScalarNode) or is_tagged(node, "null", "binary"):
        return None
    return str(node.value).strip() or None


@dataclass(frozen=True)
class Line:
    """One line of text that passes `check`, which returns what is wrong with it, or None."""

    what: str = "a text"
    check: Callable[[str], str | None] = field(default=lambda _text: None)
    most: int = LINE_MAX

    def read(self, node: yaml.Node, name: str, complain: Complain) -> str | None:
        """Read a text; line ends in it become blanks."""
        if is_tagged(node, "null"):
            return None
        text = as_written(node)
        if text is None:
            complain(node, f"{name} must be {self.what}, but is {_found(node)}")
            return None
        text = " ".join(text.split())
        problem = f"it has {len(text):,} characters; shorten it to {self.most:,}" if len(text) > self.most else None
        problem = problem or self.check(text)
        if problem is not None:
            complain(node, f"{name}: {problem}")
            return None
        return text


@dataclass(frozen=True)
class Prose:
    """Text of many lines."""

    most: int

    def read(self, node: yaml.Node, name: str, complain: Complain) -> str | None:
        """Read a text as it is; only its beginning when it is too long."""
        if is_tagged(node, "null"):
            return None
        text = as_written(node)
        if text is None:
            complain(node, f"{name} must be a text, but is {_found(node)}; begin it with '|' and indent its lines")
            return None
        if len(text) > self.most:
            complain(node, f"{name} has {len(text):,} characters; only the first {self.most:,} are used")
        return text[: self.most]


@dataclass(frozen=True)
class Lines:
    """A list of texts; a single text is a list of one."""

    what: str
    entry: Line = field(default_factory=Line)

    def read(self, node: yaml.Node, name: str, complain: Complain) -> tuple[str, ...] | None:
        """Read a list; entries that are wrong or empty are left out, and those given twice kept once."""
        if is_tagged(node, "null"):
            return None
        if isinstance(node, yaml.MappingNode):
            complain(node, f"{name} must be {self.what}, but has keys of its own; put a text with a colon in quotes")
            return None
        nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if len(nodes) > ENTRIES_MAX:
            complain(node, f"{name} has {len(nodes):,} entries; only the first {ENTRIES_MAX} are used")
        found = (self.entry.read(item, name, complain) for item in nodes[:ENTRIES_MAX])
        return tuple(dict.fromkeys(text for text in found if text is not None)) or None


@dataclass(frozen=True)
class Switch:
    """True or false."""

    def read(self, node: yaml.Node, name: str, complain: Complain) -> bool | None:
        """Read a switch, in any of the spellings of YAML."""
        if is_tagged(node, "null"):
            return None
        text = (as_written(node) or "").lower()
        if text in (*_TRUE, *_FALSE):
            return text in _TRUE
        complain(node, f"{name} must be true or false, but is {_found(node)}")
        return None


@dataclass(frozen=True)
class Number:
    """A decimal number."""

    def read(self, node: yaml.Node, name: str, complain: Complain) -> float | None:
        """Read a number."""
        if is_tagged(node, "null"):
            return None
        text = as_written(node) or ""
        if _NUMBER.fullmatch(text):
            return float(text)
        complain(node, f"{name} must be a number such as 10, but is {_found(node)}")
        return None


@dataclass(frozen=True)
class Doi:
    """A DOI, as a link to doi.org or without."""

    def read(self, node: yaml.Node, name: str, complain: Complain) -> str | None:
        """Read a DOI and take away what stands before its number."""
        text = Line().read(node, name, complain)
        if text is None:
            return None
        found = _DOI.fullmatch(text)
        if found is None or not text.isprintable():
            complain(node, f"{name} must be a DOI such as 10.1038/s41586-021-03570-8, but is {_found(node)}")
            return None
        return found[1]


@dataclass(frozen=True)
class Download:
    """A link, or `none` with a reason."""

    def read(self, node: yaml.Node, name: str, complain: Complain) -> tuple[str | None, str | None] | None:
        """Return the link and None, or None and the reason."""
        text = Line("a link, or none and a reason", most=1000).read(node, name, complain)
        if text is None:
            return None
        none = _NONE.match(text)
        if none is None:
            problem = link_problem(text)
            if problem is None:
                return text, None
            complain(node, f"{name}: {problem}; or write none and a reason")
            return None
        reason = text[none.end() :]
        if not reason:
            complain(node, f"{name}: say why there is none, as in 'none, the donors did not agree'")
        return None, reason


@dataclass(frozen=True)
class View:
    """The view that a dataset opens with: a link to it, or the link's parameters as keys."""

    def read(self, node: yaml.Node, name: str, complain: Complain) -> dict[str, tuple[str, ...]] | None:
        """Return the link's parameters, each with its values, not encoded for a URL."""
        if is_tagged(node, "null"):
            return None
        given: list[tuple[str, str]] = []
        if isinstance(node, yaml.MappingNode):
            for key, value, _ in pairs(node, name, complain):
                given += [(key, text) for text in self._values(key, value, f"{name}.{key}", complain)]
        else:
            text = Line("a link to a view, or its parameters as keys", most=4000).read(node, name, complain)
            if text is None:
                return None
            query = urlsplit(text).query if "://" in text or text.startswith("?") else text
            given = parse_qsl(query, max_num_fields=100)
            if not given:
                complain(node, f"{name} must be a link to a view such as ?gene=CD3D&color=louvain, or its parameters")
        for key in dict.fromkeys(key for key, _ in given if key not in VIEW_PARAMETERS):
            known = ", ".join(VIEW_PARAMETERS)
            complain(node, f"{name} has {key[:LINE_MAX]!r}, which is no parameter of a link; they are {known}")
        view: dict[str, tuple[str, ...]] = {}
        for key, text in given:
            if key in VIEW_PARAMETERS:
                view[key] = (*view.get(key, ()), text)
        return view or None

    def _values(self, key: str, node: yaml.Node, name: str, complain: Complain) -> list[str]:
        """Return the values of one parameter as a link has them."""
        if key == "select" and isinstance(node, yaml.MappingNode):
            columns = pairs(node, name, complain)
            chosen = [(column, _LINKED.read(value, f"{name}.{column}", complain)) for column, value, _ in columns]
            return [f"{_escaped(column)}:{','.join(map(_escaped, labels))}" for column, labels in chosen if labels]
        if key in _JOINED and isinstance(node, yaml.SequenceNode):
            entries = (_LINKED.entry.read(item, name, complain) for item in node.value[:ENTRIES_MAX])
            return [",".join(_escaped(text) for text in entries if text is not None)]
        found = _LINKED.read(node, name, complain) or ()
        # In a link a switch is 1.
        return [("1" if text.lower() in _TRUE else "0") if is_tagged(node, "bool") else text for text in found]


@dataclass(frozen=True)
class Audience:
    """Who may see a dataset: `everyone`, `signed-in`, or a list of groups and users."""

    def read(self, node: yaml.Node, name: str, complain: Complain) -> tuple[str, ...] | None:
        """Read an audience; an empty list is nobody, and one with an entry at fault is None."""
        if not isinstance(node, yaml.SequenceNode):
            text = as_written(node)
            if text in (EVERYONE, SIGNED_IN):
                return (text,)
            complain(node, f"{name} must be {VISIBLE_TO_EXPECTED}, but is {_found(node)}")
            return None
        entry = Line(check=check_audience)
        found = [entry.read(item, name, complain) for item in node.value]
        return None if None in found else tuple(dict.fromkeys(text for text in found if text is not None))


@dataclass(frozen=True)
class Moment:
    """A date and its time zone."""

    def read(self, node: yaml.Node, name: str, complain: Complain) -> datetime | None:
        """Read a moment."""
        found = parse_moment(as_written(node) or "")
        if found is None:
            complain(node, f"{name} must be {PUBLIC_FROM_EXPECTED}, but is {_found(node)}")
        return found


_LINKED = Lines("a text or a list", Line(most=1000))


def check_date(text: str) -> str | None:
    """Check a year, a month or a day."""
    return None if _DATE.fullmatch(text) else f"{text!r} is not a date; write it as 2026, 2026-11 or 2026-11-30"


def check_file(text: str) -> str | None:
    """Check the name of a file of gene sets beside the dataset."""
    if "/" in text or "\\" in text or text.startswith("."):
        return "give the name of a file beside the dataset, without a folder"
    return None if text.lower().endswith(ENDINGS) else f"the file's name must end in {' or '.join(ENDINGS)}"


def check_collection(text: str) -> str | None:
    """Check the name of a collection, which is part of an address."""
    if "/" in text or "\\" in text or text.startswith("."):
        return "a collection's name has no slash or backslash, and does not begin with a dot; it is part of an address"
    return None


def _escaped(name: str) -> str:
    """Take the meaning from the signs that separate names in a link."""
    return _SEPARATORS.sub(r"\\\g<0>", name)


def _found(node: yaml.Node) -> str:
    return "empty" if isinstance(node, yaml.ScalarNode) and not node.value.strip() else describe_found(node)
