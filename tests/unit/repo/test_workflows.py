"""The workflows run make targets and files that exist, with the Pythons that are supported."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def commands(path: Path) -> list[str]:
    """Every command that a workflow runs."""
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    return [step["run"] for job in jobs.values() for step in job.get("steps", ()) if "run" in step]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_make_target_exists(path: Path) -> None:
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(VENV)", ".venv")
    known = set(re.findall(r"^([a-z./-]+):", text, flags=re.MULTILINE))
    used = [word for line in commands(path) for word in re.findall(r"(?<=make )[^\n&]*", line)]
    targets = {word for words in used for word in words.split() if "=" not in word}
    assert targets
    assert targets <= known


def test_every_supported_python_runs_the_unit_tests() -> None:
    unit = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))["jobs"]["unit"]
    stated = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert unit["strategy"]["matrix"]["python"] == stated
    assert {each["os"].split("-")[0] for each in unit["strategy"]["matrix"]["include"]} == {"ubuntu", "macos"}


def test_every_suite_runs() -> None:
    ran = "\n".join(commands(ROOT / ".github/workflows/ci.yml"))
    for target in (
        "make lint",
        "make test",
        "make coverage",
        "make browser",
        "integration",
        "make soak",
        "-m reference",
    ):
        assert target in ran


def test_a_release_waits_for_the_suites() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert jobs["release"]["needs"] == "ci"


def test_the_hooks_before_a_commit_are_those_of_make_lint() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    lint = (ROOT / "Makefile").read_text(encoding="utf-8").split("\nlint:")[1].split("\n\n")[0]
    assert [hook["entry"].split()[0].removeprefix(".venv/bin/") for hook in hooks] == re.findall(r"BIN\)/(\w+)", lint)
