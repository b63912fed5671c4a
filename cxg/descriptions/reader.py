"""From the text of a description to its parts, with the line of every fault."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from typing import Any

import yaml

from cxg.access import NOBODY
from cxg.config.nodes import describe_found, is_tagged, pairs
from cxg.descriptions.keys import ACCESS_KEYS, ALIASES, KEYS
from cxg.descriptions.model import Description

FILE_MAX_BYTES = 64 << 10
_LIKE_A_KEY = 0.6
_SHOWN = 60
_MENTIONS_ACCESS = re.compile(rb"visible.?to|public.?from", re.IGNORECASE)
# As YAML has it, with the two that it allows in texts only.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Found:
    """What a file says.

    Attributes
    ----------
    description : Description
        Without the keys that have a fault.
    problems : tuple of str
        One sentence for each fault, in the order of the file.
    lines : mapping of str to int
        Line of each key.
    is_whole : bool
        False where the file is empty, or no YAML that holds keys.
    """

    description: Description
    problems: tuple[str, ...]
    lines: dict[str, int]
    is_whole: bool = True


def read_description(content: bytes, source: str) -> Found:
    """Read a description; nothing is raised, whatever the file holds.

    Parameters
    ----------
    content : bytes
        At most `FILE_MAX_BYTES` of them are read.
    source : str
        Name of the file, for the sentences.
    """
    reader = _Reader(source)
    node = reader.compose(content)
    description = Description() if node is None else reader.read(node)
    is_whole = reader.is_whole
    # Nobody sees the dataset where the file means to restrict it, but it cannot be read whom it is open to.
    if (not is_whole and reader.mentions_access) or reader.is_access_faulty:
        description = replace(description, visible_to=NOBODY.visible_to, public_from=None)
    problems = tuple(sentence for _, sentence in sorted(reader.problems, key=lambda one: one[0]))
    return Found(description, problems, reader.lines, is_whole)


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[tuple[int, str]] = []
        self.lines: dict[str, int] = {}
        self.is_whole = True
        self.is_access_faulty = False
        self.mentions_access = False

    def complain(self, line: int, sentence: str) -> None:
        end = "" if sentence.endswith("?") else "."
        self.problems.append((line, f"{self.source}, line {line}: {sentence}{end}"))

    def compose(self, content: bytes) -> yaml.Node | None:
        """Return the file's node; None when it is empty, or no YAML."""
        # Blanks between the bytes of a letter, as UTF-16 has them, do not hide the words.
        self.mentions_access = _MENTIONS_ACCESS.search(content.replace(b"\0", b"")) is not None
        node = self._compose(content)
        # A file that is being written may be empty for a moment.
        self.is_whole = not self.problems and bool(content.strip())
        return node

    def _compose(self, content: bytes) -> yaml.Node | None:
        if len(content) > FILE_MAX_BYTES:
            self.complain(1, f"the file has {len(content):,} bytes; more than {FILE_MAX_BYTES:,} are not read")
            return None
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            self.complain(content.count(b"\n", 0, error.start) + 1, "this is not UTF-8; save the file as UTF-8")
            return None
        control = _CONTROL.search(text)
        if control is not None:
            self.complain(text.count("\n", 0, control.start()) + 1, "a control character stands here; remove it")
            return None
        try:
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            self.complain(1 if mark is None else mark.line + 1, _explain(error))
        except (yaml.YAMLError, RecursionError):
            self.complain(1, "this is not a description: it is nested too deeply, or holds signs that YAML has not")
        return None

    def read(self, node: yaml.Node) -> Description:
        if is_tagged(node, "null"):
            return Description()
        if not isinstance(node, yaml.MappingNode):
            self.complain(
                node.start_mark.line + 1, f"the file must hold keys such as title, but is {describe_found(node)}"
            )
            self.is_whole = False
            return Description()
        values: dict[str, Any] = {}
        for written, value, line in pairs(node, "", self._at):
            key = ALIASES.get(written, written)
            if key not in KEYS:
                self.is_access_faulty |= not ACCESS_KEYS.isdisjoint(_near(written))
                self.complain(line, f"{written[:_SHOWN]!r} is not a key{_meant(written)}")
            elif key in self.lines:
                self.complain(line, f"{written} is given as {key} too, on line {self.lines[key]}; keep one")
            else:
                self.lines[key] = line
                read = KEYS[key].kind.read(value, written, self._at)
                if read is None and key in ACCESS_KEYS:
                    self._refuse(line, key)
                elif read is not None:
                    values |= _parts(key, read)
        return Description(**values)

    def _refuse(self, line: int, key: str) -> None:
        """Note that an access key has no usable value, which an empty one has not either."""
        if not self.is_access_faulty:
            self.complain(line, f"{key} has no usable value, so nobody sees the dataset; correct it or remove the key")
        self.is_access_faulty = True

    def _at(self, node: yaml.Node, sentence: str) -> None:
        # Keys that are given twice or merged, and entries of a list that are at fault.
        is_odd_key = sentence.startswith(("<<", "the file has a key")) and self.mentions_access
        self.is_access_faulty |= is_odd_key or sentence.startswith(tuple(ACCESS_KEYS))
        self.complain(node.start_mark.line + 1, sentence)


def _parts(key: str, value: Any) -> dict[str, Any]:
    if key == "download":
        link, reason = value
        return {"download": link, "no_download": reason}
    return {key: value}


def _near(written: str) -> list[str]:
    return difflib.get_close_matches(written[:_SHOWN].lower(), (*KEYS, *ALIASES), n=1, cutoff=_LIKE_A_KEY)


def _meant(written: str) -> str:
    close = _near(written)
    if close:
        return f"; did you mean {ALIASES.get(close[0], close[0])!r}?"
    return f"; the keys are {', '.join(KEYS)}"


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = str(error.problem or error.context or "")
    if "'\\t'" in problem:
        return "indented with a tab; YAML takes blanks only"
    if "mapping values are not allowed" in problem:
        return "a text that holds a colon and a blank must be in quotes"
    if "single document" in f"{error.context} {error.problem}":
        return "a second document starts here; keep one, without a line '---' between"
    return f"this is not valid YAML: {' '.join(one for one in (error.context, error.problem) if one)}"
