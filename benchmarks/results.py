"""What was measured: a flat list of records, kept as JSON, and the statistics made of it."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FIRST, REPEAT, DECODED, UNDECODED = "first", "repeat", "decoded", "undecoded"


@dataclass(frozen=True)
class Record:
    """Repeated measurements of one thing, in one run of one server.

    Attributes
    ----------
    row : key of a row in `benchmarks.goals`
    encoding : "browser", "identity", or "" where it makes no difference
    when : `FIRST` for a URL never asked before in that server process, `REPEAT`, or "" where neither is meant;
        of our server also `DECODED` for the first time with the dataset decoded, `UNDECODED` for comparisons without
    values : seconds, MB, or requests per second
    sizes : bytes of the bodies as they travelled, where there are any
    section : the part of the command that measured it; a later run replaces sections as a whole
    """

    server: str
    data: str
    row: str
    values: tuple[float, ...]
    encoding: str = ""
    when: str = ""
    round: int = 0
    sizes: tuple[int, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    section: str = ""


class Results:
    """Records and the facts that go with them, section by section.

    Attributes
    ----------
    facts : `machine`, `versions`, `quick`; `sections`, which says for each when and how it was measured; and
        under a section's own name what it measured beside records
    section : given to the records that are added
    """

    def __init__(self, facts: dict[str, Any] | None = None, records: Sequence[Record] = ()) -> None:
        self.facts = facts if facts is not None else {}
        self.records = list(records)
        self.section = ""

    def add(self, *args: Any, **kwargs: Any) -> Record:
        """Keep one more record; the arguments are those of `Record`, without the section."""
        record = Record(*args, **kwargs, section=self.section)
        self.records.append(record)
        return record

    def begin(self, section: str, about: dict[str, Any]) -> None:
        """Start a section anew: what was measured for it before is dropped, the other sections stay."""
        self.records = [record for record in self.records if record.section != section]
        self.facts.pop(section, None)
        self.facts.setdefault("sections", {})[section] = about

    def find(self, **wanted: Any) -> list[Record]:
        """Records whose attributes equal the ones named."""
        return [
            record for record in self.records if all(getattr(record, key) == value for key, value in wanted.items())
        ]

    def values(self, **wanted: Any) -> list[float]:
        """Values of all matching records, of all rounds."""
        return [value for record in self.find(**wanted) for value in record.values]

    def median(self, **wanted: Any) -> float | None:
        """Median over all rounds; None when nothing matches."""
        values = self.values(**wanted)
        return statistics.median(values) if values else None

    def p95(self, **wanted: Any) -> float | None:
        """95th percentile over all rounds; None below 20 values, where it would be the maximum."""
        values = self.values(**wanted)
        return percentile(values, 0.95) if len(values) >= 20 else None

    def size(self, **wanted: Any) -> float | None:
        """Median number of bytes of the matching answers."""
        sizes = [size for record in self.find(**wanted) for size in record.sizes]
        return statistics.median(sizes) if sizes else None

    def ratio(self, above: dict[str, Any], below: dict[str, Any]) -> float | None:
        """Median of the records `above` divided by that of `below`."""
        top, bottom = self.median(**above), self.median(**below)
        return top / bottom if top is not None and bottom else None

    def save(self, path: Path) -> None:
        """Write the file as a whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        document = {"facts": self.facts, "records": [asdict(record) for record in self.records]}
        half = path.with_suffix(f".{os.getpid()}.part")
        half.write_text(json.dumps(document, indent=1) + "\n")
        half.replace(path)

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote."""
        document = json.loads(path.read_text())
        records = [
            Record(**{**entry, "values": tuple(entry["values"]), "sizes": tuple(entry["sizes"])})
            for entry in document["records"]
        ]
        return cls(document["facts"], records)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
