"""Pages and files: the web client below each dataset, its static files, the operator's own pages."""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import quote

from flask import Blueprint, Response, abort, request, send_from_directory

from cxg.errors import DatasetInvalid
from cxg.web import errors
from cxg.web.answers.cache import Answer, negotiate
from cxg.web.client import Client, content_type, is_hashed
from cxg.web.headers import IMMUTABLE, REVALIDATE
from cxg.web.services import current_services, respond
from cxg.web.start_page import routes as gallery
from cxg.web.start_page.summaries import view_problem
from cxg.web.visit.page_data import page_data, with_data

_NOTICE = (
    "position:fixed;bottom:8px;left:50%;transform:translateX(-50%);z-index:30;max-width:40em;padding:8px 12px;"
    "background:#fff8e1;border:1px solid #b7791f"
)
_DEPLOY_CACHE_CONTROL = "public, max-age=300"


def client_blueprint(client: Client) -> Blueprint:
    """Make the routes of the web client's page and files, to mount below a dataset."""
    routes = Blueprint("client", __name__)

    @routes.get("/")
    def page(dataset: str) -> Response:
        # A missing dataset gets a readable answer, and no client.
        try:
            with current_services().catalog.lease(dataset) as opened:
                problem = view_problem(opened, current_services().config.embeddings.names)
                if problem is not None:
                    return gallery.error_page(404, "This dataset cannot be shown", problem)
                current_services().catalog.prefetch(opened)
                current_services().decoded.want(opened)
                described = current_services().descriptions.of(dataset)
                data = page_data(opened, current_services().config, client.version, described.description)
        except DatasetInvalid as error:
            errors.log_failure(error)
            return gallery.error_page(404, "This dataset cannot be opened", str(error))
        content = with_data(_with_notice(client.page, opened.x_problem), data)
        response = Response(content, content_type="text/html; charset=utf-8")
        response.headers["Content-Security-Policy"] = client.policy
        response.headers["Cache-Control"] = "no-cache"
        response.add_etag()
        response.make_conditional(request)
        return response

    @routes.get("/static/<path:file>")
    def static_file(dataset: str, file: str) -> Response:
        return send_client_file(client, file)

    @routes.get("/obsolete.js")
    def obsolete(dataset: str) -> Response:
        # The page requests this file, but the published client does not contain it.
        response = Response(b"", content_type="text/javascript; charset=utf-8")
        response.headers["Cache-Control"] = "public, max-age=86400"
        return response

    return routes


def _with_notice(page: bytes, problem: str | None) -> bytes:
    """Put a sentence at the foot of the client's page, which a visitor can fold away."""
    if problem is None:
        return page
    notice = f'<details open style="{_NOTICE}"><summary>Genes cannot be shown</summary>{escape(problem)}</details>'
    return page.replace(b'<div id="root"></div>', notice.encode("utf-8", "replace") + b'<div id="root"></div>', 1)


def site_blueprint(client: Client, base_url: str, deploy: Path | None) -> Blueprint:
    """Make the routes of files outside the datasets, and the redirect to a dataset's page with its final slash.

    Parameters
    ----------
    base_url : str
        Empty for a single dataset at ``/``.
    deploy : Path or None
        Folder of the operator's own pages (terms, privacy), if any.
    """
    routes = Blueprint("site", __name__)

    @routes.get("/static/<path:file>")
    def shared_file(file: str) -> Response:
        return send_client_file(client, file)

    if deploy is not None:

        @routes.get("/static/cellxgene/deploy/<path:file>")
        def deploy_file(file: str) -> Response:
            response = send_from_directory(deploy, file)
            response.headers["Cache-Control"] = _DEPLOY_CACHE_CONTROL
            return response

    if base_url:
        # The client requests its logo beside the dataset: the page's path with `../static`.
        routes.add_url_rule(f"/{base_url}/static/<path:file>", "beside_file", shared_file)

        @routes.get(f"/{base_url}/<dataset>")
        def add_slash(dataset: str) -> Response:
            # Relative, so it works below any path prefix a proxy adds, and never leads to another host.
            query = f"?{request.query_string.decode('latin-1')}" if request.query_string else ""
            return Response(status=308, headers={"Location": f"./{quote(dataset, safe='')}/{query}"})

    return routes


def send_client_file(client: Client, file: str) -> Response:
    """Answer with a file of the client, compressed once; browsers may keep hashed names for a year."""
    path = client.files.get(file)
    if path is None:
        abort(404)
    encoding = negotiate(request.headers.get("Accept-Encoding", ""))
    stored = current_services().cache.find_or_make(
        ("static", file, "", encoding),
        lambda: Answer(path.read_bytes(), content_type(path)),
        IMMUTABLE if is_hashed(Path(file)) else REVALIDATE,
    )
    return respond(stored)
