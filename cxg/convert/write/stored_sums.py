"""The sums that a CXG keeps beside X: over all cells, and over the cells of each label."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxg.compute.label_sums import LabelColumn, LabelSums, LabelSumsBuilder, most_bytes
from cxg.convert.write import arrays
from cxg.convert.write.statistics import GeneTotals
from cxg.format import layout


class StoredSums:
    """Sums of f(x) per gene, gathered while X is written.

    Parameters
    ----------
    n_var : int
    columns : sequence of LabelColumn
        Columns of obs whose labels get sums.
    log1p : bool, or None
        Whether f is ln(1+x); None while that is not known yet, then both are summed.
    """

    def __init__(self, n_var: int, columns: Sequence[LabelColumn], log1p: bool | None) -> None:
        self._totals = GeneTotals(n_var, log1p)
        self._labels = LabelSumsBuilder(columns, n_var, (False, True) if log1p is None else (log1p,))

    def add(self, start: int, genes: Any, first_cell: int = 0) -> None:
        """Take in consecutive genes; see `LabelSumsBuilder.add`."""
        self._totals.add(start, genes.indptr, genes.data)
        self._labels.add(start, genes, first_cell)

    def write(self, root: Path, log1p: bool, extremes: tuple[float, float], n_values: int, ctx: Any) -> None:
        """Write the arrays `X_totals` and `X_label_sums` of a CXG whose X has `n_values` values."""
        sums, squares = self._totals.result(log1p)
        uri = str(root / layout.X_TOTALS)
        arrays.write_vectors(uri, {layout.TOTAL_SUM: sums, layout.TOTAL_SQUARES: squares}, ctx)
        transform = layout.TRANSFORM_LOG1P if log1p else layout.TRANSFORM_NONE
        low, high = extremes
        facts = {layout.TRANSFORM_KEY: transform, layout.MIN_KEY: low, layout.MAX_KEY: high}
        arrays.write_metadata(uri, facts, ctx)
        # Columns may have been chosen for an X that seemed larger.
        found = self._labels.result(log1p, most_bytes(n_values))
        if found.columns:
            _write_labels(str(root / layout.X_LABEL_SUMS), found, transform, ctx)


def _write_labels(uri: str, found: LabelSums, transform: str, ctx: Any) -> None:
    columns = [
        {
            layout.LABELS_NAME: column.name,
            layout.LABELS_COUNTS: column.counts.tolist(),
            layout.LABELS_CHECKSUM: column.checksum,
        }
        for column in found.columns
    ]
    arrays.write_lines(uri, {layout.TOTAL_SUM: found.sums, layout.TOTAL_SQUARES: found.squares}, ctx)
    listed = json.dumps(columns, ensure_ascii=False)
    arrays.write_metadata(uri, {layout.TRANSFORM_KEY: transform, layout.LABELS_KEY: listed}, ctx)
