"""Tests see what everybody sees: no test patches or reads a private name, so that the code behind it may change."""

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# All but what is about `benchmarks`, which is no part of the product, and this file, which names what it looks for.
TESTS = sorted(set((ROOT / "tests").rglob("*.py")) - {Path(__file__), Path(__file__).with_name("test_benchmarks.py")})
# The product, whose private names may not be written in a test as text either.
SOURCES = [ROOT / "build.py", ROOT / "entrypoint.py", *(ROOT / "cxg").rglob("*.py"), *(ROOT / "assembly").rglob("*.py")]
# Of Python's library: they begin with an underscore, and are documented.
DOCUMENTED = {"_asdict", "_exit", "_fields", "_replace"}
# File and name -> why.
EXCEPTIONS = {
    ("unit/startup/test_first_look.py", "_become"): "it would become gunicorn",
    ("unit/startup/test_mounts.py", "_run"): "the programs that it runs need a kernel module",
    ("unit/test_redact.py", "_failure"): "as above; the sentence comes out of a mount that failed",
}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


def defined(tree: ast.AST) -> set[str]:
    """Private names that are defined in a file: functions, classes, variables, attributes of `self`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return {name for name in found if is_private(name)}


PRIVATE = {name for path in SOURCES for name in defined(ast.parse(path.read_text(encoding="utf-8")))}


def embedded(node: ast.AST) -> ast.AST | None:
    """A program that a test gives to another process as text; None for all else."""
    if isinstance(node, ast.JoinedStr):
        text = "".join(str(part.value) if isinstance(part, ast.Constant) else "None" for part in node.values)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        text = node.value
    else:
        return None
    if "import " not in text:
        return None
    try:
        return ast.parse(textwrap.dedent(text))
    except SyntaxError:
        return None


def named(node: ast.AST) -> Iterator[str]:
    """Private names that are told as text: to `setattr` and the like, in a loop around them, or with their module."""
    texts: list[ast.AST] = []
    if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2].endswith(("attr", "object")):
        texts = list(node.args)
    elif isinstance(node, ast.For | ast.comprehension):
        texts = list(ast.walk(node.iter))
    for text in texts:
        if isinstance(text, ast.Constant) and text.value in PRIVATE:
            yield text.value
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        first, *rest = node.value.split(".")
        if first in ("cxg", "assembly", "build", "entrypoint"):
            yield from PRIVATE.intersection(rest)


def uses(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and name of each private name that is used from outside."""
    own = defined(tree)
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            is_mine = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls") and node.attr in own
            if not is_mine:
                yield line, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((line, alias.name) for alias in node.names if is_private(alias.name))
        yield from ((line, name) for name in named(node))
        program = embedded(node)
        if program is not None:
            yield from ((line, name) for _, name in uses(program))


def used(path: Path) -> dict[str, int]:
    """Private names that a test file uses from outside, and where first."""
    found: dict[str, int] = {}
    for line, name in uses(ast.parse(path.read_text(encoding="utf-8"))):
        if name not in DOCUMENTED:
            found.setdefault(name, line)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "catalog._looks.settle()",
        "monkeypatch.setattr(catalog, '_looks', None)",
        "for name in ('_looks', 'other'):\n    monkeypatch.setattr(catalog, name, None)",
        "monkeypatch.setattr('cxg.datasets.catalog._looks', 0.0)",
        "from cxg.datasets.catalog import _looks",
        "class Mine(Catalog):\n    def look(self):\n        return self._looks",
        "program = f'''\nimport cxg\nuse({folder!r})\ncatalog._looks = None\n'''",
        "getattr(catalog, '_looks')",
    ],
)
def test_the_walk_sees_every_way_to_a_private_name(text: str) -> None:
    assert "_looks" in PRIVATE
    assert {name for _, name in uses(ast.parse(text))} == {"_looks"}


@pytest.mark.parametrize(
    "text",
    [
        "class Mine:\n    def __init__(self):\n        self._looks = 1\n    def more(self):\n        return self._looks",
        "catalog.__dict__['looks']",
        "group.attrs['_index']",
        "folder = 'obs/__fragments'",
    ],
)
def test_the_walk_leaves_a_tests_own_names_alone(text: str) -> None:
    assert not list(uses(ast.parse(text)))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT / "tests")))
def test_no_test_uses_a_private_name(path: Path) -> None:
    file = path.relative_to(ROOT / "tests").as_posix()
    allowed = {name for where, name in EXCEPTIONS if where == file}
    found = used(path)
    more = {name: line for name, line in found.items() if name not in allowed}
    assert not more, f"{file} uses private names (name: line) {more}: pass in what the test replaces, or make it public"
    assert allowed <= set(found), "an exception that nobody needs"
