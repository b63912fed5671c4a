"""The `cxg` command in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cxg.cli import main as cli

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(arguments)
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Instead of becoming gunicorn, remember the command and the environment."""
    calls: list[Any] = []

    def execve(path: str, command: list[str], env: dict[str, str]) -> None:
        calls.append((command, env))
        sys.exit(0)  # it does not come back

    monkeypatch.setattr(os, "execve", execve)
    return calls
