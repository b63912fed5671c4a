"""What was measured: one JSON file of sections, rows and columns, and the Markdown tables made of it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.processes import machine_busy_s, own_cpu_s

OURS, REFERENCE = "ours", "1.3.0"
_NONE = "–"


class Results:
    """Values by section, row and column. What is measured again replaces what an earlier run left, all else stays.

    Parameters
    ----------
    path : file that is read now, and written after every section
    facts : machine and versions; results that were made with others are put aside. None takes what is there.
    command : for the record
    """

    def __init__(self, path: Path, facts: dict[str, Any] | None = None, command: str = "") -> None:
        self.path, self._command = path, command
        self.sections: dict[str, dict[str, Any]] = {}
        self.facts = facts or {}
        self._section, self._new = "", set[tuple[str, str, str]]()
        self._others_s: dict[str, float] = {}
        if path.is_file():
            self._load(json.loads(path.read_text()), facts)

    def _load(self, earlier: dict[str, Any], facts: dict[str, Any] | None) -> None:
        then = earlier.get("facts", {})
        versions = then.get("versions", {})
        same = facts is None or (
            then.get("machine") == facts["machine"]
            and all(facts["versions"].get(name, found) == found for name, found in versions.items())
        )
        if same and "sections" in earlier:
            self.sections = earlier["sections"]
            self.facts = then | (facts or {}) | {"versions": versions | (facts or {}).get("versions", {})}
        else:
            aside = self.path.with_suffix(".old.json")
            self.path.replace(aside)
            say(f"earlier results have another machine, other versions or an older form; they are now in {aside.name}.")

    def add(self, row: str, column: str, values: Sequence[float]) -> None:
        """Keep values in the unit that the row's text ends with, beside those of other rounds."""
        columns = self.sections[self._section]["rows"].setdefault(row, {})
        if (key := (self._section, row, column)) not in self._new:
            self._new.add(key)
            columns[column] = []
        columns[column] += values

    @contextlib.contextmanager
    def measuring(self, section: str) -> Iterator[None]:
        """Meter one stage of a section, to which belongs what is added; it is saved also when the stage fails."""
        about = self.sections.setdefault(section, {"rows": {}})
        if section not in self._others_s:
            self._others_s[section] = about["minutes"] = 0.0
            about |= {"command": self._command, "date": time.strftime("%Y-%m-%d %H:%M", time.gmtime())}
        about["stopped"], self._section = True, section
        began, busy, own = time.monotonic(), machine_busy_s(), own_cpu_s()
        try:
            yield
            about["stopped"] = False
        finally:
            about["minutes"] += (time.monotonic() - began) / 60
            self._others_s[section] += max(0.0, machine_busy_s() - busy - (own_cpu_s() - own))
            about["other_programs_cpus"] = self._others_s[section] / max(60 * about["minutes"], 1e-9)
            self.save()

    def save(self) -> None:
        """Write the file as a whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        half = self.path.with_suffix(f".{os.getpid()}.part")
        half.write_text(json.dumps({"facts": self.facts, "sections": self.sections}, indent=1) + "\n")
        half.replace(self.path)

    def table(self, section: str) -> str:
        """One section: rows and columns as they came, those of the published server last, and ratios to it."""
        rows = self.sections.get(section, {}).get("rows", {})
        columns = sorted(dict.fromkeys(name for row in rows.values() for name in row), key=_is_of_reference)
        rivals = any(map(_is_of_reference, columns))
        lines = [["", *columns, *["ratio"] * rivals]]
        for row, values in rows.items():
            cells = [cell(values[column]) if values.get(column) else _NONE for column in columns]
            lines.append([row, *cells, *[_ratios(row, values)] * rivals])
        return table(lines)

    def about(self) -> str:
        """When, for how long and with which command each section was measured, and what else the machine did."""
        lines = [["section", "begun, UTC", "minutes", "other programs, processors", "command"]]
        for name, one in self.sections.items():
            minutes = f"{one['minutes']:.1f}" + ", **stopped before its end**" * one["stopped"]
            lines.append([name, one["date"], minutes, f"{one['other_programs_cpus']:.2f}", f"`{one['command']}`"])
        return table(lines)


def _ratios(row: str, values: dict[str, list[float]]) -> str:
    """How many times better we are than the better form of the published server, for each kind that both have."""
    found = []
    for column in [name for name in values if name.split(",")[0] == OURS]:
        kind = column.removeprefix(OURS)
        theirs = [statistics.median(seen) for name, seen in values.items() if _is_rival(name, kind) and seen]
        if theirs and (ours := statistics.median(values[column])):
            more = row.endswith("/s")
            best = max(theirs) if more else min(theirs)
            found.append(f"×{short(ours / best if more else best / ours)}" if best or not more else _NONE)
    return " / ".join(found) or _NONE


def _is_of_reference(column: str) -> bool:
    return column.startswith(REFERENCE)


def _is_rival(column: str, kind: str) -> bool:
    return _is_of_reference(column) and column.partition(",")[2] == kind.removeprefix(",")


def cell(values: Sequence[float]) -> str:
    """The median, and the 95th percentile in brackets where there are at least 20 values."""
    more = f" ({short(percentile(values, 0.95))})" if len(values) >= 20 else ""
    return short(statistics.median(values)) + more


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def short(value: float) -> str:
    """A number with about three significant figures."""
    digits = 3 if value < 0.1 else 2 if value < 10 else 1 if value < 100 else 0
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def table(lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first line is its head."""
    if len(lines) < 2:
        return "(not measured)\n"
    head, *body = lines
    return "".join(f"| {' | '.join(row)} |\n" for row in [head, ["---", *["---:"] * (len(head) - 1)], *body])


def say(text: str) -> None:
    """Tell how far it is, on standard error."""
    sys.stderr.write(f"benchmarks: {text}\n")
