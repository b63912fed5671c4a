"""The memory that an answer takes while it is made, computed from the selection before any value is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cxg.errors import LimitExceeded
from cxg.format.annotations import Annotations
from cxg.format.dataset import Dataset
from cxg.format.selection import Filter
from cxg.memory_bounds import JSON_TIMES, MB, NUMBER_BYTES, READ_BYTES, TEXT_OBJECT_BYTES, TOGETHER_VALUES
from cxg.web.answers.cache import Answer, Planned

# Rows of text that are encoded at a time.
_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class ColumnSize:
    """The bytes of a column: encoded, until the answer is complete, and in addition while it is read."""

    encoded_bytes: int
    working_bytes: int


def annotation_size(annotations: Annotations, name: str) -> ColumnSize:
    """Compute the size of a column of obs or var; for text this queries the array, but reads no value.

    Raises
    ------
    UnknownColumn
        There is no column of that name.
    DatasetInvalid, StorageUnavailable
        The array cannot be queried.
    """
    column, n = annotations.column(name), annotations.n
    text = annotations.text_bytes(name)
    if text is not None:
        # At most `_ROWS` rows are Python objects at a time, unless they have to be looked up among labels.
        objects = n if column.categories is not None else min(n, _ROWS)
        return ColumnSize(text + 3 * n, 3 * text + 16 * n + 2 * TEXT_OBJECT_BYTES * objects)
    if column.categories is not None:
        longest = max((len(str(label).encode("utf-8", "replace")) for label in column.categories), default=0)
        return ColumnSize((longest + 3) * n, READ_BYTES * n)
    return ColumnSize(2 * NUMBER_BYTES * n if annotations.is_wide(name) else NUMBER_BYTES * n, READ_BYTES * n)


def embedding_size(n_obs: int) -> ColumnSize:
    """Compute the size of both dimensions of an embedding."""
    return ColumnSize(2 * NUMBER_BYTES * n_obs, (READ_BYTES - NUMBER_BYTES) * n_obs)


def gene_sizes(n_genes: int, n_obs: int, room_bytes: int) -> tuple[list[ColumnSize], int]:
    """Compute the sizes of columns of expression, and how many of them to read at a time so that they fit."""
    left = room_bytes - n_genes * NUMBER_BYTES * n_obs
    together = max(1, min(TOGETHER_VALUES // max(1, n_obs), left // max(1, READ_BYTES * n_obs), n_genes))
    return [ColumnSize(NUMBER_BYTES * n_obs, READ_BYTES * n_obs * together)] * n_genes, together


def column_objects_bytes(n: int) -> int:
    """Compute the bytes of a column's values as Python objects."""
    return TEXT_OBJECT_BYTES * n


def selection_bytes(opened: Dataset, wanted: Filter) -> int:
    """Compute the bytes needed to find genes: none to look up known names, else the columns as Python objects."""
    is_lookup = not wanted.ranges and set(wanted.values) <= {opened.var.index}
    return 0 if is_lookup and opened.knows_gene_positions else column_objects_bytes(opened.n_var)


def plan_columns(sizes: Sequence[ColumnSize], what: str, room_bytes: int, make: Callable[[], Answer]) -> Planned:
    """Plan an answer of columns that are read one by one.

    Raises
    ------
    LimitExceeded
        Several columns take more than all the room. One column alone is made when no other answer is.
    """
    total = _total(sizes)
    if len(sizes) > 1 and total > room_bytes:
        fitting = [count for count in range(1, len(sizes)) if _total(sizes[:count]) <= room_bytes]
        fits = max(fitting, default=1)
        raise LimitExceeded(
            f"{len(sizes)} {what} of this dataset in one answer take {total // MB:,} MB of memory, and this server has "
            f"{room_bytes // MB:,} MB for answers; ask for up to {fits} at a time."
        )
    return Planned(total, make)


def _total(sizes: Sequence[ColumnSize]) -> int:
    return sum(size.encoded_bytes for size in sizes) + max((size.working_bytes for size in sizes), default=0)


def json_bytes(value: Any) -> int:
    """Compute the bytes needed to write a value as JSON: each of its texts by itself, then all together, twice."""
    total, left = 0, [value]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left += item.keys()
            left += item.values()
        elif isinstance(item, list | tuple):
            left += item
        else:
            total += TEXT_OBJECT_BYTES + (JSON_TIMES * len(item) if isinstance(item, str) else 0)
    return total
