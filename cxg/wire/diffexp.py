"""The body of a differential expression request."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cxg.errors import BadFilter, LimitExceeded, NotOffered
from cxg.format.columns import ColumnValues
from cxg.format.selection import Filter, IntArray, index_rows, select
from cxg.wire.filters import parse_json, parse_json_filter

_INDEX_LIST = re.compile(rb'"index"\s*:\s*\[')
# For all that is no list of cells.
_BODY_SLACK_BYTES = 1 << 20
_SEPARATORS = b", \t\r\n"
_POWERS_OF_TEN = [10**k for k in range(1, 19)]


@dataclass(frozen=True, slots=True, eq=False)
class DiffexpRequest:
    """Two sets of cells and the number of genes wanted.

    Attributes
    ----------
    set1, set2 : Filter
        On the obs axis. A plain list of positions, which is what the client sends, is an array in
        the filter's `index`, already checked, ascending and without repeats.
    top_n : int
        Number of genes for each of the two lists; 0 or less asks for empty lists.
    """

    set1: Filter
    set2: Filter
    top_n: int

    def rows(
        self, n_obs: int, read_column: Callable[[str], ColumnValues], cellcount_max: int | None = None
    ) -> tuple[IntArray, IntArray]:
        """Positions of the cells of both sets.

        Parameters
        ----------
        n_obs : int
            Number of cells in the dataset.
        read_column : callable
            Values of an obs column by name; raises UnknownColumn.
        cellcount_max : int, optional
            Most cells that both sets may have together; None or 0 is no limit.

        Returns
        -------
        set1, set2 : (k,) int64
            Ascending positions, each once.

        Raises
        ------
        BadFilter
            A set without cells, or a condition that does not fit its column.
        LimitExceeded
            The sets have more cells together than `cellcount_max`.
        """
        sets = select(self.set1, n_obs, read_column), select(self.set2, n_obs, read_column)
        for name, rows in zip(("set1", "set2"), sets, strict=True):
            if not rows.size:
                raise BadFilter(f"The cell set {name} is empty; select at least one cell.")
        cells = sets[0].size + sets[1].size
        if cellcount_max and cells > cellcount_max:
            raise LimitExceeded(f"The two sets have {cells} cells together; at most {cellcount_max} are allowed here.")
        return sets


def parse_diffexp(body: bytes, n_obs: int, default_count: int) -> DiffexpRequest:
    """Read the JSON body of a differential expression request.

    Lists of plain positions, nearly all of a large body, are read as one block of digits rather
    than number by number: about four times as fast as the JSON parser.

    Parameters
    ----------
    body : bytes
        ``{"mode": "topN", "count": N, "set1": {"filter": {"obs": ...}}, "set2": ...}``
    n_obs : int
        Number of cells; positions are checked against it.
    default_count : int
        Used when the body has no ``count``.

    Returns
    -------
    DiffexpRequest

    Raises
    ------
    BadFilter
        The body is anything else than described.
    LimitExceeded
        It is longer than every cell in both sets, twice, would make it.
    NotOffered
        The mode ``varFilter``.
    """
    most_bytes = _BODY_SLACK_BYTES + 4 * n_obs * (len(str(n_obs)) + 2)
    if len(body) > most_bytes:
        raise LimitExceeded(f"The body has {len(body)} bytes; two sets of {n_obs} cells take {most_bytes} at most.")
    obj, lists = _read_json(body)
    if not isinstance(obj, dict):
        raise BadFilter("The body must be a JSON object.")
    mode = obj.get("mode")
    if mode == "varFilter" or "varFilter" in obj:
        raise NotOffered("The mode varFilter is not offered; use topN.")
    if mode != "topN":
        raise BadFilter("The body needs the 'mode' topN.")
    count = obj.get("count", default_count)
    if type(count) is not int:  # neither true nor 50.0
        raise BadFilter("The 'count' must be a whole number.")
    top_n = max(0, min(count, 2**31 - 1))
    return DiffexpRequest(_cell_set(obj, "set1", n_obs, lists), _cell_set(obj, "set2", n_obs, lists), top_n)


def _cell_set(obj: dict[str, Any], name: str, n_obs: int, lists: Sequence[IntArray]) -> Filter:
    cells = obj.get(name)
    if not isinstance(cells, dict) or not isinstance(cells.get("filter"), dict):
        raise BadFilter(f"The body needs '{name}', an object with a 'filter'.")
    criteria = cells["filter"]
    axis = criteria.get("obs")
    block = axis.get("index") if isinstance(axis, dict) else None
    if isinstance(block, _Block):
        rest = {**criteria, "obs": {key: value for key, value in axis.items() if key != "index"}}
        parsed = parse_json_filter(rest, "obs")
        return Filter("obs", index_rows(lists[block.number], n_obs), parsed.values, parsed.ranges)
    parsed = parse_json_filter(criteria, "obs")
    if parsed.index is None:
        return parsed
    return Filter("obs", index_rows(parsed.index, n_obs), parsed.values, parsed.ranges)


@dataclass(frozen=True, slots=True)
class _Block:
    """Stands in the parsed JSON where a list of plain positions stood in the body."""

    number: int


def _read_json(body: bytes) -> tuple[Any, list[IntArray]]:
    """Parse the body; also give the lists of positions that `_Block`s in it refer to."""
    lists: list[IntArray] = []
    if b"NaN" not in body:
        body, lists = _cut_out_lists(body)
    blocks = iter(range(len(lists)))

    def constant(text: str) -> _Block:
        # Strict JSON has no NaN and the body had none, so each one marks a list cut out.
        number = next(blocks, None) if text == "NaN" else None
        if number is None:
            raise BadFilter(f"The body holds {text}, which JSON does not have.")
        return _Block(number)

    return parse_json(body, constant), lists


def _cut_out_lists(body: bytes) -> tuple[bytes, list[IntArray]]:
    """Replace each list of plain positions under a key ``index`` by NaN."""
    lists: list[IntArray] = []
    pieces: list[bytes] = []
    done = 0
    for match in _INDEX_LIST.finditer(body):
        if match.start() < done:
            continue
        end = body.find(b"]", match.end())
        if end < 0:
            break
        positions = _plain_positions(body[match.end() : end])
        if positions is not None:
            pieces += (body[done : match.end() - 1], b"NaN")
            lists.append(positions)
            done = end + 1
    return b"".join([*pieces, body[done:]]), lists


def _plain_positions(text: bytes) -> IntArray | None:
    """Numbers separated by commas, or None if it is anything else and JSON must decide."""
    digits = text.translate(None, _SEPARATORS)
    if not digits.isdigit():
        return None
    try:
        positions = np.fromstring(text, dtype=np.int64, sep=",")
    except ValueError:
        return None
    # numpy forgives a trailing comma and leading zeros and clips what does not fit: none of these
    # survives counting the commas, and the digits that the numbers need.
    needed = positions.size + sum(np.count_nonzero(positions >= power) for power in _needed_powers(positions))
    return positions if needed == len(digits) and text.count(b",") == positions.size - 1 else None


def _needed_powers(positions: IntArray) -> list[int]:
    largest = int(positions.max()) if positions.size else 0
    return [power for power in _POWERS_OF_TEN if power <= largest]
