"""What an inspection finds: facts about a CXG, and what is wrong with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: an error costs data or the whole dataset, a warning does not."""

    level: Level
    subject: str
    text: str


@dataclass
class Inspection:
    """Facts about a CXG, in the order to print them, and what is wrong with it."""

    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    needed_bytes: int = 0

    @property
    def ok(self) -> bool:
        """Tell whether no error was found; warnings may have been."""
        return not any(finding.level == "error" for finding in self.findings)

    def error(self, subject: str, text: str) -> None:
        """Add an error."""
        self.findings.append(Finding("error", subject, text))

    def warn(self, subject: str, text: str) -> None:
        """Add a warning."""
        self.findings.append(Finding("warning", subject, text))

    def as_dict(self) -> dict[str, Any]:
        """Return plain values: the facts, `ok`, and `findings` as a list of objects."""
        return {**self.facts, "ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}
