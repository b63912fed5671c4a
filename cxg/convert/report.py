"""Report of a conversion: its notes and facts, collected while it runs, printed as text or JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Level = Literal["info", "warning"]


@dataclass(frozen=True)
class Note:
    """One remark.

    Attributes
    ----------
    level : "info" or "warning"
        A person should look at a warning.
    code : str
        Short fixed word for programs, listed in ``docs/cxg.md``.
    subject : str
        Its subject, as a path inside the h5ad (``obs/louvain``).
    text : str
        One sentence.
    """

    level: Level
    code: str
    subject: str
    text: str


@dataclass
class Report:
    """All notes of one conversion and the facts about its result."""

    notes: list[Note] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def info(self, code: str, subject: str, text: str) -> None:
        """Note something that was changed on purpose."""
        self.notes.append(Note("info", code, subject, text))

    def warn(self, code: str, subject: str, text: str) -> None:
        """Note something that looks wrong or was lost."""
        self.notes.append(Note("warning", code, subject, text))

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain values: the facts, then `notes` as a list of objects."""
        return {**self.facts, "notes": [asdict(note) for note in self.notes]}

    def as_text(self) -> str:
        """Format the report for a terminal: facts first, then warnings, then changes."""
        width = max((len(key) for key in self.facts), default=0)
        lines = [f"  {key.replace('_', ' '):<{width}}  {plain(value)}" for key, value in self.facts.items()]
        for level, title in (("warning", "Look at"), ("info", "Changed")):
            chosen = [note for note in self.notes if note.level == level]
            if chosen:
                lines += ["", f"{title}:"] + [f"  {note.subject}: {note.text}" for note in chosen]
        return "\n".join(lines)


def plain(value: object) -> str:
    """Format one fact for a person: thousands apart, lists with commas, yes or no, "none" for nothing."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, int):
        return f"{value:,}"
    return "none" if value is None else str(value)
