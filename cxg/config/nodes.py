"""YAML nodes: their types, their values in words, and the entries of lists and sections."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import yaml

from cxg.redact import redacted

Complain = Callable[[yaml.Node, str], None]

_TAG = "tag:yaml.org,2002:"
_FOUND_AT_MOST = 60


def is_tagged(node: yaml.Node, *types: str) -> bool:
    """Tell whether YAML gave the node one of these types ('str', 'int', 'null', ...)."""
    return any(node.tag == _TAG + one for one in types)


def describe_found(node: yaml.Node) -> str:
    """Put a node's value in words, shortened, to follow 'but is'."""
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    if isinstance(node, yaml.MappingNode):
        return "a section with keys of its own"
    if is_tagged(node, "null"):
        return "empty (null)"
    # Redact before cutting: the cut may remove the mark of a password.
    text = redacted(node.value)
    text = text if len(text) <= _FOUND_AT_MOST else text[: _FOUND_AT_MOST - 3] + "..."
    if is_tagged(node, "str"):
        return f"the text {text!r}"
    if is_tagged(node, "int", "float"):
        return f"the number {text}"
    if is_tagged(node, "bool"):
        return f"the switch value {text}"
    if is_tagged(node, "timestamp"):
        return f"the date {text}"
    return f"a value with the YAML tag {node.tag}"


def wrong(node: yaml.Node, name: str, expected: str, hint: str = "") -> str:
    """Say that a value is of the wrong type or out of range."""
    return f"{name} must be {expected}, but is {describe_found(node)}{hint}"


def nearest(word: str, known: Iterable[str]) -> str:
    """Name the known word closest to `word`, as a clause; empty when nothing is known."""
    import difflib  # only wanted after a mistake; start-up does without it

    best = max(sorted(known), key=lambda one: difflib.SequenceMatcher(None, word, one).ratio(), default=None)
    return "" if best is None else f"; the nearest one is {best!r}"


def pairs(node: yaml.MappingNode, name: str, complain: Complain) -> list[tuple[str, yaml.Node, int]]:
    """List keys, values and the keys' lines of a mapping; complain about repeated keys and keys that are not words."""
    seen: dict[str, yaml.Node] = {}
    prefix = f"{name}." if name else ""
    for key, _value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            complain(key, f"{name or 'the file'} has a key that is {describe_found(key)}; a key must be a word")
        elif key.tag == _TAG + "merge":
            complain(key, f"{prefix}<< is not read here; write the keys out")
        elif key.value in seen:
            first = seen[key.value].start_mark.line + 1
            complain(key, f"{prefix}{key.value} is given twice, first on line {first}; keep one")
        else:
            seen[key.value] = key
    kept = {id(key) for key in seen.values()}
    return [(key.value, _at(value, key), key.start_mark.line + 1) for key, value in node.value if id(key) in kept]


def _at(value: yaml.Node, key: yaml.Node) -> yaml.Node:
    """Give an empty value the line of its key: YAML places it at the next token."""
    if isinstance(value, yaml.ScalarNode) and value.value == "" and value.style is None:
        return yaml.ScalarNode(value.tag, value.value, key.start_mark, key.end_mark)
    return value


def items(node: yaml.Node, name: str, expected: str, complain: Complain) -> list[yaml.Node]:
    """List the entries of a list; an empty value is an empty list, complain about anything else."""
    if is_tagged(node, "null"):
        return []
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    hint = "; start each entry with a dash" if is_tagged(node, "str") else ""
    complain(node, wrong(node, name, expected, hint))
    return []
