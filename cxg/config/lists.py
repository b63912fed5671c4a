"""Kinds that hold more than one value: lists and sections whose keys are free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import yaml

from cxg.config.checks import CSP_DIRECTIVES, check_csp_source, check_integrity
from cxg.config.kinds import String, Switch
from cxg.config.nodes import Complain, is_tagged, items, nearest, pairs, wrong


@dataclass(frozen=True)
class Names:
    """A list of texts, each passing `check`, none given twice."""

    what: str
    check: Callable[[str], str | None] = field(default=lambda _text: None)

    @property
    def expected(self) -> str:
        """Return the list in words."""
        return f"a list of {self.what}"

    def read(self, node: yaml.Node, name: str, complain: Complain) -> tuple[str, ...]:
        """Read a list; an empty value is an empty list."""
        texts: list[str] = []
        entry = String("text", self.check, null=False)
        for position, item in enumerate(items(node, name, self.expected, complain), start=1):
            text = entry.read(item, f"{name}, entry {position},", complain)
            if text is not None and text in texts:
                complain(item, f"{name} has {text!r} twice; keep one")
            elif text is not None:
                texts.append(text)
        return tuple(texts)


@dataclass(frozen=True)
class Script:
    """One external script of the page: the attributes of its `<script>` tag."""

    src: str
    integrity: str | None = None
    crossorigin: str | None = None


@dataclass(frozen=True)
class Scripts:
    """A list of script addresses, or of their attributes."""

    check: Callable[[str], str | None]
    expected: str = "a list of script URLs, or of entries with the keys src, integrity and crossorigin"

    def read(self, node: yaml.Node, name: str, complain: Complain) -> tuple[Script, ...]:
        """Read a list of scripts; an empty value is an empty list."""
        scripts = []
        for position, item in enumerate(items(node, name, self.expected, complain), start=1):
            where = f"{name}, entry {position},"
            if isinstance(item, yaml.MappingNode):
                scripts.append(self._attributes(item, where, complain))
            else:
                src = String("a URL or an entry with the key src", self.check, null=False).read(item, where, complain)
                scripts.append(Script(src or ""))
        return tuple(scripts)

    def _attributes(self, node: yaml.MappingNode, where: str, complain: Complain) -> Script:
        kinds = {
            "src": String("a URL", self.check, null=False),
            "integrity": String("a hash such as sha384-...", check_integrity),
            "crossorigin": String("anonymous or use-credentials", _check_crossorigin),
        }
        given: dict[str, str | None] = {}
        for key, value, _line in pairs(node, where, complain):
            if key in kinds:
                given[key] = kinds[key].read(value, f"{where} {key}", complain)
            else:
                complain(value, f"{where} has the unknown key {key}; it takes src, integrity and crossorigin")
        if "src" not in given:
            complain(node, f"{where} lacks the key src, the address of the script")
        return Script(given.get("src") or "", given.get("integrity"), given.get("crossorigin"))


def _check_crossorigin(text: str) -> str | None:
    return None if text in {"anonymous", "use-credentials"} else "write anonymous or use-credentials"


@dataclass(frozen=True)
class Directives:
    """Content security policy: directive -> sources."""

    expected: str = "a section with CSP directives as keys and a list of sources for each, or null"

    def read(self, node: yaml.Node, name: str, complain: Complain) -> Mapping[str, tuple[str, ...]]:
        """Read directives; one text with blanks between the sources does for a list."""
        directives: dict[str, tuple[str, ...]] = {}
        if is_tagged(node, "null"):
            return directives
        if not isinstance(node, yaml.MappingNode):
            complain(node, wrong(node, name, self.expected))
            return directives
        for key, value, _line in pairs(node, name, complain):
            if key not in CSP_DIRECTIVES:
                complain(value, f"{name} has {key!r}, which is not a CSP directive{nearest(key, CSP_DIRECTIVES)}")
            elif is_tagged(value, "str"):
                directives[key] = tuple(str(value.value).split())
                for source in directives[key]:
                    reason = check_csp_source(source)
                    if reason is not None:
                        complain(value, f"{name}.{key} is {source!r}: {reason}")
            else:
                directives[key] = Names("sources", check_csp_source).read(value, f"{name}.{key}", complain)
        return directives


@dataclass(frozen=True)
class Settings:
    """Free settings by name, handed on as text."""

    expected: str = "a section of settings, each a text, a number or a switch"

    def read(self, node: yaml.Node, name: str, complain: Complain) -> Mapping[str, str]:
        """Read settings; numbers lose their underscores, switches become true and false."""
        settings: dict[str, str] = {}
        if is_tagged(node, "null"):
            return settings
        if not isinstance(node, yaml.MappingNode):
            complain(node, wrong(node, name, self.expected))
            return settings
        for key, value, _line in pairs(node, name, complain):
            # The value is not shown: access keys are settings too.
            if not is_tagged(value, "str", "int", "float", "bool"):
                complain(value, f"{name}, setting {key}, must be a text, a number or a switch")
            elif is_tagged(value, "bool"):
                settings[key] = str(Switch().read(value, name, complain)).lower()
            else:
                settings[key] = value.value.replace("_", "") if is_tagged(value, "int") else value.value
        return settings
