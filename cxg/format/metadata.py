"""What the metadata of a CXG's group says: whatever is in it, nothing of it is needed to serve the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cxg.format.annotations import parse_json
from cxg.format.layout import KNOWN_VERSIONS
from cxg.links import link_problem, without_bad_links


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of one dataset.

    Attributes
    ----------
    version : what the file claims
    title : never empty
    about : a link to a web page, or None
    corpora : what data portals add, without links to anything but web pages, or None
    colors : {column: {label: "#rrggbb"}}
    default_embeddings : names of the embedding to show first, as it may be spelled
    """

    version: str
    title: str
    about: str | None
    corpora: dict[str, Any] | None
    colors: dict[str, dict[str, str]]
    default_embeddings: tuple[str, ...]


def read_metadata(group: Mapping[str, Any], name: str, warnings: list[str]) -> Metadata:
    """Read the metadata of the array `cxg_group_metadata`.

    Parameters
    ----------
    group : empty where there is no such array
    name : of the dataset, which is its title when nothing else is
    warnings : what is odd is added, a sentence each
    """
    version = str(group.get("cxg_version", "0.0"))
    if version not in KNOWN_VERSIONS:
        warnings.append(f"The format version {version!r} is unknown; the dataset is read by the arrays it has.")
    properties = _mapping(parse_json(group.get("cxg_properties"), "cxg_properties", warnings))
    corpora = parse_json(group.get("corpora"), "corpora", warnings)
    corpora = _plain_links(corpora, warnings) if isinstance(corpora, dict) else None
    titles = ((corpora or {}).get("title"), properties.get("title"), name.removesuffix(".cxg"))
    wanted = (corpora or {}).get("default_embedding")
    return Metadata(
        version=version,
        title=next(str(title) for title in titles if title) if any(titles) else "",
        about=_about(properties.get("about"), warnings),
        corpora=corpora,
        colors=_colors(parse_json(group.get("cxg_category_colors"), "cxg_category_colors", warnings)),
        default_embeddings=(str(wanted), str(wanted).removeprefix("X_")) if wanted else (),
    )


def _about(value: Any, warnings: list[str]) -> str | None:
    if value is None or value == "":
        return value  # type: ignore[no-any-return]
    problem = link_problem(value.strip()) if isinstance(value, str) else "it is not a text"
    if problem is not None:
        # The link itself is not told: it may hold a password.
        warnings.append(f"The link 'about' is not a link to a web page and is left out: {problem}.")
        return None
    return str(value).strip()


def _plain_links(corpora: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    dropped: list[str] = []
    kept: dict[str, Any] = without_bad_links(corpora, dropped)
    if dropped:
        names = ", ".join(dict.fromkeys(dropped))
        warnings.append(f"In the metadata 'corpora' not every link leads to a web page; left out: {names[:200]}.")
    return kept


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _colors(value: Any) -> dict[str, dict[str, str]]:
    """Colour tables by plain column name; the specification's ``<column>_colors`` is accepted too."""
    tables = {name: table for name, table in _mapping(value).items() if isinstance(table, dict)}
    return {
        name.removesuffix("_colors"): {str(label): str(color).lower() for label, color in table.items()}
        for name, table in tables.items()
    }
