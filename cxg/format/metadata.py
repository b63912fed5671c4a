"""The metadata of a CXG's group; the server can serve a dataset without any of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cxg.format.annotations import parse_json
from cxg.format.layout import KNOWN_VERSIONS
from cxg.format.selection import quoted
from cxg.format.text_limits import (
    COLOR_MAX,
    LINK_MAX,
    NAME_MAX,
    PORTAL_MAX_BYTES,
    PORTAL_VALUE_MAX_BYTES,
    TITLE_MAX,
    cut,
)
from cxg.links import link_problem, without_bad_links


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of one dataset.

    Attributes
    ----------
    version : str
        Format version that the file claims.
    title : str
        Never empty.
    about : str or None
        A link to a web page.
    corpora : dict or None
        Metadata added by data portals; only links to web pages are kept.
    colors : dict
        {column: {label: "#rrggbb"}}.
    default_embeddings : tuple of str
        Possible spellings of the name of the embedding to show first.
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
    group : mapping
        Empty where there is no such array.
    name : str
        Name of the dataset, used as its title when no other is stored.
    warnings : list of str
        The reader appends one sentence for each oddity.
    """
    version = cut(str(group.get("cxg_version", "0.0")), COLOR_MAX, "The format version", warnings)
    if version not in KNOWN_VERSIONS:
        warnings.append(f"The format version {version!r} is unknown; the dataset is read by the arrays it has.")
    properties = _mapping(parse_json(group.get("cxg_properties"), "cxg_properties", warnings))
    corpora = parse_json(group.get("corpora"), "corpora", warnings)
    corpora = _portal_values(_plain_links(corpora, warnings), warnings) if isinstance(corpora, dict) else None
    titles = ((corpora or {}).get("title"), properties.get("title"), name.removesuffix(".cxg"))
    wanted = (corpora or {}).get("default_embedding")
    return Metadata(
        version=version,
        title=cut(str(next(filter(None, titles), "")), TITLE_MAX, "The title", warnings),
        about=_about(_short_link(properties.get("about"), warnings), warnings),
        corpora=corpora,
        colors=_colors(parse_json(group.get("cxg_category_colors"), "cxg_category_colors", warnings)),
        default_embeddings=(str(wanted), str(wanted).removeprefix("X_")) if wanted else (),
    )


def _about(value: Any, warnings: list[str]) -> str | None:
    if value is None or value == "":
        return value  # type: ignore[no-any-return]
    problem = link_problem(value.strip()) if isinstance(value, str) else "it is not a text"
    if problem is not None:
        # The warning omits the link itself: it may hold a password.
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


def _portal_values(corpora: dict[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Keep the values added by portals that are small enough to send to visitors; cut a long title."""
    found, left_out, total = {}, [], 0
    for key, value in corpora.items():
        kept = cut(value, TITLE_MAX, "The title", warnings) if key == "title" and isinstance(value, str) else value
        size = len(json.dumps({key: kept}))
        if size <= PORTAL_VALUE_MAX_BYTES and total + size <= PORTAL_MAX_BYTES:
            found[key], total = kept, total + size
        else:
            left_out.append(key)
    if left_out:
        limits = f"{PORTAL_VALUE_MAX_BYTES >> 10} kB a value and {PORTAL_MAX_BYTES >> 10} kB together"
        text = f"{quoted(left_out[0])} and {len(left_out) - 1:,} more" if len(left_out) > 1 else quoted(left_out[0])
        warnings.append(f"In corpora {text} is ignored: more than {limits} is not sent to visitors.")
    return found


def _short_link(link: Any, warnings: list[str]) -> Any:
    length = len(link if isinstance(link, str) else json.dumps(link))
    if length <= LINK_MAX:
        return link
    warnings.append(f"The link 'about' has {length:,} characters and is ignored.")
    return None


def _colors(value: Any) -> dict[str, dict[str, str]]:
    """Read colour tables by plain column name; the specification's ``<column>_colors`` is accepted too."""
    named = _mapping(value).items()
    tables = {name: table for name, table in named if isinstance(table, dict) and len(name) <= NAME_MAX}
    return {
        name.removesuffix("_colors"): {
            str(label): str(color).lower() for label, color in table.items() if len(str(color)) <= COLOR_MAX
        }
        for name, table in tables.items()
    }
