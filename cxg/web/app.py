"""The application: one Flask app made from a configuration."""

from __future__ import annotations

import logging
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

from flask import Flask, Response, g, redirect, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.wrappers import Response as BaseResponse

from cxg import __version__, memory, plugins
from cxg.config import Config
from cxg.config.runtime import NO_VARIABLES, Runtime
from cxg.datasets.catalog import Catalog
from cxg.datasets.dataroot import Dataroot, SingleRoot
from cxg.datasets.opening import USUAL_TIMES, Root, Times
from cxg.decoded.cache import DecodedCache
from cxg.descriptions.store import Descriptions, LookTimes
from cxg.errors import ConfigError
from cxg.memory_bounds import FILTER_BYTES, MB
from cxg.redact import redacted
from cxg.sharing.token import key_problem
from cxg.storage.cache_folder import cache_folder
from cxg.storage.storage import Storage
from cxg.timeouts.calls import timed_calls
from cxg.web import errors
from cxg.web.access.gate import Gate
from cxg.web.access.rules import Rules
from cxg.web.access.share_links import ShareLinks
from cxg.web.access.visitors import source_of
from cxg.web.answers.cache import AnswerCache
from cxg.web.answers.kept import API
from cxg.web.answers.middleware import CachedAnswers
from cxg.web.answers.versioned import VersionedAddresses
from cxg.web.client import default_folder, load_client
from cxg.web.cross_origin import CrossOrigin
from cxg.web.expression.routes import expression_blueprint
from cxg.web.headers import NO_STORE, REVALIDATE, plain_policy, security_headers
from cxg.web.limits.admission import Admission
from cxg.web.limits.client_address import ClientAddress
from cxg.web.readiness import Readiness
from cxg.web.routes import data, markers, meta, pages
from cxg.web.services import Services
from cxg.web.start_page import routes as gallery

# Datasets the list holds open while it reads their titles and draws their pictures, and for how long.
_LISTED_OPEN, _LISTED_OPEN_S = 4, 60.0


def create_app(
    config: Config,
    client_dir: Path | None = None,
    runtime: Runtime = NO_VARIABLES,
    plan: memory.MemoryPlan | None = None,
    times: Times = USUAL_TIMES,
) -> Flask:
    """Make the application. Nothing is read from the dataroot and no TileDB context is made yet.

    Parameters
    ----------
    config : Config
        It must set `multi_dataset.dataroot` or `single_dataset.datapath`.
    client_dir : Path or None
        Folder of the built web client; by default that of `runtime`.
    runtime : Runtime
        Folders of the client, pages, scripts, plugins and copies; secret key; how to reach S3.
    plan : memory.MemoryPlan or None
        Shares of memory; by default worked out from the machine or container.
    times : Times
        How often the catalogs look for changes.

    Raises
    ------
    ConfigError
        No dataset is configured, the web client is missing, a plugin cannot be loaded.
    """
    site = _make_services(config, plan or memory.plan(runtime), runtime, times)
    base_url = "" if isinstance(site.catalog.root, SingleRoot) else config.multi_dataset.base_url
    hooks = plugins.load(_folder("CXG_PLUGINS_DIR", runtime.plugins_dir))
    scripts = _folder("CXG_INLINE_SCRIPTS_DIR", runtime.inline_scripts_dir)
    rules = Rules(config.access, site.descriptions, is_single=not base_url, clock=times.clock)
    key = runtime.secret_key or config.server.flask_secret_key
    links = _share_links(site, base_url, key, times) if base_url and key_problem(key) is None else None
    gate = Gate(config.access, rules, source_of(config.access, hooks), links)
    client = load_client(client_dir or default_folder(runtime), config, scripts)

    app = Flask("cxg", static_folder=None)
    app.extensions["cxg"] = site
    app.secret_key = key
    # Our own routes read bodies by `cxg.web.limits.bodies`; this is for those of plugins.
    app.config["MAX_CONTENT_LENGTH"] = FILTER_BYTES
    # "//" is not "/": a name cannot begin with a slash, and a redirect would hide that.
    app.url_map.merge_slashes = False
    errors.register(app)
    # A plugin's header wins over ours of the same name.
    chosen = {name.lower(): (name, value) for name, value in (*security_headers(config), *hooks.extra_headers)}
    headers = tuple(chosen.values())
    _register_policies(app, config, headers)
    app.register_blueprint(meta.health)
    app.register_blueprint(pages.site_blueprint(client, base_url, _folder("CXG_DEPLOY_DIR", runtime.deploy_dir)))
    _check_logo(config, runtime)
    app.register_blueprint(_index(site, config, base_url, times, gate))
    below = f"/{base_url}/<dataset>" if base_url else ""
    for blueprint, prefix in (
        (meta.routes, f"/{API}"),
        (data.routes, f"/{API}"),
        (markers.routes, f"/{API}"),
        *([(expression_blueprint(plain_policy(config)), "")] if config.visit.take_away else []),
        (pages.client_blueprint(client), ""),
    ):
        app.register_blueprint(blueprint, url_prefix=below + prefix or None)
    if not base_url:
        app.url_value_preprocessor(_name_the_single_dataset(app))
    gate.attach(app)
    hooks.attach(app)
    app.wsgi_app = ClientAddress(app.wsgi_app, config.server.trusted_proxies)  # type: ignore[method-assign]
    # Redirects are relative, but a plugin may build absolute URLs, and force_https needs the scheme. Scheme and
    # prefix change only the answer to this one request, so they are taken from anybody.
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=0, x_proto=1, x_host=0, x_prefix=1)  # type: ignore[method-assign]
    if not (
        hooks.sees_requests or config.server.force_https or config.server.server_timing_headers or config.server.verbose
    ):
        app.wsgi_app = CachedAnswers(app.wsgi_app, site.catalog, site.cache, base_url, headers, gate.is_open)  # type: ignore[method-assign]
    if config.server.embed_origins:
        app.wsgi_app = CrossOrigin(app.wsgi_app, config.server.embed_origins)  # type: ignore[method-assign]
    app.wsgi_app = VersionedAddresses(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _make_services(config: Config, plan: memory.MemoryPlan, runtime: Runtime, times: Times) -> Services:
    timed_calls.most_slow = max(1, plan.threads // 2)
    cache_on_disk = cache_folder(runtime)
    storage = Storage(config, runtime, cache_on_disk, plan.open_mb, plan.dataset_mb)
    dataroot, datapath = config.multi_dataset.dataroot, config.single_dataset.datapath
    if not dataroot and not datapath:
        raise ConfigError(
            "No data is configured: set multi_dataset.dataroot, or CXG_DATAROOT, to where the datasets are."
        )
    root: Root = Dataroot(storage, dataroot) if dataroot else SingleRoot(storage, str(datapath))
    limits = config.multi_dataset.matrix_cache
    catalog = Catalog(storage, root, limits.max_datasets, limits.timelimit_s, times)
    caching = REVALIDATE if config.server.generate_cache_control_headers else NO_STORE
    version = blake2b(f"{__version__}\0{config!r}".encode(), digest_size=12).hexdigest()
    # Two threads are left for those who want something else.
    work = Admission(plan.making_mb * MB, plan.threads - 2)
    cache = AnswerCache(plan.answers_mb * MB, version, caching, work.memory)
    decoded = DecodedCache(catalog, cache_on_disk, work.background_scan)
    descriptions = Descriptions(storage, root, LookTimes(times.describe_s, times.describe_s, times.clock))
    return Services(config, catalog, cache, work, Readiness(catalog), decoded, descriptions)


def _share_links(site: Services, base_url: str, key: str | None, times: Times) -> ShareLinks:
    return ShareLinks(str(key), site.descriptions.folder, base_url, times.clock)


def _index(site: Services, config: Config, base_url: str, times: Times, gate: Gate) -> Any:
    links = [
        (text, link)
        for text, link in (
            ("Terms of service", config.server.about_legal_tos),
            ("Privacy policy", config.server.about_legal_privacy),
        )
        if link
    ]
    # A catalog of its own: looking at the list must not close the datasets that visitors have open.
    storage, root = site.catalog.storage, site.catalog.root
    catalog = Catalog(storage, root, _LISTED_OPEN, _LISTED_OPEN_S, times) if base_url else None
    return gallery.blueprint(
        catalog,
        base_url,
        config.multi_dataset.index,
        links,
        policy=plain_policy(config),
        offered=config.embeddings.names,
        caching=REVALIDATE if config.server.generate_cache_control_headers else NO_STORE,
        site=config.site,
        descriptions=site.descriptions,
        narrow=gate.narrow,
    )


def _check_logo(config: Config, runtime: Runtime) -> None:
    """Raise ConfigError when there is no such picture in the folder of the site's own files."""
    logo, folder = config.site.logo, runtime.deploy_dir
    if logo is not None and (folder is None or not (folder / logo).is_file()):
        raise ConfigError(f"site.logo names {logo!r}, but there is no such file in {folder or 'customize/deploy'}.")


def _register_policies(app: Flask, config: Config, headers: tuple[tuple[str, str], ...]) -> None:
    log = logging.getLogger("cxg.requests")
    if config.server.verbose or config.server.debug:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("cxg").setLevel(logging.DEBUG if config.server.debug else logging.INFO)

    @app.before_request
    def start() -> BaseResponse | None:
        g.started_s = time.perf_counter()
        if config.server.force_https and not request.is_secure and not request.path.startswith("/health"):
            secure = redirect(request.url.replace("http://", "https://", 1), 301)
            # The client chose the host, so no cache may send somebody else there.
            secure.headers["Cache-Control"] = NO_STORE
            return secure
        return None

    @app.after_request
    def finish(response: Response) -> Response:
        for name, value in headers:
            response.headers.setdefault(name, value)
        elapsed_ms = (time.perf_counter() - g.started_s) * 1000 if "started_s" in g else 0.0
        if config.server.server_timing_headers:
            response.headers["Server-Timing"] = f"total;dur={elapsed_ms:.1f}"
        if log.isEnabledFor(logging.INFO):
            address = redacted(request.full_path)
            log.info("%s %s %s %.1f ms", request.method, address, response.status_code, elapsed_ms)
        return response


def _name_the_single_dataset(app: Flask) -> Any:
    """Routes take the dataset's name; a single dataset has the empty one."""
    mounted = frozenset({"meta", "data", "markers", "expression", "client"})

    def fill_in(endpoint: str | None, values: dict[str, Any] | None) -> None:
        if endpoint and values is not None and endpoint.partition(".")[0] in mounted:
            values["dataset"] = ""

    return fill_in


def _folder(variable: str, folder: Path | None) -> Path | None:
    """Return the folder that an environment variable names; None when it is not set.

    Raises
    ------
    ConfigError
        It is set, but there is no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"{variable} names {folder}, which is not a folder: correct it or leave it out.")
    return folder
