"""docs/cxg.md names every note a report can hold and every option of the command."""

import argparse
import ast
import re

from cxg.cli.convert import add_arguments


def test_every_note_is_documented(project):
    page = (project / "docs" / "cxg.md").read_text(encoding="utf-8")
    codes = set()
    for path in (project / "cxg" / "convert").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "attr", "") in ("info", "warn")
                and len(node.args) == 3
            ):
                codes.add(node.args[0].value)
    assert len(codes) > 25
    assert {code for code in codes if f"`{code}`" not in page} == set()


def test_every_option_is_documented(project):
    page = (project / "docs" / "cxg.md").read_text(encoding="utf-8")
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    options = set(re.findall(r"^ +(?:-\w, )?(--[a-z0-9-]+)", parser.format_help(), re.MULTILINE)) - {"--help"}
    assert len(options) > 5
    assert {option for option in options if f"`{option}" not in page} == set()
