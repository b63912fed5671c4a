"""The one table from exception to HTTP status, and the answers that clients get for errors."""

from __future__ import annotations

import json
import logging
import uuid

from flask import Flask, Response, g, request
from gunicorn.http.errors import NoMoreData, ParseException
from werkzeug.exceptions import HTTPException, InternalServerError

from cxg.errors import (
    BodyTooLarge,
    Busy,
    ConfigError,
    CxgError,
    DatasetInvalid,
    DatasetNotFound,
    DatasetReplaced,
    DatasetTooLarge,
    NotAcceptable,
    NotOffered,
    RequestError,
    StorageUnavailable,
    UnsupportedMedia,
    one_line,
)
from cxg.redact import redacted, traceback_text
from cxg.web.headers import NO_STORE
from cxg.web.start_page import routes as gallery

log = logging.getLogger(__name__)

# The first match wins. A damaged dataset is 400, as clients have always known it: the server itself works.
STATUS: tuple[tuple[type[CxgError], int], ...] = (
    (NotAcceptable, 406),
    (UnsupportedMedia, 415),
    (NotOffered, 501),
    (BodyTooLarge, 413),
    (RequestError, 400),
    (DatasetNotFound, 404),
    (DatasetReplaced, 410),
    (DatasetInvalid, 400),
    (DatasetTooLarge, 507),
    (StorageUnavailable, 503),
    (Busy, 429),
    (ConfigError, 500),
)
RETRY_AFTER_S = 5
_TITLES = {
    400: "This cannot be shown",
    404: "Nothing here",
    405: "Not possible here",
    503: "The data cannot be reached at the moment",
    507: "This dataset cannot be shown here",
}


def status_of(error: CxgError) -> int:
    """Return the HTTP status for one of our own errors."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def register(app: Flask) -> None:
    """Answer every exception of `app`: JSON below an API, a readable page elsewhere."""
    app.register_error_handler(CxgError, _ours)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(ParseException, _broken_body)
    app.register_error_handler(NoMoreData, _broken_body)
    app.register_error_handler(MemoryError, _no_memory)
    app.register_error_handler(Exception, _unknown)


def log_failure(error: CxgError, *, with_traceback: bool = False) -> None:
    """Log on one line why the current request failed, with the notes and causes that clients do not get."""
    reasons = list(getattr(error, "__notes__", ()))
    cause = error.__cause__
    while cause is not None:
        text = f"{type(cause).__name__}: {cause}"
        reasons = [reason for reason in reasons if reason not in text] + [text]
        cause = cause.__cause__
    line = f"{request.method} {request.path}: {error}" + (f" [{'; '.join(reasons)}]" if reasons else "")
    told = redacted(one_line(line))
    log.warning("%s", f"{told}\n{traceback_text(error)}" if with_traceback else told)


def _ours(error: CxgError) -> Response:
    status = status_of(error)
    if isinstance(error, DatasetInvalid) or (status >= 500 and status not in (501, 507)):
        log_failure(error, with_traceback=status == 500)
    if isinstance(error, DatasetNotFound):
        g.dataset_not_found = True
    response = _render(status, str(error))
    if status in (429, 503):
        response.headers["Retry-After"] = str(RETRY_AFTER_S)
    return response


def _http(error: HTTPException) -> Response:
    if error.response is not None and error.code is None:
        return error.response  # type: ignore[return-value]
    code = error.code or 500
    if 300 <= code < 400:
        return error.get_response()  # type: ignore[return-value]
    sentence = "There is nothing at this address." if code == 404 else (error.description or error.name)
    response = _render(code, sentence)
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _broken_body(_: ParseException | NoMoreData) -> Response:
    """Answer a body that ends too soon or has malformed chunks, as gunicorn finds when it is read."""
    return _render(400, "The body of the request is incomplete, or its chunks are malformed.")


def _no_memory(error: MemoryError) -> Response:
    """Answer that memory is short: with fewer visitors at a time the same request may succeed."""
    return _ours(StorageUnavailable("There is not enough memory for this answer now; try again soon."))


def _unknown(error: Exception) -> Response:
    """Answer a fault of the server: log it with an id, and tell the client only the id."""
    mark = uuid.uuid4().hex[:12]
    log.error("request %s failed: %s %s\n%s", mark, request.method, request.path, traceback_text(error))
    code = InternalServerError.code
    response = _render(code, f"Something went wrong on the server. If you report it, give the id {mark}.")
    response.headers["X-Request-ID"] = mark
    return response


def _render(status: int, sentence: str) -> Response:
    if "/api/" in request.path or request.path.startswith("/health"):
        response = Response(json.dumps({"message": sentence}), status, content_type="application/json")
    else:
        response = gallery.error_page(status, _TITLES.get(status, "Something went wrong"), sentence)
    response.headers["Cache-Control"] = NO_STORE
    return response
