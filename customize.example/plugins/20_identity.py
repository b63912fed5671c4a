"""Let in only visitors that a proxy in front has signed in, when SITE_REQUIRE_USER is set.

The proxy must remove this header from what visitors send, or anyone could sign in as anyone.
"""

import logging
import os

from flask import Request, Response

HEADER = "X-Forwarded-User"
REQUIRED = bool(os.environ.get("SITE_REQUIRE_USER"))
LOG = logging.getLogger("site.identity")


def identity_check(request: Request) -> Response | None:
    """Refuse a request without a user."""
    if REQUIRED and not request.headers.get(HEADER):
        return Response("Sign in first.\n", 401, mimetype="text/plain")
    return None


def request_finished(request: Request, response: Response) -> None:
    """Log who was refused what."""
    if response.status_code == 401:
        LOG.warning("refused %s to %s", request.path, request.remote_addr)
