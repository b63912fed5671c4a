"""Sends answers that are already encoded, before Flask handles the request.

Most requests to a busy server repeat an earlier one. They need no routing, no request
object and no lease: the middleware checks that the dataset was checked a moment ago, and
looks into the cache. All other requests go on to Flask unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from cxg.datasets.catalog import Catalog
from cxg.web.answers.cache import NOT_MODIFIED_HEADERS, AnswerCache, accepts, matches, negotiate
from cxg.web.answers.kept import KEPT_ROUTES, answer_key, path_text, split_path
from cxg.web.answers.versioned import VERSION, WSGIApp, lasting


class CachedAnswers:
    """WSGI middleware: sends a stored answer when there is one, else the application's.

    Parameters
    ----------
    base_url : str
        Path before a dataset's name; empty for a single dataset.
    headers : iterable of (name, value)
        Added to every answer.
    is_open : callable
        Tells whether everyone may see a dataset; it is only asked about one that is open.
    """

    def __init__(
        self,
        app: WSGIApp,
        catalog: Catalog,
        cache: AnswerCache,
        base_url: str,
        headers: Iterable[tuple[str, str]],
        is_open: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self._app, self._catalog, self._cache = app, catalog, cache
        self._prefix = f"/{base_url}/" if base_url else "/"
        self._single = not base_url
        self._headers, self._is_open = list(headers), is_open

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            return self._app(environ, start_response)
        path = environ.get("PATH_INFO", "")
        dataset, route = split_path(path.removeprefix(self._prefix))
        if route not in KEPT_ROUTES or not path.startswith(self._prefix):
            return self._app(environ, start_response)
        mimetype = KEPT_ROUTES[route]
        name = "" if self._single else dataset[:-1]
        name = path_text(name)
        identity = self._catalog.fresh_identity(name)
        if identity is None or not self._is_open(name):
            return self._app(environ, start_response)
        if mimetype is not None and not accepts(environ.get("HTTP_ACCEPT"), mimetype):
            return self._app(environ, start_response)
        encoding = negotiate(environ.get("HTTP_ACCEPT_ENCODING", ""))
        stored = self._cache.find(answer_key(environ, identity, encoding))
        if stored is None or environ.get(VERSION, stored.version) != stored.version:
            return self._app(environ, start_response)
        headers = lasting(stored.headers, environ, stored.version)
        if matches(environ.get("HTTP_IF_NONE_MATCH", ""), stored.etag):
            kept = [header for header in headers if header[0] in NOT_MODIFIED_HEADERS]
            start_response("304 Not Modified", kept + self._headers)
            return ()
        start_response("200 OK", [*headers, *self._headers])
        return () if method == "HEAD" else (stored.body,)
