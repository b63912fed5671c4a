"""Whose request it is: told by trusted proxies only, however many there are."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from flask import request
from flask.testing import FlaskClient

from cxg.config import load
from cxg.errors import ConfigError
from cxg.web.limits.client_address import client_share, find_client
from tests import cxgs
from tests.served import serve

NGINX, BALANCER = "172.17.0.1", "10.0.3.4"
TRUSTED = [ipaddress.ip_network(one) for one in ("172.16.0.0/12", "10.0.0.0/8", "fd00::/8")]


@pytest.mark.parametrize(
    "peer, told, client",
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # a stranger's word
        (NGINX, "198.51.100.1", "198.51.100.1"),
        (NGINX, f"198.51.100.1, {BALANCER}", "198.51.100.1"),
        (NGINX, f"1.2.3.4, 198.51.100.1, {BALANCER}", "198.51.100.1"),  # the first was made up by the client
        (NGINX, f"{NGINX}, {BALANCER}, 198.51.100.1", "198.51.100.1"),
        (NGINX, "10.1.1.1, 10.2.2.2", "10.1.1.1"),  # visitors from the same network
        (NGINX, "198.51.100.1:4711", "198.51.100.1"),
        (NGINX, "[2001:db8::1]:4711", "2001:db8::1"),
        (NGINX, "2001:db8::1", "2001:db8::1"),
        ("fd00::2", "2001:db8::1", "2001:db8::1"),
        (f"::ffff:{NGINX}", "198.51.100.1", "198.51.100.1"),
        (NGINX, "::ffff:198.51.100.1", "198.51.100.1"),
        (NGINX, "unknown", NGINX),
        (NGINX, "", NGINX),
        (NGINX, ",,,", NGINX),
        (NGINX, "198.51.100.1, evil", NGINX),
        ("", "198.51.100.1", ""),
        ("unix:", "198.51.100.1", "unix:"),
    ],
)
def test_the_last_address_that_is_not_a_proxy_is_the_client(peer: str, told: str, client: str) -> None:
    assert find_client(peer, told, TRUSTED) == client


def test_without_trusted_proxies_the_header_is_ignored() -> None:
    assert find_client("127.0.0.1", "198.51.100.1", []) == "127.0.0.1"


def test_a_long_header_costs_little() -> None:
    assert find_client(NGINX, ", ".join([BALANCER] * 100_000), TRUSTED) == BALANCER


@pytest.mark.parametrize(
    "address, share",
    [
        ("198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.1", "::ffff:198.51.100.1"),
        ("fe80::1%eth0", "fe80::/64"),
        (None, ""),
        ("", ""),
    ],
)
def test_an_ipv6_network_has_one_share(address: str | None, share: str) -> None:
    assert client_share(address) == share


def ask(client: FlaskClient, **environ: str) -> list[str]:
    """What a route sees of the client's address, the scheme and the prefix."""
    response = client.get("/d/a.cxg/api/v0.2/schema?fresh", environ_overrides=environ)
    assert response.status_code == 200
    return response.headers["X-Seen"].split()


@pytest.fixture
def make(tmp_path: Path) -> Any:
    cxgs.build(tmp_path / "data" / "a.cxg", n_obs=4, n_var=3)

    def make(*trusted: str) -> FlaskClient:
        client = serve(tmp_path / "data", tmp_path / "client", server={"trusted_proxies": list(trusted)})

        def tell(response: Any) -> Any:
            response.headers["X-Seen"] = f"{request.remote_addr} {request.scheme} {request.script_root or '-'}"
            return response

        client.application.after_request(tell)
        return client

    return make


def test_only_a_configured_proxy_is_trusted(make: Any) -> None:
    told = {"HTTP_X_FORWARDED_FOR": "198.51.100.1", "HTTP_X_FORWARDED_PROTO": "https"}
    client = make("10.0.0.0/8", "127.0.0.1")
    assert ask(client, REMOTE_ADDR="10.9.9.9", **told)[0] == "198.51.100.1"
    client = make("10.0.0.0/8", "127.0.0.1")
    assert ask(client, REMOTE_ADDR="11.9.9.9", **told)[:2] == ["11.9.9.9", "https"]
    client = make()
    assert ask(client, REMOTE_ADDR="127.0.0.1", **told)[0] == "127.0.0.1"


def test_the_environment_lists_proxies_by_commas() -> None:
    loaded = load("server: {trusted_proxies: [127.0.0.1]}", {"CXG_TRUSTED_PROXIES": "10.0.0.0/8, fd00::/8,"})
    assert loaded.config.server.trusted_proxies == ("10.0.0.0/8", "fd00::/8")
    assert load("server: {trusted_proxies: [127.0.0.1]}", {}).config.server.trusted_proxies == ("127.0.0.1",)
    assert load("", {}).config.server.trusted_proxies == ()


@pytest.mark.parametrize("bad", ["nginx", "10.0.0.0/33", "300.1.1.1", "10.0.0.1:80", "*"])
def test_a_proxy_that_is_not_a_network_is_reported(bad: str) -> None:
    for text, env in ((f"server: {{trusted_proxies: ['{bad}']}}", {}), ("", {"CXG_TRUSTED_PROXIES": bad})):
        with pytest.raises(ConfigError, match=r"trusted_proxies.*such as 10\.0\.0\.7"):
            load(text, env)
