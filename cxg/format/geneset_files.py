"""Files of gene sets: the tidy CSV of the published client, and GMT.

CSV has a line for each gene, under the header ``gene_set_name,gene_set_description,gene_symbol,gene_description``;
columns to the right of these, empty lines and lines that begin with ``#`` are skipped. GMT has a line for each set,
parted by tabs: name, description, genes (format of the Molecular Signatures Database).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

GeneSet = dict[str, Any]
"""``{"geneset_name", "geneset_description", "genes": [{"gene_symbol", "gene_description"}]}``"""

COLUMNS = ("gene_set_name", "gene_set_description", "gene_symbol", "gene_description")
ENDINGS = (".csv", ".gmt")


class GeneSetFileError(ValueError):
    """The file is not valid; the text names the line and what is wrong with it."""


def parse_gene_sets(data: bytes, name: str) -> list[GeneSet]:
    """Read the gene sets of a file, in the order of the file.

    Parameters
    ----------
    data : bytes
        UTF-8, with or without a byte order mark.
    name : str
        Name of the file; its ending says the form.

    Returns
    -------
    list of GeneSet
        Each name once; the genes of a set in the order of the file, each once.

    Raises
    ------
    GeneSetFileError
        The ending is neither .csv nor .gmt, or the content is not valid.
    """
    ending = name[name.rfind(".") :].lower() if "." in name else ""
    if ending not in ENDINGS:
        raise GeneSetFileError(f"{name!r} is not a file of gene sets: its name must end with .csv or .gmt")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise GeneSetFileError(f"line {line} is not UTF-8 text: save the file as UTF-8") from error
    return _from_csv(text) if ending == ".csv" else _from_gmt(text)


def gene_set(name: str, description: str, genes: Mapping[str, str]) -> GeneSet:
    """Make a gene set from its name, its description, and a description for each of its genes."""
    listed = [{"gene_symbol": symbol, "gene_description": about} for symbol, about in genes.items()]
    return {"geneset_name": name, "geneset_description": description, "genes": listed}


def _from_csv(text: str) -> list[GeneSet]:
    rows = _rows(text)
    first, header = next(rows, (1, []))
    names = [cell.strip().lower() for cell in header[: len(COLUMNS)]]
    if names != list(COLUMNS):
        raise GeneSetFileError(f"line {first} must be the header {','.join(COLUMNS)}")
    descriptions: dict[str, str] = {}
    genes: dict[str, dict[str, str]] = {}
    for line, row in rows:
        name, description, symbol, about = (cell.strip() for cell in (*row, "", "", "")[: len(COLUMNS)])
        if not name:
            raise GeneSetFileError(f"line {line} has no gene_set_name")
        descriptions[name] = descriptions.get(name) or description
        of_set = genes.setdefault(name, {})
        if symbol:
            of_set.setdefault(symbol, about)
    return [gene_set(name, descriptions[name], genes[name]) for name in genes]


def _rows(text: str) -> Iterator[tuple[int, list[str]]]:
    """Lines of a CSV that are not empty and no comment, each with the number of its last line."""
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row) and not row[0].startswith("#"):
                yield reader.line_num, row
    except csv.Error as error:
        raise GeneSetFileError(f"line {reader.line_num} is not valid CSV: {error}") from error


def _from_gmt(text: str) -> list[GeneSet]:
    found: dict[str, GeneSet] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, *rest = (cell.strip() for cell in line.split("\t"))
        if not name or not rest:
            raise GeneSetFileError(f"line {number} must be a name, a description and genes, with tabs between them")
        if name in found:
            raise GeneSetFileError(f"line {number} has the name {name!r}, which an earlier line has too")
        description = "" if rest[0].lower() in ("na", "-") else rest[0]
        found[name] = gene_set(name, description, {symbol: "" for symbol in rest[1:] if symbol})
    return list(found.values())
