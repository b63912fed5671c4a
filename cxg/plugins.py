"""Plugins: Python files of the deployment, with functions whose names are hooks.

A plugin is one file; it defines any of the functions in `HOOKS`, by name. Files are loaded in the
order of their names, and each hook is called in that order too. docs/customize.md is written for
their authors.

==================  ==============================  ====================================================
hook                called with                     for
==================  ==============================  ====================================================
extra_headers       ()                              headers of every answer: a mapping; asked once
extra_routes        ()                              more pages: a Flask blueprint; asked once
app_created         (app)                           doing anything else with the app; called once
request_started     (request)                       seeing each request
identity_check      (request)                       letting it pass (None), or the answer to send instead
identify_visitor    (request)                       saying who asks, for `access.source: plugin`
request_finished    (request, response)             seeing, or changing, each answer
==================  ==============================  ====================================================

A plugin that fails while it is loaded stops the start, so that a site never runs without, say, its
identity check. A plugin that fails during a request makes the answer a 500.
"""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

from cxg.errors import ConfigError, one_line

if TYPE_CHECKING:
    from flask import Flask, Request, Response

# Hook: the names of its arguments.
HOOKS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "extra_headers": (),
        "extra_routes": (),
        "app_created": ("app",),
        "request_started": ("request",),
        "identity_check": ("request",),
        "identify_visitor": ("request",),
        "request_finished": ("request", "response"),
    }
)
# Hooks that must see every request: with one of them, Flask handles each request, also for a kept answer.
# A function that gets the app may add handlers of its own.
_SEE_REQUESTS = frozenset({"app_created", "request_started", "identity_check", "request_finished"})
# A load balancer requests these paths and has no identity.
_HEALTH = frozenset({"/health", "/health/live", "/health/ready"})
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, token


@dataclass(frozen=True)
class Plugin:
    """One loaded file and the hooks it defines, by name."""

    path: Path
    hooks: Mapping[str, Callable[..., Any]]


@dataclass(frozen=True)
class Plugins:
    """The plugins of a deployment, in order, and the headers they add to every answer."""

    plugins: tuple[Plugin, ...] = ()
    extra_headers: tuple[tuple[str, str], ...] = ()

    @property
    def sees_requests(self) -> bool:
        """Tell whether a plugin must see each request, so that none may be answered before Flask."""
        return any(_SEE_REQUESTS & plugin.hooks.keys() for plugin in self.plugins)

    def attach(self, app: Flask) -> None:
        """Add the plugins' routes and request hooks to the app, then hand it to `app_created`.

        Raises
        ------
        ConfigError
            A hook failed, or a route is already taken; the message names the plugin.
        """
        for plugin, extra_routes in self._hooks("extra_routes"):
            self._add_routes(app, plugin, extra_routes)
        if any(True for _ in self._hooks("request_started", "identity_check")):
            app.before_request(self._start)
        if any(True for _ in self._hooks("request_finished", "identity_check")):
            app.after_request(self._finish)
        for plugin, app_created in self._hooks("app_created"):
            with _refusing(plugin.path, "app_created"):
                app_created(app)

    @property
    def identifies(self) -> bool:
        """Whether a plugin says who asks."""
        return any(True for _ in self._hooks("identify_visitor"))

    def identify(self, request: Request) -> Mapping[str, Any] | None:
        """Ask the plugins in order who sends a request; the first that knows it wins, None where none does."""
        for plugin, identify_visitor in self._hooks("identify_visitor"):
            with _named(plugin.path, "identify_visitor"):
                found: Mapping[str, Any] | None = identify_visitor(request)
            if found is not None:
                return found
        return None

    def _hooks(self, *names: str) -> Iterator[tuple[Plugin, Callable[..., Any]]]:
        for plugin in self.plugins:
            for name in names:
                if name in plugin.hooks:
                    yield plugin, plugin.hooks[name]

    def _add_routes(self, app: Flask, plugin: Plugin, extra_routes: Callable[[], Any]) -> None:
        taken = {id(rule): rule.rule for rule in app.url_map.iter_rules()}
        with _refusing(plugin.path, "extra_routes"):
            # Registered under another name: the author's may be one of ours, or another plugin's.
            app.register_blueprint(extra_routes(), name=_module_name(plugin.path))
        for rule in app.url_map.iter_rules():
            if id(rule) not in taken and rule.rule in taken.values():
                raise ConfigError(f"Plugin {plugin.path}: its route {rule.rule} is taken; give it another path.")

    def _start(self) -> Response | None:
        from flask import request  # Flask is imported by then; nothing else here needs it

        current: Request = request
        for plugin, request_started in self._hooks("request_started"):
            with _named(plugin.path, "request_started"):
                request_started(current)
        if current.path in _HEALTH:
            return None
        for plugin, identity_check in self._hooks("identity_check"):
            with _named(plugin.path, "identity_check"):
                answer: Response | None = identity_check(current)
            if answer is not None:
                return answer
        return None

    def _finish(self, response: Response) -> Response:
        from flask import request  # as above

        if any(True for _ in self._hooks("identity_check")) and response.cache_control.public:
            # A shared cache must not give one visitor's answer to others.
            response.cache_control.public = False
            response.cache_control.private = True
            if "/api/" in request.path and response.cache_control.immutable:
                # Nor must a browser give it to the next visitor without asking.
                response.headers["Cache-Control"] = "private, no-cache"
        for plugin, request_finished in self._hooks("request_finished"):
            with _named(plugin.path, "request_finished"):
                request_finished(request, response)
        return response


def load(folder: Path | None) -> Plugins:
    """Load every `*.py` directly in a folder, in the order of their names; None means no plugins.

    Raises
    ------
    ConfigError
        A file cannot be imported, defines no hook, or defines one wrongly; the message names it.
    """
    paths = sorted(folder.glob("*.py"), key=lambda path: path.name) if folder is not None else []
    plugins = tuple(Plugin(path, _find_hooks(path, _import(path))) for path in paths)
    headers: dict[str, tuple[str, str]] = {}
    for plugin in plugins:
        for name, value in _read_headers(plugin):
            headers[name.lower()] = (name, value)  # the last plugin's value wins
    return Plugins(plugins, tuple(headers.values()))


def _module_name(path: Path) -> str:
    return f"cxg_plugin_{re.sub(r'[^A-Za-z0-9]', '_', path.stem)}"


def _import(path: Path) -> ModuleType:
    name = _module_name(path)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"Plugin {path}: Python cannot load it.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look their module up there
    with _refusing(path, "its import"):
        spec.loader.exec_module(module)
    return module


def _find_hooks(path: Path, module: ModuleType) -> Mapping[str, Callable[..., Any]]:
    """Collect and check the module's hooks; a function whose name is nearly a hook is an error."""
    hooks: dict[str, Callable[..., Any]] = {}
    for name, value in vars(module).items():
        if name in HOOKS:
            hooks[name] = _check_hook(path, name, value)
        elif inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_"):
            similar = difflib.get_close_matches(name, HOOKS, n=1, cutoff=0.8)
            if similar:
                raise ConfigError(
                    f"Plugin {path}: {name} is not a hook; write {similar[0]}, or _{name} for another use."
                )
    if not hooks:
        raise ConfigError(f"Plugin {path}: it defines no hook; the hooks are {', '.join(HOOKS)}.")
    return MappingProxyType(hooks)


def _check_hook(path: Path, name: str, hook: object) -> Callable[..., Any]:
    signature = f"{name}({', '.join(HOOKS[name])})"
    if not callable(hook):
        raise ConfigError(f"Plugin {path}: {name} must be a function, {signature}.")
    if inspect.iscoroutinefunction(hook):
        raise ConfigError(f"Plugin {path}: {name} must be a plain function, not an async one.")
    try:
        inspect.signature(hook).bind(*HOOKS[name])
    except TypeError:
        raise ConfigError(f"Plugin {path}: {name} must take these arguments: {signature}.") from None
    return hook


def _read_headers(plugin: Plugin) -> Iterable[tuple[str, str]]:
    if "extra_headers" not in plugin.hooks:
        return ()
    with _refusing(plugin.path, "extra_headers"):
        headers = dict(plugin.hooks["extra_headers"]())
    for name, value in headers.items():
        sound = isinstance(name, str) and isinstance(value, str) and _HEADER_NAME.fullmatch(name)
        if not sound or not value.isprintable() or not value.isascii():
            raise ConfigError(f"Plugin {plugin.path}: extra_headers has {name!r}: {value!r}, which is not a header.")
    return headers.items()


@contextmanager
def _refusing(path: Path, doing: str) -> Iterator[None]:
    """Turn any error of a plugin at start into one sentence that names the plugin."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise ConfigError(f"Plugin {path}: {doing} failed: {_one_line(error)}.") from error


def _one_line(error: BaseException) -> str:
    text = one_line(error).rstrip(".")
    where = f" (line {error.lineno})" if isinstance(error, SyntaxError) and "line" not in text else ""
    return f"{type(error).__name__}: {text}{where}" if text else type(error).__name__


@contextmanager
def _named(path: Path, hook: str) -> Iterator[None]:
    """Add a note to an error during a request, so that the log names the plugin."""
    try:
        yield
    except Exception as error:
        error.add_note(f"in {hook} of the plugin {path}")
        raise
