"""Files of gene sets: CSV in the form of the published client, and GMT as the Broad Institute defines it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

_NAME, _ABOUT, _GENE, _GENE_ABOUT = COLUMNS = (
    "gene_set_name",
    "gene_set_description",
    "gene_symbol",
    "gene_description",
)
"""Columns of the CSV; the first and the third are needed."""

GeneSet = dict[str, Any]
"""``{"geneset_name", "geneset_description", "genes": [{"gene_symbol", "gene_description"}]}``"""
GeneSets = list[GeneSet]
ENDINGS = (".csv", ".gmt")


def read_gene_set_file(content: bytes, source: str, problems: list[str]) -> GeneSets:
    """Read a file of gene sets.

    Parameters
    ----------
    content : bytes
    source : str
        Name of the file; its ending tells the form.
    problems : list of str
        The reader adds a sentence, with file and line, for each line that cannot be used.

    Returns
    -------
    list of GeneSet
        Each name once, in the order of the file; the genes of a set in the order of the file, each once.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems.append(f"{source}, line {line}: this is not UTF-8; save the file as UTF-8.")
        return []
    rows = _gmt_rows(text) if source.lower().endswith(".gmt") else _csv_rows(text, source, problems)
    sets: dict[str, dict[str, str]] = {}
    descriptions: dict[str, str] = {}
    for line, name, about, genes in rows:
        if not name:
            problems.append(f"{source}, line {line}: the gene set has no name.")
            continue
        descriptions[name] = descriptions.get(name) or about
        of_set = sets.setdefault(name, {})
        for gene, note in genes:
            if gene:
                of_set.setdefault(gene, note)
    if not sets and not problems:
        problems.append(f"{source}, line 1: the file holds no gene set.")
    return [gene_set(name, descriptions[name], found) for name, found in sets.items()]


def gene_set(name: str, description: str, genes: Mapping[str, str]) -> GeneSet:
    """Make a gene set from its name, its description, and a description for each of its genes."""
    listed = [{"gene_symbol": symbol, "gene_description": about} for symbol, about in genes.items()]
    return {"geneset_name": name, "geneset_description": description, "genes": listed}


Row = tuple[int, str, str, list[tuple[str, str]]]
"""Line, name of the set, its description, its genes with their descriptions."""


def _gmt_rows(text: str) -> Iterator[Row]:
    for line, row in enumerate(text.splitlines(), start=1):
        fields = [field.strip() for field in row.split("\t")]
        if any(fields) and not row.startswith("#"):
            yield line, fields[0], fields[1] if len(fields) > 1 else "", [(gene, "") for gene in fields[2:]]


def _csv_rows(text: str, source: str, problems: list[str]) -> Iterator[Row]:
    lines = text.splitlines(keepends=True)
    # The published client's command allows comments before the header.
    skipped = next((number for number, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    reader = csv.reader(io.StringIO("".join(lines[skipped:]), newline=""), strict=True)
    try:
        header = [field.strip() for field in next(reader, [])]
        missing = [name for name in (_NAME, _GENE) if name not in header]
        if missing:
            needed = f"the first line must name the columns {', '.join(COLUMNS)}; {' and '.join(missing)} is missing"
            problems.append(f"{source}, line {skipped + 1}: {needed}.")
            return
        places = [header.index(name) if name in header else None for name in COLUMNS]
        for row in reader:
            if not any(field.strip() for field in row) or row[0].startswith("#"):
                continue
            name, about, gene, note = (row[at].strip() if at is not None and at < len(row) else "" for at in places)
            yield skipped + reader.line_num, name, about, [(gene, note)]
    except csv.Error as error:
        problems.append(f"{source}, line {skipped + reader.line_num}: this is not valid CSV ({error}).")
