"""Content security policy and the other security headers."""

from __future__ import annotations

import base64
import hashlib

import pytest

from cxg.config import load
from cxg.web.headers import client_policy, inline_scripts, plain_policy, security_headers


def config(text: str = ""):
    return load(text, {}).config


def directives(policy: str) -> dict[str, list[str]]:
    return {name: sources for name, *sources in (part.split() for part in policy.split("; "))}


@pytest.mark.parametrize(
    "page, scripts",
    [
        ("<script>a()</script>", ("a()",)),
        ("<SCRIPT type='module'>\n a && b < c </SCRIPT>", ("\n a && b < c ",)),
        ("<script>'&amp;&eacute;'</script>", ("'&amp;&eacute;'",)),
        ("<script src='x.js'></script><script>b</script>", ("b",)),
        ("<script></script>", ("",)),
        ("<!-- <script>no</script> --><p onclick='no'>text</p>", ()),
        ("<script>1</script><p>text<script>2</script>", ("1", "2")),
        ("<script>'<b>not markup</b>'</script>", ("'<b>not markup</b>'",)),
        ("<script>\u03b2</script>", ("\u03b2",)),
    ],
)
def test_inline_scripts_are_found_byte_for_byte(page: str, scripts: tuple[str, ...]) -> None:
    assert inline_scripts(page) == scripts


def test_the_clients_page_allows_its_own_inline_scripts_and_no_other() -> None:
    text = "window.CELLXGENE = {};"
    sources = directives(client_policy(config(), f"<script>{text}</script>"))["script-src"]
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in sources
    assert "'unsafe-inline'" not in sources
    assert sum(source.startswith("'sha256-") for source in sources) == 1


def test_hosts_of_configured_scripts_are_allowed() -> None:
    asked = config(
        "server: {scripts: ['https://a.example/x/y.js', /static/own.js, {src: 'https://b.example:8443/z.js'}]}"
    )
    sources = directives(client_policy(asked, ""))["script-src"]
    assert sources[-2:] == ["https://a.example", "https://b.example:8443"]


def test_sources_of_the_configuration_are_added_to_every_policy() -> None:
    asked = config(
        "server: {csp_directives: {connect-src: [https://api.example], object-src: [https://o.example], worker-src: ['blob:']}}"
    )
    for policy in (client_policy(asked, ""), plain_policy(asked)):
        found = directives(policy)
        assert found["connect-src"] == ["'self'", "https://api.example"]
        # 'none' beside a source would be ignored by some browsers and obeyed by others.
        assert found["object-src"] == ["https://o.example"]
        assert found["worker-src"] == ["blob:"]


def test_a_source_named_twice_appears_once() -> None:
    asked = config("server: {csp_directives: {connect-src: [\"'self'\"]}}")
    assert directives(plain_policy(asked))["connect-src"] == ["'self'"]


def test_our_own_pages_allow_nothing_unsafe() -> None:
    assert "unsafe" not in plain_policy(config())
    found = directives(plain_policy(config()))
    assert found["default-src"] == ["'self'"]
    assert found["frame-ancestors"] == found["object-src"] == found["base-uri"] == ["'none'"]


def test_frames_are_refused_unless_the_operator_allows_some() -> None:
    assert dict(security_headers(config()))["X-Frame-Options"] == "DENY"
    allowed = config("server: {csp_directives: {frame-ancestors: [https://portal.example]}}")
    assert "X-Frame-Options" not in dict(security_headers(allowed))
    assert directives(plain_policy(allowed))["frame-ancestors"] == ["https://portal.example"]


def test_hsts_is_sent_only_where_https_is_forced() -> None:
    assert "Strict-Transport-Security" not in dict(security_headers(config()))
    assert "max-age" in dict(security_headers(config("server: {force_https: true}")))["Strict-Transport-Security"]
