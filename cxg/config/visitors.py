"""Sections of the configuration about who may see which dataset: `access` and what is below it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime

import yaml

from cxg.access import (
    EVERYONE,
    PUBLIC_FROM_EXPECTED,
    SIGNED_IN,
    VISIBLE_TO_EXPECTED,
    check_audience,
    parse_moment,
)
from cxg.config import checks
from cxg.config.fields import key
from cxg.config.kinds import String
from cxg.config.lists import Names
from cxg.config.nodes import Complain, is_tagged, wrong

SOURCES = ("none", "load-balancer", "proxy", "plugin")
_SIGNER = re.compile(r"arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:loadbalancer/app/[A-Za-z0-9/-]+")
_HEADER = re.compile(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*")


@dataclass(frozen=True)
class Audience:
    """Who may see a dataset: everyone, signed-in, or a list of groups and users."""

    expected: str = VISIBLE_TO_EXPECTED

    def read(self, node: yaml.Node, name: str, complain: Complain) -> tuple[str, ...]:
        """Read an audience; an empty list is nobody."""
        if isinstance(node, yaml.SequenceNode):
            return Names("groups and users", check_audience).read(node, name, complain)
        if is_tagged(node, "str") and node.value in (EVERYONE, SIGNED_IN):
            return (str(node.value),)
        complain(node, wrong(node, name, self.expected))
        return ()


@dataclass(frozen=True)
class Moment:
    """A date and its time zone, or null."""

    expected: str = f"{PUBLIC_FROM_EXPECTED}, or null"

    def read(self, node: yaml.Node, name: str, complain: Complain) -> datetime | None:
        """Read a moment."""
        if is_tagged(node, "null"):
            return None
        found = parse_moment(str(node.value)) if isinstance(node, yaml.ScalarNode) else None
        if found is None:
            complain(node, wrong(node, name, self.expected))
        return found


def _check_source(text: str) -> str | None:
    return None if text in SOURCES else f"write one of {', '.join(SOURCES)}"


def _check_header(text: str) -> str | None:
    return None if _HEADER.fullmatch(text) else "give the name of a header, such as X-Forwarded-User"


_HEADER_NAME = String("the name of a header", _check_header, null=False)


@dataclass(frozen=True)
class Proxy:
    """`access.proxy`: a proxy that signs visitors in and says who they are."""

    addresses: tuple[str, ...] = key(
        (),
        Names("addresses and networks", checks.check_network),
        "Addresses and networks of the proxy whose headers are believed: that of the connection itself, not of an "
        "X-Forwarded-For. From all others these headers mean nothing.",
    )
    user_header: str = key("X-Forwarded-User", _HEADER_NAME, "Header with the name of the user.")
    email_header: str = key("X-Forwarded-Email", _HEADER_NAME, "Header with the user's e-mail address.")
    groups_header: str = key("X-Forwarded-Groups", _HEADER_NAME, "Header with the user's groups, separated by commas.")


def _check_signer(text: str) -> str | None:
    return None if _SIGNER.fullmatch(text) else "give the ARN of the load balancer, arn:aws:elasticloadbalancing:..."


def _check_keys_url(text: str) -> str | None:
    return None if text.startswith("https://") and text.endswith("/") else "give an https:// address that ends in /"


@dataclass(frozen=True)
class LoadBalancer:
    """`access.load_balancer`: an AWS load balancer that signs visitors in with OpenID Connect."""

    signer: str | None = key(
        None, String("an ARN", _check_signer), "ARN of the load balancer; tokens that others have signed mean nothing."
    )
    issuer: str | None = key(
        None, String("a text"), "Issuer, as in the authentication action of the load balancer's listener."
    )
    client: str | None = key(None, String("a text"), "Client ID, as in that action.")
    user_claim: str = key("sub", String("a text", null=False), "Claim with the name of the user.")
    groups_claim: str = key("groups", String("a text", null=False), "Claim with the list of the user's groups.")
    keys_url: str | None = key(
        None,
        String("a URL", _check_keys_url),
        "Address of the public keys, before the name of a key. Null: that of the load balancer's region.",
    )

    @property
    def keys_address(self) -> str:
        """Address of the public keys, before the name of a key."""
        region = (self.signer or ":::").split(":")[3]
        return self.keys_url or f"https://public-keys.auth.elb.{region}.amazonaws.com/"


@dataclass(frozen=True)
class Access:
    """`access`: who may see which dataset."""

    visible_to: tuple[str, ...] = key(
        (EVERYONE,),
        Audience(),
        "Who may see the datasets whose description does not say it: everyone, signed-in, or a list of groups, e-mail "
        "addresses and user:NAME. For others such a dataset does not exist.",
    )
    public_from: datetime | None = key(  # noqa: RUF009  (a field, and a datetime never changes)
        None, Moment(), "Date, with its time zone, from which everyone may see them; null: never by date."
    )
    source: str = key(
        "none",
        String("none, load-balancer, proxy or plugin", _check_source, null=False),
        "What says who asks. none: everyone is anonymous. load-balancer: the token of an AWS load balancer with OpenID "
        "Connect, see access.load_balancer. proxy: headers of a proxy, see access.proxy. plugin: the "
        "function identify_visitor of a plugin.",
    )
    sign_in: str | None = key(
        None,
        String("a link", checks.check_link),
        "Page to sign in at, such as /oauth2/sign_in. Visitors who are not signed in are sent there from the page of a "
        "dataset that they may not see, or that does not exist. Null: they get a 404.",
    )
    load_balancer: LoadBalancer = field(default_factory=LoadBalancer)
    proxy: Proxy = field(default_factory=Proxy)

    @property
    def is_used(self) -> bool:
        """Whether some dataset is probably restricted: then nobody sees one whose description cannot be read."""
        return self.source != "none" or self.visible_to != (EVERYONE,) or self.public_from is not None

    def missing(self) -> str | None:
        """Name the key that the source needs and that is not set; None when there is none."""
        if self.source == "proxy" and not self.proxy.addresses:
            return "access.source is proxy: name the proxy's address in access.proxy.addresses"
        for name in ("signer", "issuer", "client") if self.source == "load-balancer" else ():
            if getattr(self.load_balancer, name) is None:
                return f"access.source is load-balancer: set access.load_balancer.{name}"
        return None
