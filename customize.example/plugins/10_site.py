"""A header that tells the build, and a page that tells how long the server has run."""

import time

import humanize  # from customize/requirements.txt
from flask import Blueprint, Response

COMMIT = "__CELLXGENE_COMMIT__"  # filled in by `make build`
STARTED_S = time.monotonic()


def extra_headers() -> dict[str, str]:
    """Add the build to every answer."""
    return {"X-Site-Build": COMMIT}


def extra_routes() -> Blueprint:
    """Serve /site/uptime."""
    pages = Blueprint("site", __name__)
    pages.add_url_rule("/site/uptime", view_func=_uptime)
    return pages


def _uptime() -> Response:
    running = humanize.naturaldelta(time.monotonic() - STARTED_S)
    return Response(f"up for {running}\n", mimetype="text/plain", headers={"Cache-Control": "no-store"})
