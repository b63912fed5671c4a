"""Files of gene sets: CSV in the form of the published client, and GMT as the Broad Institute defines it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

_NAME, _ABOUT, _GENE, _GENE_ABOUT = COLUMNS = (
    "gene_set_name",
    "gene_set_description",
    "gene_symbol",
    "gene_description",
)
"""Columns of the CSV; the first and the third are needed."""

GeneSets = list[dict[str, Any]]


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
    list of ``{"geneset_name", "geneset_description", "genes": [{"gene_symbol", "gene_description"}]}``
        In the order of the file.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        problems.append(f"{source}, line {line}: this is not UTF-8; save the file as UTF-8.")
        return []
    rows = _gmt_rows(text) if source.lower().endswith(".gmt") else _csv_rows(text, source, problems)
    sets: dict[str, dict[str, Any]] = {}
    for line, name, about, genes in rows:
        if not name:
            problems.append(f"{source}, line {line}: the gene set has no name.")
            continue
        entry = sets.setdefault(name, {"geneset_name": name, "geneset_description": about, "genes": []})
        entry["geneset_description"] = entry["geneset_description"] or about
        entry["genes"] += [{"gene_symbol": gene, "gene_description": note} for gene, note in genes if gene]
    if not sets and not problems:
        problems.append(f"{source}, line 1: the file holds no gene set.")
    return list(sets.values())


Row = tuple[int, str, str, list[tuple[str, str]]]
"""Line, name of the set, its description, its genes with their descriptions."""


def _gmt_rows(text: str) -> Iterator[Row]:
    for line, row in enumerate(text.splitlines(), start=1):
        fields = [field.strip() for field in row.split("\t")]
        if any(fields):
            yield line, fields[0], fields[1] if len(fields) > 1 else "", [(gene, "") for gene in fields[2:]]


def _csv_rows(text: str, source: str, problems: list[str]) -> Iterator[Row]:
    lines = text.splitlines(keepends=True)
    # The published client's command allows comments before the header.
    skipped = next((number for number, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    reader = csv.reader(io.StringIO("".join(lines[skipped:]), newline=""))
    try:
        header = [field.strip() for field in next(reader, [])]
        missing = [name for name in (_NAME, _GENE) if name not in header]
        if missing:
            needed = f"the first line must name the columns {', '.join(COLUMNS)}; {' and '.join(missing)} is missing"
            problems.append(f"{source}, line {skipped + 1}: {needed}.")
            return
        places = [header.index(name) if name in header else None for name in COLUMNS]
        for row in reader:
            if not any(field.strip() for field in row):
                continue
            name, about, gene, note = (row[at].strip() if at is not None and at < len(row) else "" for at in places)
            yield skipped + reader.line_num, name, about, [(gene, note)]
    except csv.Error as error:
        problems.append(f"{source}, line {skipped + reader.line_num}: this is not valid CSV ({error}).")
