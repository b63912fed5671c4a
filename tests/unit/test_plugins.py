"""Plugins: what each hook does in a Flask app, and what stops the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask import Flask, Response
from flask.testing import FlaskClient

from cxg.errors import ConfigError
from cxg.plugins import HOOKS, Plugins, load

PROJECT = Path(__file__).parents[2]


def write(folder: Path, **files: str) -> Plugins:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return load(folder)


def client(plugins: Plugins) -> FlaskClient:
    app = Flask("site", static_folder=None)

    @app.get("/data")
    def data() -> Response:
        return Response("data", headers={"Cache-Control": "public, no-cache"})

    @app.get("/health/live")
    def health() -> str:
        return "ok"

    plugins.attach(app)
    return app.test_client()


def test_no_folder_means_no_plugins() -> None:
    plugins = load(None)
    assert plugins == Plugins()
    assert not plugins.sees_requests
    assert client(plugins).get("/data").headers["Cache-Control"] == "public, no-cache"


def test_extra_headers_are_asked_once_and_the_last_plugin_wins(tmp_path: Path) -> None:
    plugins = write(
        tmp_path,
        a="def extra_headers():\n    return {'X-Site': 'one', 'X-A': 'a'}\n",
        b="def extra_headers():\n    return {'x-site': 'two'}\n",
    )
    assert plugins.extra_headers == (("x-site", "two"), ("X-A", "a"))
    assert not plugins.sees_requests, "fixed headers leave the fast path open"


def test_extra_routes_answer(tmp_path: Path) -> None:
    text = """
from flask import Blueprint
def extra_routes():
    pages = Blueprint("hello", __name__)
    pages.add_url_rule("/hello/<name>", view_func=lambda name: f"hello {name}")
    return pages
"""
    plugins = write(tmp_path, hello=text)
    assert not plugins.sees_requests
    assert client(plugins).get("/hello/you").text == "hello you"
    assert client(plugins).get("/data").text == "data"


def test_blueprints_of_the_same_name_do_not_clash(tmp_path: Path) -> None:
    text = """
from flask import Blueprint, url_for
def extra_routes():
    pages = Blueprint("site", __name__)
    pages.add_url_rule("/{path}", "page", lambda: url_for(".page"))
    return pages
"""
    visitor = client(write(tmp_path, a=text.replace("{path}", "a"), b=text.replace("{path}", "b")))
    assert (visitor.get("/a").text, visitor.get("/b").text) == ("/a", "/b")


def test_app_created_gets_the_app_after_the_routes(tmp_path: Path) -> None:
    text = """
def app_created(app):
    there = "/data" in {rule.rule for rule in app.url_map.iter_rules()}
    app.add_url_rule("/rules", view_func=lambda: str(there))
"""
    plugins = write(tmp_path, late=text)
    assert plugins.sees_requests
    assert client(plugins).get("/rules").text == "True"


def test_request_hooks_run_in_the_order_of_the_file_names(tmp_path: Path) -> None:
    text = """
def request_started(request):
    request.environ.setdefault("seen", []).append("{name} started " + request.path)
def request_finished(request, response):
    request.environ["seen"].append("{name} finished " + str(response.status_code))
    response.headers["X-Seen"] = ", ".join(request.environ["seen"])
"""
    plugins = write(tmp_path, b=text.replace("{name}", "b"), a=text.replace("{name}", "a"))
    assert plugins.sees_requests
    seen = client(plugins).get("/none").headers["X-Seen"]
    assert seen == "a started /none, b started /none, a finished 404, b finished 404"


IDENTITY = """
from flask import Response
def identity_check(request):
    if request.headers.get("X-User") != "ada":
        return Response("who are you?", 401)
"""


def test_identity_check_stands_before_every_page_but_health(tmp_path: Path) -> None:
    visitor = client(write(tmp_path, who=IDENTITY))
    assert visitor.get("/data").status_code == 401
    assert visitor.get("/none").status_code == 401
    assert visitor.get("/health/live").text == "ok"
    allowed = visitor.get("/data", headers={"X-User": "ada"})
    assert allowed.text == "data"
    assert sorted(allowed.headers["Cache-Control"].split(", ")) == ["no-cache", "private"]


def test_a_failing_identity_check_lets_nobody_in(tmp_path: Path) -> None:
    visitor = client(write(tmp_path, who="def identity_check(request):\n    raise RuntimeError('down')\n"))
    assert visitor.get("/data").status_code == 500


def test_a_plugin_that_fails_during_a_request_is_named_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    visitor = client(write(tmp_path, slip="def request_started(request):\n    return 1 / 0\n"))
    assert visitor.get("/data").status_code == 500
    assert f"in request_started of the plugin {tmp_path / 'slip.py'}" in caplog.text


# name: (file, what follows "Plugin <path>: ")
BAD_PLUGINS = {
    "syntax": ("def app_created(app)\n    pass\n", "its import failed: SyntaxError: expected ':' (bad.py, line 1)."),
    "missing package": (
        "import no_such_package\n",
        "its import failed: ModuleNotFoundError: No module named 'no_such_package'.",
    ),
    "failing import": ("raise ValueError('two\\nlines')\n", "its import failed: ValueError: two lines."),
    "exit": ("import sys\nsys.exit()\n", "its import failed: SystemExit."),
    "no hook": (
        "def _helper():\n    pass\n",
        (
            "it defines no hook; the hooks are extra_headers, extra_routes, app_created, request_started, identity_check, "
            "identify_visitor, request_finished."
        ),
    ),
    "misspelt hook": (
        "def request_start(request):\n    pass\n",
        "request_start is not a hook; write request_started, or _request_start for another use.",
    ),
    "wrong arguments": (
        "def request_finished(response):\n    pass\n",
        "request_finished must take these arguments: request_finished(request, response).",
    ),
    "not a function": ("app_created = 5\n", "app_created must be a function, app_created(app)."),
    "async": (
        "async def request_started(request):\n    pass\n",
        "request_started must be a plain function, not an async one.",
    ),
    "failing headers": (
        "def extra_headers():\n    return {}['x']\n",
        "extra_headers failed: KeyError: 'x'.",
    ),
    "headers that are none": (
        "def extra_headers():\n    return {'X-A': 'a\\r\\nSet-Cookie: b'}\n",
        "extra_headers has 'X-A': 'a\\r\\nSet-Cookie: b', which is not a header.",
    ),
    "failing app_created": (
        "def app_created(app):\n    raise OSError('no disk.')\n",
        "app_created failed: OSError: no disk.",
    ),
    "routes that are none": (
        "def extra_routes():\n    return 5\n",
        "extra_routes failed: AttributeError: 'int' object has no attribute 'register'.",
    ),
    "route taken": (
        (
            "from flask import Blueprint\ndef extra_routes():\n    b = Blueprint('b', __name__)\n"
            "    b.add_url_rule('/data', view_func=lambda: 'mine')\n    return b\n"
        ),
        "its route /data is taken; give it another path.",
    ),
}


@pytest.mark.parametrize("name", BAD_PLUGINS)
def test_a_bad_plugin_stops_the_start_with_its_name(name: str, tmp_path: Path) -> None:
    text, sentence = BAD_PLUGINS[name]
    with pytest.raises(ConfigError) as caught:
        client(write(tmp_path, a_good="def app_created(app):\n    pass\n", bad=text))
    assert str(caught.value) == f"Plugin {tmp_path / 'bad.py'}: {sentence}"


def test_every_hook_is_documented_with_its_arguments() -> None:
    text = (PROJECT / "docs" / "customize.md").read_text(encoding="utf-8")
    for name, arguments in HOOKS.items():
        assert f"| `{name}({', '.join(arguments)})` |" in text
