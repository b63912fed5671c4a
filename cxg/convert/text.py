"""Text columns made, read and compared without a Python object for each row (`cxg.format.text.Text`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.format.text import SLICE_ROWS, Text


def from_bytes(rows: Iterable[bytes]) -> Text:
    """Make a column from the UTF-8 bytes of its rows, which it reads as it needs them."""
    source = iter(rows)
    return concatenate(iter(lambda: list(islice(source, SLICE_ROWS)), []))


def from_strings(rows: Iterable[str]) -> Text:
    """Make a column from `str` rows; lone surrogates become the replacement character."""
    return from_bytes(row.encode("utf-8", "replace") for row in rows)


def concatenate(parts: Iterable[Sequence[bytes]]) -> Text:
    """Make a column from consecutive slices of rows."""
    buffers, lengths = [], []
    for part in parts:
        buffers.append(np.frombuffer(b"".join(part), dtype=np.uint8))
        lengths.append(np.fromiter(map(len, part), dtype=np.int64, count=len(part)))
    steps = np.concatenate([np.zeros(1, np.int64), *lengths])
    return Text(np.concatenate(buffers or [np.zeros(0, np.uint8)]), np.cumsum(steps, dtype=np.int64))


def blanked(rows: Text, gone: NDArray[np.bool_] | None) -> Text:
    """Return the rows with empty text where `gone` is true."""
    if gone is None or not gone.any():
        return rows
    lengths = np.diff(rows.offsets)
    data = rows.data[np.repeat(~gone, lengths)]
    lengths[gone] = 0
    return Text(data, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)]))


def _hashes(rows: Text) -> NDArray[np.int64]:
    """Hash each row to 64 bits, so that only rows of equal hash cost a Python object."""
    return np.fromiter(map(hash, rows), dtype=np.int64, count=len(rows))


def _repeated(hashes: NDArray[np.int64]) -> NDArray[np.bool_]:
    ordered = np.sort(hashes)
    return np.isin(hashes, ordered[1:][ordered[1:] == ordered[:-1]])


def first_duplicate(rows: Text) -> tuple[str, int] | None:
    """Find a text that occurs more than once and how many rows repeat an earlier one; None when all differ."""
    suspects = _repeated(_hashes(rows))
    if not suspects.any():
        return None
    seen: set[bytes] = set()
    example, repeats = b"", 0
    for row, suspect in zip(rows, suspects, strict=True):
        if suspect and row in seen:
            example, repeats = example if repeats else row, repeats + 1
        elif suspect:
            seen.add(row)
    return (example.decode("utf-8"), repeats) if repeats else None


def numbered(rows: Text) -> tuple[Text, int]:
    """Make all rows different by appending ``-1``, ``-2`` ... to repeated ones; returns how many changed."""
    hashes = _hashes(rows)
    suspects, known = _repeated(hashes), np.unique(hashes)
    counts: dict[bytes, int] = {}
    changed = 0

    def is_taken(name: bytes) -> bool:
        at = int(np.searchsorted(known, hash(name)))
        return at < len(known) and known[at] == hash(name)

    def renamed() -> Iterator[bytes]:
        nonlocal changed
        for row, suspect in zip(rows, suspects, strict=True):
            name = row
            if suspect and row in counts:
                # Two names made here are never equal: they differ in the row, or in the number behind the last dash.
                while is_taken(name):
                    counts[row] += 1
                    name = row + b"-" + str(counts[row]).encode()
                changed += 1
            elif suspect:
                counts[row] = 0
            yield name

    out = from_bytes(renamed())
    return out, changed


def read_text_dataset(dataset: Any) -> tuple[Text, int]:
    """Read a one-dimensional HDF5 text dataset in slices.

    Returns the column and the number of rows that were not valid UTF-8, in which the bad
    bytes were replaced. Missing entries come back as empty text.
    """
    bad = 0

    def slices() -> Iterator[Sequence[bytes]]:
        nonlocal bad
        for first in range(0, len(dataset), SLICE_ROWS):
            part = [_as_bytes(row) for row in dataset[first : first + SLICE_ROWS].tolist()]
            if not _is_utf8(b"\n".join(part)):
                corrected = [row.decode("utf-8", "replace").encode("utf-8") for row in part]
                bad += sum(a != b for a, b in zip(part, corrected, strict=True))
                part = corrected
            yield part

    text = concatenate(slices())
    return text, bad


def _as_bytes(row: object) -> bytes:
    if isinstance(row, bytes):
        return row
    return row.encode("utf-8", "replace") if isinstance(row, str) else b""


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
