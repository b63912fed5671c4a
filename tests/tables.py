"""Reads the tables that visitors take away, as docs/take-away.md says how to."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass


@dataclass(frozen=True)
class ReadTable:
    """The notes on top by name, and the rows by column; the guard of spreadsheets is taken away."""

    notes: dict[str, str]
    rows: list[dict[str, str]]


def read_table(body: bytes) -> ReadTable:
    """Read a table; every line before the header must be a note."""
    text, notes = body.decode(), {}
    while text.startswith("# "):
        line, _, text = text.partition("\r\n")
        name, _, value = line[2:].partition(": ")
        notes[name] = value
    header, *rows = ([field.removeprefix("'") for field in row] for row in csv.reader(io.StringIO(text, newline="")))
    return ReadTable(notes, [dict(zip(header, row, strict=True)) for row in rows])
