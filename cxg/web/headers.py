"""Response headers: content security policy, the other security headers, cache lifetimes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from html.parser import HTMLParser
from urllib.parse import urlsplit

from cxg.config import Config

# Browsers and proxies may keep it, but revalidate it (If-None-Match) before each use: a dataset may be replaced.
REVALIDATE = "public, no-cache"
NO_STORE = "no-store"
IMMUTABLE = "public, max-age=31536000, immutable"
# Tells a page that its dataset was replaced since: the fingerprint of the files that the answer was made from.
DATASET_VERSION = "Dataset-Version"

_POLICY: Mapping[str, tuple[str, ...]] = {
    "default-src": ("'self'",),
    # The client's WebGL library builds functions from text.
    "script-src": ("'self'", "'unsafe-eval'"),
    "style-src": ("'self'", "'unsafe-inline'"),
    "img-src": ("'self'", "data:"),
    "font-src": ("'self'",),
    "connect-src": ("'self'",),
    "object-src": ("'none'",),
    "base-uri": ("'none'",),
    "form-action": ("'self'",),
    "frame-ancestors": ("'none'",),
}
_STRICT_POLICY = {**_POLICY, "script-src": ("'self'",), "style-src": ("'self'",)}


def security_headers(config: Config) -> tuple[tuple[str, str], ...]:
    """Return the headers for every answer."""
    headers = [
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "strict-origin-when-cross-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), geolocation=(), microphone=()"),
    ]
    if "frame-ancestors" not in config.server.csp_directives and not config.server.embed_origins:
        headers.append(("X-Frame-Options", "DENY"))
    if config.server.force_https:
        headers.append(("Strict-Transport-Security", "max-age=31536000; includeSubDomains"))
    return tuple(headers)


def client_policy(config: Config, page: str) -> str:
    """Make the content security policy of the web client's page, with a hash for each inline script found in it."""
    sources = [f"'sha256-{_digest(text)}'" for text in inline_scripts(page)]
    sources += [origin for origin in (_origin(script.src) for script in config.server.scripts) if origin]
    return _render(_POLICY, config, {"script-src": sources})


def plain_policy(config: Config) -> str:
    """Make the content security policy of our own pages, which need no inline script or style."""
    return _render(_STRICT_POLICY, config, {})


def inline_scripts(page: str) -> tuple[str, ...]:
    """Return the text of every script element without `src`, byte for byte as a browser hashes it."""
    parser = _Scripts()
    parser.feed(page)
    parser.close()
    return tuple(parser.found)


class _Scripts(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.found: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script" and "src" not in dict(attrs):
            self._inside = True
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1] += data


def _render(policy: Mapping[str, tuple[str, ...]], config: Config, extra: Mapping[str, Iterable[str]]) -> str:
    directives = {name: list(sources) for name, sources in policy.items()}
    embedding = {"frame-ancestors": config.server.embed_origins}
    for additions in (extra, embedding, config.server.csp_directives):
        for name, sources in additions.items():
            known = directives.setdefault(name, [])
            known += [source for source in sources if source not in known]
            if len(known) > 1 and "'none'" in known:
                known.remove("'none'")
    return "; ".join(" ".join((name, *sources)) for name, sources in directives.items())


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _origin(url: str) -> str | None:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else None
