"""What a CXG says of itself: the metadata that data portals add, and the columns that their schemas prescribe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from cxg.descriptions.model import ENTRIES_MAX, LINE_MAX, TEXT_MAX, Description
from cxg.format.dataset import Dataset

# A column with more labels than this narrows nothing down.
_LABELS_MAX, _LABEL_MAX = 20, 100
_MISSING = frozenset({"", "nan", "na", "n/a", "none", "unknown"})
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/)?(10\.\d{4,9}/[^\s\"<>]+)", re.IGNORECASE)
_MARKUP = re.compile(r"([\\`*_\[\]<>#|~!&])")


def from_dataset(dataset: Dataset) -> Description:
    """Describe an open dataset by what it holds; reads no values.

    Its title, which always exists, is not part of this.
    """
    corpora = dataset.corpora or {}
    columns = {column.name: column.categories or () for column in dataset.obs.columns}

    def facet(name: str) -> tuple[str, ...]:
        return _labels(columns.get(name, ())) or _texts(corpora.get(name))

    text = next((corpora[key] for key in _TEXT_KEYS if isinstance(corpora.get(key), str)), "")
    return Description(
        text=_MARKUP.sub(r"\\\1", text[:TEXT_MAX]),
        authors=_texts(corpora.get("contributors")),
        doi=_doi(corpora),
        citation=_line(corpora.get("citation")),
        # Columns of obs that the schemas of the CELLxGENE portal prescribe.
        organism=facet("organism"),
        tissue=facet("tissue"),
        assay=facet("assay"),
        disease=facet("disease"),
    )


_TEXT_KEYS = ("project_description", "collection_description", "description")


def _labels(labels: Sequence[Any]) -> tuple[str, ...]:
    if len(labels) > _LABELS_MAX:
        return ()
    texts = (" ".join(str(label).split())[:_LABEL_MAX] for label in labels)
    return tuple(text for text in texts if text.casefold() not in _MISSING)


def _texts(value: Any) -> tuple[str, ...]:
    """Read one text, a list of texts, or a list of objects with a name or a label."""
    found = []
    for entry in (value if isinstance(value, list) else [value])[:ENTRIES_MAX]:
        named = (entry.get("name") or entry.get("label")) if isinstance(entry, Mapping) else entry
        text = _line(named)
        if text and text.casefold() not in _MISSING:
            found.append(text[:_LABEL_MAX])
    return tuple(dict.fromkeys(found))


def _line(value: Any) -> str | None:
    return (" ".join(value.split())[:LINE_MAX] or None) if isinstance(value, str) else None


def _doi(corpora: Mapping[str, Any]) -> str | None:
    for key in ("publication_doi", "doi", "preprint_doi"):
        found = _DOI.fullmatch(_line(corpora.get(key)) or "")
        if found:
            return found[1]
    return None
