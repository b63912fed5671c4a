"""Who asks: read from the one source that the configuration names, and from nothing else."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flask import Request

from cxg.access import ANONYMOUS, Visitor
from cxg.config import Access, Proxy
from cxg.errors import ConfigError
from cxg.plugins import Plugins
from cxg.web.limits.client_address import PEER, Network, is_among

Identify = Callable[[Request], Visitor]


def source_of(access: Access, plugins: Plugins) -> Identify:
    """Return the function that says who sends a request.

    Parameters
    ----------
    access : Access
        Complete, as `cxg.config.load` returns it.
    plugins : Plugins

    Raises
    ------
    ConfigError
        The source is a plugin, and there is none.
    """
    if access.source == "proxy":
        networks = tuple(ipaddress.ip_network(one, strict=False) for one in access.proxy.addresses)
        return partial(_from_proxy, access.proxy, networks)
    if access.source == "load-balancer":
        balancer = access.load_balancer
        # The cryptography takes memory that other sites do not need to pay.
        from cxg.web.access.load_balancer import TokenReader

        return TokenReader(balancer).identify
    if access.source == "plugin":
        if not plugins.identifies:
            raise ConfigError("access.source is plugin, but no plugin has a function identify_visitor(request).")
        return partial(_from_plugin, plugins)
    return lambda _: ANONYMOUS


def _from_proxy(proxy: Proxy, networks: tuple[Network, ...], request: Request) -> Visitor:
    # Whoever connects directly can write any header.
    if not is_among(str(request.environ.get(PEER, "")), networks):
        return ANONYMOUS
    user = _single(request, proxy.user_header)
    if user is None:
        return ANONYMOUS
    groups = _text(request, proxy.groups_header).split(",")
    return Visitor(user, _single(request, proxy.email_header), frozenset(filter(None, map(str.strip, groups))))


def _text(request: Request, header: str) -> str:
    """Return a header's text; in the environment bytes are read as Latin-1 (PEP 3333)."""
    text = str(request.environ.get(f"HTTP_{header.upper().replace('-', '_')}", ""))
    return text.encode("latin-1", "replace").decode("utf-8", "replace").strip()


def _single(request: Request, header: str) -> str | None:
    """Return the only value of a header: one that is given twice, joined with a comma, is nobody's name."""
    text = _text(request, header)
    return text if text and not re.search(r"[,\ufffd]", text) and text.isprintable() else None


def _from_plugin(plugins: Plugins, request: Request) -> Visitor:
    found = plugins.identify(request)
    if found is None:
        return ANONYMOUS
    user, email, groups = found.get("user"), found.get("email"), found.get("groups") or ()
    is_sound = isinstance(user, str) and user and (email is None or isinstance(email, str))
    if not is_sound or isinstance(groups, str | Mapping) or not all(isinstance(one, str) for one in _listed(groups)):
        raise TypeError("identify_visitor must return None, or a mapping: user and email are texts, groups a list")
    return Visitor(user, email, frozenset(groups))


def _listed(groups: Any) -> list[Any]:
    return list(groups) if isinstance(groups, list | tuple | set | frozenset) else [None]
