"""Checks of links that visitors may follow: only http and https, as a browser reads them."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

_ODD = frozenset('\\<>"`')
# Metadata names that hold addresses, and names beside an address that hold something else.
_LINK = re.compile(r"(?:url|uri|link|href|doi|about|homepage|website|web_?page)s?$", re.IGNORECASE)
_TEXT = re.compile(r"(?:name|type|title|description|label|text)$", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_SCRIPT = re.compile(r"(?:javascript|vbscript|livescript|data:[a-z]+/)", re.IGNORECASE)
_IGNORED = re.compile(r"[\x00-\x20\x7f-\xa0\u2000-\u200f\u2028-\u202f\u2060-\u2064\u3000\ufeff]")
_DEPTH = 32


def link_problem(text: str) -> str | None:
    """Say why a text is not an absolute link that a page may show; None when it is one.

    A link may not contain tabs, line ends, control characters or backslashes, since browsers ignore the first three
    in some places and read a backslash as a slash; nor a user and password, which every visitor would see.
    """
    if " " in text or not text.isprintable():
        return "a link may not contain blanks; write %20 instead"
    if not _ODD.isdisjoint(text):
        return "a link may not contain a backslash, quote or angle bracket; write %5C, %22, %3C and %3E"
    problem = address_problem(text)
    if problem is None and "@" in urlsplit(text).netloc:
        return "every visitor sees a link, so it may not contain a user and password"
    return problem


def address_problem(text: str) -> str | None:
    """Say why a text is not an absolute http(s) address; None when it is one."""
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises when the port is not a number
    except ValueError:
        return "this is not a URL; write it as https://host:port"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "write it in full, as https://host"
    return None


def without_bad_links(value: Any, dropped: list[str], name: str = "", *, is_link: bool = False, depth: int = 0) -> Any:
    """Copy metadata (plain JSON values) without the links that no page may show.

    Texts under names such as `link_url`, `about`, `publication_doi` or `project_links` count as links; they may lack a
    scheme, as a bare DOI does. Elsewhere the function drops only texts that would run as a script.

    Parameters
    ----------
    dropped : list of str
        The function adds the names of the dropped values.
    name : str
        Name of the value itself.
    """
    if depth > _DEPTH:
        dropped.append(name)
        return None
    if isinstance(value, dict):
        kept = {}
        for key, item in value.items():
            link = bool(_LINK.search(str(key))) or (is_link and not _TEXT.search(str(key)))
            inside = f"{name}.{key}" if name else str(key)
            kept[key] = without_bad_links(item, dropped, inside, is_link=link, depth=depth + 1)
        return kept
    if isinstance(value, list):
        return [without_bad_links(item, dropped, name, is_link=is_link, depth=depth + 1) for item in value]
    if isinstance(value, str) and (_is_bad_link(value) if is_link else _SCRIPT.match(_IGNORED.sub("", value))):
        dropped.append(name)
        return None
    return value


def _is_bad_link(text: str) -> bool:
    bare = _IGNORED.sub("", text)
    if _SCHEME.match(bare) or bare.startswith(("//", "\\", "/\\")):
        return link_problem(text.strip()) is not None
    return bool(_SCRIPT.match(bare))
