"""Our application as tests ask it: in this process, with a stand-in for the built web client."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient

from cxg.config import load
from cxg.config.runtime import Runtime
from cxg.datasets.opening import USUAL_TIMES, Times
from cxg.web.app import create_app

NO_VARIABLES: Mapping[str, str] = {}
# Decoding in the background would take processors from other tests.
NOTHING_DECODED = {"CXG_CACHE_MB": "0"}
PAGE = """<!doctype html><html><head><script>window.CELLXGENE = {};</script></head><body><div id="root"></div>
{% for script in SCRIPTS %}<script src="{{ script.src }}"></script>{% endfor %}
{% for script in INLINE_SCRIPTS %}<script>{% include script %}</script>{% endfor %}
</body></html>
"""


def stand_in_client(folder: Path) -> Path:
    """A folder shaped like the built client; its files say what they are and do nothing."""
    assets = folder / "static" / "assets"
    assets.mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(PAGE)
    (folder / "static" / "main-0123456789abcdef0123.js").write_text("/* main script */\n" * 100)
    (folder / "static" / "main-0123456789abcdef0123.css").write_text("/* style */\n")
    (assets / "icon-0123456789abcdef0123.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return folder


def serve(
    dataroot: Path | str,
    client_dir: Path,
    environment: Mapping[str, str] = NO_VARIABLES,
    times: Times = USUAL_TIMES,
    **settings: object,
) -> FlaskClient:
    """A client of an application that serves `dataroot`; more settings by section, as in the YAML file.

    Errors become answers, as they do in production.
    """
    sections: dict[str, object] = dict(settings)
    multi = sections.pop("multi_dataset", {})
    sections["multi_dataset"] = {"dataroot": str(dataroot), **multi}  # type: ignore[dict-item]
    # JSON is YAML.
    app = create_app(
        load(json.dumps(sections), {}).config,
        stand_in_client(client_dir),
        runtime=Runtime.of({**NOTHING_DECODED, **environment}),
        times=times,
    )
    app.testing = False
    return app.test_client()


def put_parts(app: Flask, **parts: object) -> None:
    """Have the routes of an application use other parts of `cxg.web.services.Services`."""
    app.extensions["cxg"] = replace(app.extensions["cxg"], **parts)
