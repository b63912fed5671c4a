"""Answers to pages of other origins, for the origins that the configuration names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cxg.web.headers import DATASET_VERSION

WSGIApp = Callable[[dict[str, Any], Any], Iterable[bytes]]

_VARY = ("Vary", "Origin")
_EXPOSED = ("Access-Control-Expose-Headers", f"ETag, {DATASET_VERSION}")


class CrossOrigin:
    """WSGI middleware: lets pages of the named origins read answers to GET and HEAD, without cookies.

    It is put before the application only where origins are named, so other sites spend nothing on it.

    Parameters
    ----------
    origins : iterable of str
        Scheme, host and port as browsers write them, such as ``https://portal.example``.
    """

    def __init__(self, app: WSGIApp, origins: Iterable[str]) -> None:
        self._app = app
        self._added = {origin: [("Access-Control-Allow-Origin", origin), _EXPOSED, _VARY] for origin in origins}

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return self._app(environ, start_response)
        # A cache between must keep the answers to different origins apart, also those to none.
        added = self._added.get(environ.get("HTTP_ORIGIN", ""), [_VARY])

        def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            return start_response(status, [*headers, *added], *exc_info)

        return self._app(environ, start)
