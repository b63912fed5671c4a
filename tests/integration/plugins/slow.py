"""A page that takes its time, for tests of what happens to running requests."""

import os
import sys
import time

from flask import Blueprint, Response, request


def extra_routes() -> Blueprint:
    pages = Blueprint("slow", __name__)
    pages.add_url_rule("/slow", view_func=_slow)
    return pages


def _slow() -> Response:
    sys.stderr.write(f"slow {request.args['n']} in {os.getpid()}\n")
    sys.stderr.flush()
    time.sleep(float(request.args["seconds"]))
    return Response(f"{os.getpid()}\n", mimetype="text/plain", headers={"Cache-Control": "no-store"})
