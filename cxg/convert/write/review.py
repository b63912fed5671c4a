"""Review of the converted data: notes that a biologist needs."""

from __future__ import annotations

import re
from itertools import islice

from cxg.convert.read.h5ad import H5ad
from cxg.convert.report import Report
from cxg.convert.write.statistics import MatrixStats
from cxg.convert.write.tables import Table
from cxg.errors import ConversionError
from cxg.format import layout
from cxg.format.text import Text

_SCALED_DENSITY = 0.9
_ENSEMBL = re.compile(rb"ENS[A-Z]*G\d{6,}")
_SYMBOL_COLUMNS = ("feature_name", "gene_symbols", "gene_symbol", "gene_name", "gene_names", "symbol")


def review_matrix(source: H5ad, stats: MatrixStats, report: Report) -> None:
    """Note what was cleaned in X and what looks wrong with it.

    Raises
    ------
    ConversionError
        X has no non-zero value. TileDB cannot tell such an array from one that was never written.
    """
    where, cleaning = source.matrix_name, source.matrix.cleaning
    if cleaning.duplicates:
        report.info(
            "duplicates_summed",
            where,
            f"{cleaning.duplicates:,} entries repeated another of the same cell and gene; they were added up.",
        )
    if cleaning.zeros and source.matrix.kind != "dense":
        report.info("zeros_dropped", where, f"{cleaning.zeros:,} stored zeros were left out.")
    if cleaning.overflows:
        report.warn(
            "x_overflow", where, f"{cleaning.overflows:,} values are too large for float32 and became infinite."
        )
    if cleaning.rounded:
        report.warn(
            "x_rounded", where, f"{cleaning.rounded:,} whole numbers exceed 24 bits and lost digits as float32."
        )
    if stats.n_nan or stats.n_inf:
        report.warn(
            "x_not_finite", where, f"It has {stats.n_nan:,} NaN and {stats.n_inf:,} infinite values; they were kept."
        )
    if not stats.nnz:
        raise ConversionError(f"{where} holds only zeros, so there is no expression to show{_elsewhere(source)}.")
    _review_values(source, stats, report)


def _review_values(source: H5ad, stats: MatrixStats, report: Report) -> None:
    """Note signs that values are not log-normalised: z-scores, counts."""
    where, cells = source.matrix_name, source.obs.n * source.var.n
    low, high = stats.extremes(cells)
    if stats.n_negative and stats.nnz > _SCALED_DENSITY * cells:
        report.warn(
            "x_scaled",
            where,
            f"It has negative values and hardly any zeros, as after scaling to z-scores{_elsewhere(source)}.",
        )
    elif stats.n_negative and high - low > layout.COUNT_RANGE:
        report.warn(
            "x_negative",
            where,
            f"{stats.n_negative:,} values are negative, so they are not taken for counts although they span "
            f"{high - low:.4g}: differential expression compares them as they are{_elsewhere(source)}.",
        )
    elif stats.n_negative:
        report.info("x_negative", where, f"{stats.n_negative:,} values are negative.")
    is_counts = stats.look_like_counts(cells)
    if stats.whole and not stats.n_negative and stats.nnz > stats.n_nan + stats.n_inf:
        treated = " (ln(1+x) is applied for them)" if is_counts else ""
        report.warn(
            "x_counts",
            where,
            "It holds whole numbers, so probably counts; "
            f"differential expression expects log-normalised values{treated}.",
        )
    elif is_counts:
        report.info(
            "x_wide",
            where,
            f"Its values span {high - low:.4g}: taken for counts, so differential expression applies ln(1+x).",
        )


def _elsewhere(source: H5ad) -> str:
    used = source.matrix_name
    ways = ["--raw"] if source.has_raw and not used.startswith("raw") else []
    ways += [f"--layer {name}" for name in source.layers if used != f"layers/{name}"]
    return f"; consider {' or '.join(ways)}" if ways else ""


def review_names(table: Table, report: Report) -> None:
    """Suggest readable gene names when the index holds Ensembl identifiers."""
    first = next(iter(table.columns.values()))
    columns = [name for name in _SYMBOL_COLUMNS if name in table.columns]
    if columns and isinstance(first, Text) and all(_ENSEMBL.match(row) for row in islice(first, 20)):
        report.info(
            "ensembl_names",
            "var",
            f"Genes are named by Ensembl identifiers; --var-names {columns[0]} would show symbols.",
        )
