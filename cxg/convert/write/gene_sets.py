"""The gene sets of a CXG: those of a file that the person names, and the markers that the h5ad holds."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxg.convert.options import Options
from cxg.convert.read.markers import find_markers
from cxg.convert.report import Report
from cxg.errors import ConversionError
from cxg.format.geneset_files import ENDINGS, GeneSet, read_gene_set_file

MOST_BYTES = 16 << 20
"""A longer file is refused: all gene sets are sent to every visitor."""


def gene_sets(root: Any, options: Options, names: Mapping[str, str], report: Report) -> list[GeneSet]:
    """Collect the gene sets to store: first those of the file, then the markers that have other names.

    Parameters
    ----------
    root : h5py.File
    options : Options
    names : mapping of str to str
        Name of each gene in the CXG, by its name in the h5ad and by its name in the CXG.
    report : Report
        Receives a warning for genes that the CXG does not have.

    Raises
    ------
    ConversionError
        The file cannot be read, or is not valid.
    """
    of_file = [] if options.gene_sets is None else _of_file(options.gene_sets, names, report)
    taken = {one["geneset_name"] for one in of_file}
    return of_file + [
        one for one in find_markers(root, names, options.markers, report) if one["geneset_name"] not in taken
    ]


def _of_file(path: Path, names: Mapping[str, str], report: Report) -> list[GeneSet]:
    if path.suffix.lower() not in ENDINGS:
        raise ConversionError(f"--gene-sets: {path} is not a file of gene sets: its name must end with .csv or .gmt.")
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        reason = "does not exist" if error.errno == errno.ENOENT else f"cannot be read ({error.strerror})"
        raise ConversionError(f"--gene-sets: {path} {reason}.") from error
    if len(data) > MOST_BYTES:
        raise ConversionError(f"--gene-sets: {path} has more than {MOST_BYTES >> 20} MB; leave out sets.")
    problems: list[str] = []
    found = read_gene_set_file(data, str(path), problems)
    if problems:
        raise ConversionError(f"--gene-sets: {problems[0]}")
    absent: dict[str, None] = {}
    for one in found:
        absent |= {gene["gene_symbol"]: None for gene in one["genes"] if gene["gene_symbol"] not in names}
        one["genes"] = [
            {**gene, "gene_symbol": names[gene["gene_symbol"]]} for gene in one["genes"] if gene["gene_symbol"] in names
        ]
    if absent:
        examples = ", ".join(list(absent)[:5]) + (", ..." if len(absent) > 5 else "")
        report.warn(
            "gene_set_genes_dropped",
            str(path),
            f"{len(absent):,} genes are not among the genes of the CXG, and are left out of its sets: {examples}.",
        )
    return found
