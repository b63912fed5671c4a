"""The body of a differential expression request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cxg.errors import BadFilter, LimitExceeded, NotOffered
from cxg.format.columns import ColumnValues
from cxg.format.selection import Filter, IntArray, index_rows, select
from cxg.wire.celllists import OTHER_BYTES
from cxg.wire.filters import parse_json_body, parse_json_filter


@dataclass(frozen=True, slots=True, eq=False)
class DiffexpRequest:
    """Two sets of cells and the number of genes wanted.

    Attributes
    ----------
    set1, set2 : Filter
        On the obs axis. A plain list of positions, as the client sends it, is an array in the
        filter's `index`, already checked, ascending and without repeats.
    top_n : int
        Number of genes for each of the two lists; 0 or less asks for empty lists.
    """

    set1: Filter
    set2: Filter
    top_n: int

    def rows(
        self, n_obs: int, read_column: Callable[[str], ColumnValues], cellcount_max: int | None = None
    ) -> tuple[IntArray, IntArray]:
        """Find the positions of the cells of both sets.

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
            A set has no cells, or a condition does not fit its column.
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


def most_body_bytes(n_obs: int) -> int:
    """Return the length of the longest useful body: each of `n_obs` cells in both sets, as a range of its own."""
    return OTHER_BYTES + 4 * n_obs * (len(str(n_obs)) + 3)


def parse_diffexp(
    body: bytes, n_obs: int, default_count: int, lists: Mapping[str, IntArray] | None = None
) -> DiffexpRequest:
    """Read the JSON body of a differential expression request.

    Parameters
    ----------
    body : bytes
        ``{"mode": "topN", "count": N, "set1": {"filter": {"obs": ...}}, "set2": ...}``
    n_obs : int
        Number of cells; positions are checked against it.
    default_count : int
        Used when the body has no ``count``.
    lists : {text: (k,) int64}, optional
        Positions that `cut_out_lists` took out of the body.

    Returns
    -------
    DiffexpRequest

    Raises
    ------
    BadFilter
        The body does not have this form.
    NotOffered
        The mode is ``varFilter``.
    """
    obj = parse_json_body(body)
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
    return DiffexpRequest(_cell_set(obj, "set1", n_obs, lists or {}), _cell_set(obj, "set2", n_obs, lists or {}), top_n)


def _cell_set(obj: dict[str, Any], name: str, n_obs: int, lists: Mapping[str, IntArray]) -> Filter:
    cells = obj.get(name)
    if not isinstance(cells, dict) or not isinstance(cells.get("filter"), dict):
        raise BadFilter(f"The body needs '{name}', an object with a 'filter'.")
    criteria = cells["filter"]
    axis = criteria.get("obs")
    block = axis.get("index") if isinstance(axis, dict) else None
    if isinstance(block, str) and block in lists:
        rest = {**criteria, "obs": {key: value for key, value in axis.items() if key != "index"}}
        parsed = parse_json_filter(rest, "obs")
        return Filter("obs", index_rows(lists[block], n_obs), parsed.values, parsed.ranges)
    parsed = parse_json_filter(criteria, "obs")
    if parsed.index is None:
        return parsed
    return Filter("obs", index_rows(parsed.index, n_obs), parsed.values, parsed.ranges)
