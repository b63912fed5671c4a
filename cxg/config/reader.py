"""From YAML text to `Config`, with the line of every fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import yaml

from cxg.access import EVERYONE
from cxg.config.environment import ENVIRONMENT
from cxg.config.kinds import Kind, String
from cxg.config.lists import Names
from cxg.config.model import Config
from cxg.config.nodes import describe_found, is_tagged, pairs
from cxg.config.old_keys import RETIRED, RETIRED_TILEDB, Path, is_later_section, is_retired_section, later_layout
from cxg.errors import ConfigError

_Section = TypeVar("_Section")
_TILEDB = ("adaptor", "cxg_adaptor", "tiledb_ctx")
_DATAROOT = "multi_dataset.dataroot"
_DATAPATH = "single_dataset.datapath"


@dataclass(frozen=True)
class LoadedConfig:
    """A configuration that holds, and one sentence for each thing in the file that has no effect."""

    config: Config
    warnings: tuple[str, ...] = ()


def default() -> Config:
    """Return the configuration of an empty file in an empty environment."""
    return Config()


def load(text: str, overrides: Mapping[str, str], source: str = "config.yaml") -> LoadedConfig:
    """Read a configuration; looks at nothing but its arguments.

    Parameters
    ----------
    text : str
        The YAML file's content; empty means all defaults.
    overrides : mapping of str to str
        Environment variables; those of `ENVIRONMENT` that name a key win over the file, empty ones are ignored.
    source : str
        The file's name, for messages.

    Raises
    ------
    ConfigError
        One sentence for every fault, each with the key and the line.
    """
    reader = _Reader(source)
    root = _compose(text, source)
    tree = reader.read_section((), Config, root, 1)
    tree = reader.override(tree, overrides)
    if reader.problems:
        raise ConfigError([sentence for _, sentence in sorted(reader.problems, key=lambda one: one[0])])
    config = _build(Config, tree)
    reader.check_access(config)
    if reader.problems:
        raise ConfigError([sentence for _, sentence in reader.problems])
    return LoadedConfig(config, tuple(reader.warnings))


def section_of(one: dataclasses.Field[Any]) -> type | None:
    """Return the dataclass of a field that is a section, None for a key."""
    factory: object = one.default_factory
    return factory if isinstance(factory, type) and dataclasses.is_dataclass(factory) else None


def iterate_keys(cls: type = Config, path: Path = ()) -> Iterator[tuple[Path, dataclasses.Field[Any]]]:
    """Return every key of the configuration with its dataclass field, in the file's order."""
    for one in dataclasses.fields(cls):
        section = section_of(one)
        if section is not None:
            yield from iterate_keys(section, (*path, one.name))
        else:
            yield (*path, one.name), one


@cache
def _known_keys() -> dict[str, Kind]:
    return {".".join(path): one.metadata["kind"] for path, one in iterate_keys()}


def _is_key(path: Path) -> bool:
    return ".".join(path) in _known_keys()


class _Reader:
    """Walks the nodes along the dataclasses; collects problems and warnings, raises nothing."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.problems: list[tuple[int, str]] = []
        self.warnings: list[str] = []
        self.lines: dict[str, int] = {}

    def complain(self, line: int, sentence: str) -> None:
        self.problems.append((line, f"{self.source} line {line}: {sentence}."))

    def _complain_at(self, node: yaml.Node, sentence: str) -> None:
        self.complain(node.start_mark.line + 1, sentence)

    def read_section(self, path: Path, cls: type | None, node: yaml.Node | None, line: int) -> dict[str, Any]:
        """Return the values of one section by key; `cls` is None in a section without any living key."""
        values: dict[str, Any] = {}
        if node is None or is_tagged(node, "null"):
            return values
        if not isinstance(node, yaml.MappingNode):
            name = f"{'.'.join(path)} must be" if path else "the file must hold"
            self.complain(line, f"{name} a section with keys of its own, but is {describe_found(node)}")
            return values
        fields = {} if cls is None else {one.name: one for one in dataclasses.fields(cls)}
        for key, value, at in pairs(node, ".".join(path), self._complain_at):
            here = (*path, key)
            self.lines[".".join(here)] = at
            if key not in fields:
                self._read_foreign(here, value, at)
            elif (section := section_of(fields[key])) is not None:
                values[key] = self.read_section(here, section, value, at)
            else:
                values[key] = self._read_value(here, fields[key].metadata["kind"], value, at)
        return values

    def _read_value(self, path: Path, kind: Kind, node: yaml.Node, line: int) -> Any:
        name = ".".join(path)

        def complain(at: yaml.Node, sentence: str) -> None:
            self.complain(line if at is node else at.start_mark.line + 1, sentence)

        if name == _DATAROOT and isinstance(node, yaml.MappingNode):
            sentence = "one server has one dataroot here: give its path or URI, and its place in multi_dataset.base_url"
            self.complain(line, f"{name} is a section; {sentence}")
            return None
        value = kind.read(node, name, complain)
        return self._without_retired(value, line) if path == _TILEDB else value

    def _without_retired(self, settings: Mapping[str, str], line: int) -> dict[str, str]:
        for name in sorted(RETIRED_TILEDB & settings.keys()):
            key = f"{'.'.join(_TILEDB)}, setting {name},"
            self.warnings.append(f"{self.source} line {line}: {key} has no effect: TileDB no longer has it.")
        return {name: value for name, value in settings.items() if name not in RETIRED_TILEDB}

    def _read_foreign(self, path: Path, node: yaml.Node, line: int) -> None:
        """Answer a key that `model` does not have: retired, of a later layout, or unknown."""
        name = ".".join(path)
        retired = RETIRED.get(name)
        if retired is not None:
            before = len(self.problems)
            if not is_tagged(node, "null"):
                self._read_value(path, retired.kind, node, line)
            if len(self.problems) == before and not retired.is_quiet(node):
                self.warnings.append(f"{self.source} line {line}: {name} has no effect: {retired.why}.")
        elif is_retired_section(path):
            self.read_section(path, None, node, line)
        elif is_later_section(path):
            self._answer_later(path, node, line)
        else:
            self.complain(line, f"{name} is not a known key; the nearest one is {_nearest_key(path)}")

    def _answer_later(self, path: Path, node: yaml.Node, line: int) -> None:
        name = ".".join(path)
        answer = later_layout(path, _is_key)
        if answer is not None and answer.key is not None:
            self.complain(line, f"{name} belongs to a later cellxgene's layout; write {answer.key} instead")
        elif answer is not None:
            self.complain(line, f"{name} belongs to a later cellxgene's layout; remove it: {answer.why}")
        elif isinstance(node, yaml.MappingNode) and node.value:
            for key, value, at in pairs(node, name, self._complain_at):
                self._answer_later((*path, key), value, at)
        elif len(path) > 1 and not is_tagged(node, "null"):
            self.complain(line, f"{name} is not a known key; the nearest one is {_nearest_key(path)}")
        else:
            self.complain(line, f"{name} is a section of a later cellxgene's layout; remove it")

    def override(self, tree: dict[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
        """Put the environment's values in, and keep only one of dataroot and datapath."""
        overridden = set()
        for variable in ENVIRONMENT:
            text = variables.get(variable.name, "").strip()
            if variable.key is None or not text:
                continue
            kind = _known_keys()[variable.key]
            section, key = variable.key.split(".")
            node = _node_of(text, kind)
            name = f"environment variable {variable.name}: {variable.key}"
            value = kind.read(node, name, lambda _at, sentence: self.problems.append((0, f"{sentence}.")))
            tree.setdefault(section, {})[key] = value
            overridden.add(variable.key)
        if tree.get("multi_dataset", {}).get("dataroot") and tree.get("single_dataset", {}).get("datapath"):
            self._choose_data(tree, overridden & {_DATAROOT, _DATAPATH})
        if tree.get("multi_dataset", {}).get("dataroot"):
            for name, value in tree.get("single_dataset", {}).items():
                if name != "datapath" and value is not None:
                    key = f"single_dataset.{name}"
                    sentence = f"{key} has no effect: it is for one dataset, not for a dataroot."
                    self.warnings.append(f"{self.source} line {self.lines[key]}: {sentence}")
        return tree

    def check_access(self, config: Config) -> None:
        """Check that the source that says who asks is complete, and that there is one where somebody must sign in."""
        access = config.access
        missing = access.missing()
        if missing is not None:
            self.complain(self.lines["access.source"], missing)
        elif access.source == "none" and access.visible_to != (EVERYONE,):
            sentence = "access.visible_to hides every dataset from everyone: set access.source, which says who asks."
            self.warnings.append(f"{self.source} line {self.lines['access.visible_to']}: {sentence}")

    def _choose_data(self, tree: dict[str, Any], overridden: set[str]) -> None:
        """Keep the dataroot or datapath that the environment sets; both from one place is a fault."""
        if len(overridden) == 2:
            self.problems.append((0, "CXG_DATAROOT and CXG_DATAPATH are both given; give the one that is wanted."))
        elif not overridden:
            sentence = f"{_DATAROOT} and {_DATAPATH} are both given; give the one that is wanted"
            self.complain(self.lines[_DATAPATH], sentence)
        else:
            ignored, winner = (_DATAPATH, "CXG_DATAROOT") if _DATAROOT in overridden else (_DATAROOT, "CXG_DATAPATH")
            section, key = ignored.split(".")
            tree[section][key] = None
            sentence = f"{ignored} has no effect: {winner} is set."
            self.warnings.append(f"{self.source} line {self.lines[ignored]}: {sentence}")


def _node_of(text: str, kind: Kind) -> yaml.Node:
    """Return a variable's text as a file would have it; entries of a list are separated by commas."""
    if isinstance(kind, Names):
        entries = [
            yaml.ScalarNode("tag:yaml.org,2002:str", entry.strip()) for entry in text.split(",") if entry.strip()
        ]
        return yaml.SequenceNode("tag:yaml.org,2002:seq", entries)
    return yaml.ScalarNode(_tag_of(text, kind), text)


def _tag_of(text: str, kind: Kind) -> str:
    """Return the YAML type of a variable's text: as a file would have it, but text where text is wanted."""
    if isinstance(kind, String):
        return "tag:yaml.org,2002:str"
    return str(yaml.SafeLoader("").resolve(yaml.ScalarNode, text, (True, False)))  # type: ignore[no-untyped-call]


def _nearest_key(path: Path) -> str:
    """Find the known key or section most like the one found: by its last word first, then as a whole."""
    import difflib  # only wanted after a mistake; start-up does without it

    def likeness(candidate: str) -> float:
        last = difflib.SequenceMatcher(None, path[-1].lower(), candidate.rpartition(".")[2]).ratio()
        whole = difflib.SequenceMatcher(None, ".".join(path).lower(), candidate).ratio()
        return 0.6 * last + 0.4 * whole

    sections = {".".join(known[:length]) for known, _ in iterate_keys() for length in range(1, len(known))}
    siblings = {known for known in RETIRED if known.startswith(f"{path[0]}.")}
    return max(sorted(_known_keys().keys() | sections | siblings), key=likeness)


def _compose(text: str, source: str) -> yaml.Node | None:
    """Return the document's nodes, or None for an empty one."""
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{source} line {line}: a control character; remove it.") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        raise ConfigError(f"{source} line {line}: {_explain(error, text, line)}.") from None
    except RecursionError:
        raise ConfigError(f"{source}: sections inside sections without end; this is not a configuration.") from None


def _explain(error: yaml.MarkedYAMLError, text: str, line: int) -> str:
    written = text.splitlines()[line - 1] if line <= len(text.splitlines()) else ""
    if "\t" in written[: len(written) - len(written.lstrip())] or "'\\t'" in str(error.problem):
        return "indented with a tab; YAML takes blanks only"
    if "single document" in str(error.context) or "single document" in str(error.problem):
        return "a second document starts here; keep one, without a line '---' between"
    if "undefined alias" in str(error.problem):  # its name is the text, which may be a secret
        return "a text that starts with * is not valid YAML by itself; put it in quotes"
    return f"this is not valid YAML: {' '.join(one for one in (error.context, error.problem) if one)}"


def _build(cls: type[_Section], values: Mapping[str, Any]) -> _Section:
    given: dict[str, Any] = {}
    for one in dataclasses.fields(cls):  # type: ignore[arg-type]
        section = section_of(one)
        if section is not None:
            given[one.name] = _build(section, values.get(one.name, {}))
        elif one.name in values:
            given[one.name] = values[one.name]
    return cls(**given)
