"""The outcome of the checks of `cxg doctor`, as text and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

OK, WARNING, FAILED, SKIPPED = "ok", "warning", "failed", "skipped"
_SIGNS = {OK: "ok", WARNING: "warn", FAILED: "FAIL", SKIPPED: "-"}


@dataclass(frozen=True)
class Check:
    """Outcome of one check: what was looked at, how it is, a sentence, and lines that say more."""

    name: str
    status: str
    text: str
    details: tuple[str, ...] = ()


def as_text(checks: list[Check]) -> str:
    """Return the outcome for a person: a line for each check, details below it."""
    lines = []
    for check in checks:
        lines.append(f"{_SIGNS[check.status]:<5} {check.name}: {check.text}")
        lines += [f"        {detail}" for detail in check.details]
    counts = {status: sum(check.status == status for check in checks) for status in (FAILED, WARNING)}
    lines.append(f"{len(checks)} checks, {counts[FAILED]} failed, {counts[WARNING]} with warnings")
    return "\n".join(lines) + "\n"


def as_json(checks: list[Check]) -> str:
    """Return the outcome as one JSON object: `status`, and `checks` with name, status, text, details."""
    statuses = {check.status for check in checks}
    overall = next((status for status in (FAILED, WARNING) if status in statuses), OK)
    return json.dumps({"status": overall, "checks": [asdict(check) for check in checks]}, indent=2) + "\n"
