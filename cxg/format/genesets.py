"""Gene sets stored in a CXG: `genesets` in the metadata of `obs`, in any of the shapes seen in real files."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from cxg.format.notes import Loss
from cxg.format.text_limits import NAME_MAX, TEXT_MAX, cut


def read_genesets(stored: Any, warnings: list[str]) -> list[dict[str, Any]]:
    """Bring stored gene sets into the one form the web client takes.

    Accepted are a mapping of name to set, a list of sets, ``{"genesets": ..., "tid": n}``
    and ``[sets, tid]``. Sets without a name are left out with a warning, as is anything
    else that cannot be understood; nothing is raised.

    Returns
    -------
    list of ``{"geneset_name", "geneset_description", "genes": [{"gene_symbol", "gene_description"}]}``
    """
    if stored is None:
        return []
    if isinstance(stored, dict) and "genesets" in stored:
        stored = stored["genesets"]
    if isinstance(stored, list) and len(stored) == 2 and isinstance(stored[1], int):
        stored = stored[0]
    if isinstance(stored, dict):
        stored = [{"geneset_name": name, **entry} for name, entry in stored.items() if isinstance(entry, dict)]
    if not isinstance(stored, list):
        warnings.append(Loss("The stored gene sets cannot be understood and are ignored."))
        return []
    sets, seen = [], set()
    long: list[str] = []
    for entry in stored:
        name = entry.get("geneset_name") if isinstance(entry, dict) else None
        name = cut(name, NAME_MAX, "A name", long) if isinstance(name, str) else None
        if not name or name in seen:
            warnings.append(Loss("A stored gene set without a name of its own is ignored."))
            continue
        seen.add(name)
        sets.append(
            {
                "geneset_name": name,
                "geneset_description": _text(entry.get("geneset_description"), long),
                "genes": _genes(entry.get("genes"), long),
            }
        )
    if long:
        limits = f"{NAME_MAX:,} and {TEXT_MAX:,} characters"
        warnings.append(f"The gene sets have {len(long):,} names or descriptions of more than {limits}, which are cut.")
    return sets


def known_genes(sets: list[dict[str, Any]], names: Container[str]) -> list[dict[str, Any]]:
    """Return the same sets with only the genes found in `names`, each once."""
    return [
        {**entry, "genes": _unique(gene for gene in entry["genes"] if gene["gene_symbol"] in names)} for entry in sets
    ]


def _genes(genes: Any, long: list[str]) -> list[dict[str, str]]:
    found = []
    for gene in genes if isinstance(genes, list) else []:
        record = {"gene_symbol": gene} if isinstance(gene, str) else gene
        if isinstance(record, dict) and isinstance(record.get("gene_symbol"), str):
            about = _text(record.get("gene_description"), long)
            found.append({"gene_symbol": record["gene_symbol"], "gene_description": about})
    return found


def _unique(genes: Any) -> list[dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for gene in genes:
        found.setdefault(gene["gene_symbol"], gene)
    return list(found.values())


def _text(value: Any, long: list[str]) -> str:
    return cut(value, TEXT_MAX, "A description", long) if isinstance(value, str) else ""
