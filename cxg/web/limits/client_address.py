"""The client's address: the one that a trusted proxy reports, else that of the connection."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from cxg.web.answers.versioned import WSGIApp

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
PEER = "cxg.peer"
"""Name in the environment of a request (PEP 3333) of the address of the connection itself."""
# Network bits of an IPv6 address: one household or institute has at least a whole /64 network.
_SHARED_BITS = 64
_MOST_PROXIES = 32


class ClientAddress:
    """WSGI middleware: puts the address of the client behind trusted proxies into `REMOTE_ADDR`.

    Each proxy appends the address of its own client to `X-Forwarded-For`. So from the right on, addresses are true as
    long as the proxies that wrote them are trusted; the first one that is not a trusted proxy is the client's.

    Parameters
    ----------
    trusted : sequence of str
        Addresses and networks of the proxies, as in `server.trusted_proxies`.
    """

    def __init__(self, app: WSGIApp, trusted: Sequence[str]) -> None:
        self._app = app
        networks = tuple(ipaddress.ip_network(one, strict=False) for one in trusted)
        self._client = lru_cache(maxsize=1024)(lambda peer, told: find_client(peer, told, networks))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        environ[PEER] = environ.get("REMOTE_ADDR", "")
        told = environ.get("HTTP_X_FORWARDED_FOR")
        if told:
            environ["REMOTE_ADDR"] = self._client(environ.get("REMOTE_ADDR", ""), told)
        return self._app(environ, start_response)


def find_client(peer: str, told: str, trusted: Sequence[Network]) -> str:
    """Find the address of the client.

    Parameters
    ----------
    peer : str
        Address of the connection.
    told : str
        The header `X-Forwarded-For`, used only where a trusted proxy wrote it.
    """
    client = peer
    for text in reversed(told.split(",")[-_MOST_PROXIES:]):
        address, before = _address(client), _address(text.strip())
        if address is None or before is None or not any(address in network for network in trusted):
            return client
        client = str(before)
    return client


def is_among(address: str, networks: Sequence[Network]) -> bool:
    """Tell whether an address is in one of some networks; what is no address never is."""
    found = _address(address)
    return found is not None and any(found in network for network in networks)


def client_share(address: str | None) -> str:
    """Return whom a request counts for: its address, or its network for IPv6, where one client has many addresses."""
    found = _address(address or "")
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, _SHARED_BITS), strict=False))
    return address or ""


def _address(text: str) -> Address | None:
    """Parse an address, also with a port or in brackets; IPv4 mapped into IPv6 becomes IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
