"""Which part of the command measures at the moment, for how long, and what else the machine did meanwhile."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.processes import machine_busy_s, own_cpu_s
from benchmarks.results import Results


class Sections:
    """Meters the sections of one run, and saves the results after every stage.

    A section that is measured again replaces what an earlier run left of it; all others stay
    in the file, each with its own date and command.

    Parameters
    ----------
    results : of earlier runs, or empty
    path : where they are kept
    command : the command line, for the record
    """

    def __init__(self, results: Results, path: Path, command: str) -> None:
        self._results, self._path, self._command = results, path, command
        self._begun: dict[str, dict[str, Any]] = {}
        self._others_s: dict[str, float] = {}

    @contextlib.contextmanager
    def measuring(self, name: str) -> Iterator[None]:
        """Meter one stage of a section; what is added to the results meanwhile belongs to it."""
        about = self._begun.get(name) or self._begin(name)
        self._results.section = name
        began, busy, own = time.monotonic(), machine_busy_s(), own_cpu_s()
        try:
            yield
        finally:
            elapsed = time.monotonic() - began
            others_s = max(0.0, machine_busy_s() - busy - (own_cpu_s() - own))
            self._others_s[name] += others_s
            about["minutes"] += elapsed / 60
            about["other_programs_cpus"] = self._others_s[name] / max(60 * about["minutes"], 1e-9)
            self._results.section = ""
            self._results.save(self._path)

    def finished(self) -> None:
        """Note that what was begun so far is complete."""
        for about in self._begun.values():
            about["finished"] = True
        self._results.save(self._path)

    def _begin(self, name: str) -> dict[str, Any]:
        about = {
            "command": self._command,
            "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime()),
            "minutes": 0.0,
            "other_programs_cpus": 0.0,
            "finished": False,
        }
        self._results.begin(name, about)
        self._begun[name], self._others_s[name] = about, 0.0
        return about


def say(text: str) -> None:
    """Tell how far it is, on standard error."""
    sys.stderr.write(f"benchmarks: {text}\n")
