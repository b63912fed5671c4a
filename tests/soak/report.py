"""What a soak prints at its end, and the same as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.soak.findings import Fault, Latency
from tests.soak.hostility import Told
from tests.soak.limits import Limit
from tests.soak.watch import Watch

_EXAMPLES = 4


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Lines of a plain table: the first column to the left, the others to the right."""
    lines = [list(heads), *([str(one) for one in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]

    def text(line: list[str]) -> str:
        cells = (one.rjust(width) for one, width in zip(line[1:], widths[1:], strict=True))
        return "  ".join((line[0].ljust(widths[0]), *cells)).rstrip()

    return "\n".join(f"  {text(line)}" for line in lines)


def latency_table(found: Iterable[Latency]) -> str:
    """How long answers took, calm and in the soak."""
    rows = [
        (
            f"{one.server}, {one.kind}",
            *(one.calm[0], _ms(one.calm[1]), _ms(one.calm[2]), one.soak[0], _ms(one.soak[1]), _ms(one.soak[2])),
            f"{one.ratio:.2f}" + (" !" if one.is_slowed else ""),
        )
        for one in found
        if one.soak[0]
    ]
    return table(("answers in ms", "calm", "p50", "p95", "soak", "p50", "p95", "p95 ratio"), rows)


def event_table(rows: Iterable[dict[str, Any]]) -> str:
    """What happened meanwhile, and the faults that fell into it."""
    heads = ("while, or just after", "times", "answers", "p95", "ratio", "faults")
    return table(
        heads,
        (
            (
                row["label"],
                row["times"],
                row["answers"],
                _ms(row["p95_s"]),
                f"{row['ratio']:.1f}",
                row["faults"].total(),
            )
            for row in rows
        ),
    )


def hostile_table(told: Iterable[Told]) -> str:
    """What hostile clients got."""
    rows = [
        (one.kind, one.server, ", ".join(f"{status or 'none'}: {n}" for status, n in sorted(one.statuses.items())))
        for one in told
    ]
    return table(("hostile clients", "server", "answers by status"), rows)


def watch_table(watches: dict[str, Watch], limits: dict[str, Limit]) -> str:
    """Memory, files, threads, disk and health of each server, largest values."""
    rows = []
    for server, watch in watches.items():
        looks = watch.looks
        used, anonymous, cache = (
            f"{getattr(looks[0], name):.0f} .. {getattr(looks[-1], name):.0f}, at most {max(getattr(one, name) for one in looks):.0f}"
            for name in ("used_mb", "anonymous_mb", "cache_mb")
        )
        health = f"{1e3 * max(watch.health_s, default=0):.0f} ms at most, {len(watch.health_s)} times"
        rows += [
            (f"{server}: bound of its memory", limits[server].how),
            (f"{server}: MB used (PSS); plan {watch.planned_mb:.0f}", used),
            (f"{server}: anonymous MB", anonymous),
            (f"{server}: MB of the group, pages of files too", limits[server].peak_mb()),
            (f"{server}: ended for want of memory", limits[server].kills()),
            (
                f"{server}: files open, threads",
                f"{max(one.files for one in looks)}, {max(one.threads for one in looks)} at most",
            ),
            (f"{server}: MB in the cache folder", cache),
            (f"{server}: /health/live", health),
        ]
    return table(("what", "start .. end, and largest"), rows)


def fault_text(faults: Sequence[Fault], began_s: float) -> str:
    """Every sort of fault with its number, what went on meanwhile, and the first of them."""
    if not faults:
        return "no fault"
    lines = []
    for (sort, server), count in sorted(Counter((one.sort, one.server) for one in faults).items()):
        mine = [one for one in faults if (one.sort, one.server) == (sort, server)]
        lines.append(f"FAULT {sort} [{server}]: {count}")
        datasets = Counter(one.dataset for one in mine if one.dataset)
        if datasets:
            lines.append(f"    datasets: {_counts(datasets)}")
        labels = Counter(label for one in mine for label in one.during)
        if labels:
            lines.append(f"    meanwhile or just before: {_counts(labels)}")
        details = Counter(one.detail for one in mine if one.detail)
        lines += [f"    {count} x {' '.join(detail.split())}" for detail, count in details.most_common(_EXAMPLES)]
        lines += [f"    at {one.at_s - began_s:6.1f} s: {' '.join(one.text.split())}" for one in _examples(mine)]
    return "\n".join(lines)


def _examples(faults: Sequence[Fault]) -> list[Fault]:
    """The first of each dataset and detail, then others."""
    first = {(one.dataset, one.detail): one for one in reversed(faults)}
    found = sorted(first.values(), key=lambda one: one.at_s)
    return [*found, *(one for one in faults if one not in found)][:_EXAMPLES]


def _counts(found: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in found.most_common(8))


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.1f}"


def write(path: Path, content: dict[str, Any]) -> None:
    """Write everything as JSON, tuples with names as objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_plain(content), indent=1, default=str) + "\n")


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
