"""Addresses of one version of a dataset: what is found there never changes, so browsers and proxies keep it for good.

Below a dataset, ``api/<version>/v0.2/`` is the same API as ``api/v0.2/``. The version is
``<files>-<settings>``: 16 hex digits of the fingerprint of the dataset's files, and 8 that stand
for the release, the configuration and whatever else the answers depend on. The page of a dataset
gives the web client the version that it was made for.

The middleware moves the version from the path into the environment of the request, so that
plugins, routes and the keys of kept answers see the plain path. The answer is then

- immutable where the version is the current one and the route is one of `KEPT_ROUTES`;
- that of the plain address where only the settings differ, as while servers are updated one by one;
- 410 where the files differ: a page must not mix data of two versions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cxg.errors import DatasetReplaced
from cxg.web.answers.kept import API
from cxg.web.headers import IMMUTABLE, REVALIDATE

VERSION = "cxg.version"
"""Name in the environment of a request (PEP 3333) of the version that its address names."""

_FILES_LENGTH, _SETTINGS_LENGTH = 16, 8
_NAMED = re.compile(rf"/api/([0-9a-f]{{{_FILES_LENGTH}}}-[0-9a-f]{{{_SETTINGS_LENGTH}}})(?=/v0\.2/)")

WSGIApp = Callable[[dict[str, Any], Any], Iterable[bytes]]
Headers = tuple[tuple[str, str], ...]


def version_of(fingerprint: str, settings: str) -> str:
    """Make the version of a dataset from the fingerprint of its files and a digest of the settings, both hex digits."""
    return f"{fingerprint[:_FILES_LENGTH]}-{settings[:_SETTINGS_LENGTH]}"


def versioned_api(version: str) -> str:
    """Return the address of the API of one version, relative to the page of its dataset: ``api/<version>/``."""
    prefix, _, _ = API.partition("/")
    return f"{prefix}/{version}/"


def check_version(environ: Mapping[str, Any], fingerprint: str) -> None:
    """Check that the address of a request does not name a version of other files than those of `fingerprint`.

    Raises
    ------
    DatasetReplaced
        It does.
    """
    named = environ.get(VERSION)
    if named is not None and named[:_FILES_LENGTH] != fingerprint[:_FILES_LENGTH]:
        raise DatasetReplaced("This dataset was replaced after the page was opened: reload the page.")


def lasting(headers: Headers, environ: Mapping[str, Any], version: str) -> Headers:
    """Let browsers and proxies keep an answer of this version for good, where the request names the version.

    Where the configuration lets nobody keep answers, they stay as they are.
    """
    if environ.get(VERSION) != version:
        return headers
    return tuple((name, IMMUTABLE if value == REVALIDATE else value) for name, value in headers)


class VersionedAddresses:
    """WSGI middleware: takes the version out of the path of a request and puts it into its environment."""

    def __init__(self, app: WSGIApp) -> None:
        self._app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        path = environ.get("PATH_INFO", "")
        found = _NAMED.search(path)
        if found is not None:
            environ[VERSION] = found[1]
            environ["PATH_INFO"] = f"{path[: found.start()]}/api{path[found.end() :]}"
        return self._app(environ, start_response)
