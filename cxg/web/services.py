"""The services that routes share: configuration, catalog, answer cache, and the making of responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from flask import Response, current_app, request

from cxg.config import Config
from cxg.datasets.catalog import Catalog
from cxg.decoded.cache import DecodedCache
from cxg.descriptions.store import Descriptions
from cxg.errors import DatasetInvalid, DatasetReplaced, NotAcceptable, StorageUnavailable
from cxg.format.dataset import Dataset
from cxg.web.answers.cache import NOT_MODIFIED_HEADERS, AnswerCache, Planned, Stored, accepts, matches, negotiate
from cxg.web.answers.kept import KEPT_ROUTES, answer_key, split_path
from cxg.web.answers.versioned import check_version, lasting, version_of
from cxg.web.limits.admission import Admission
from cxg.web.readiness import Readiness

T = TypeVar("T")

# A request for another version makes the server list the files again, unless it did so within this time.
_LISTED_S = 2.0


@dataclass(frozen=True)
class Services:
    """The parts of one application.

    Attributes
    ----------
    work : Admission
        Bounds the memory of answers while they are made, so that it stays within the memory plan.
    """

    config: Config
    catalog: Catalog
    cache: AnswerCache
    work: Admission
    readiness: Readiness
    decoded: DecodedCache
    descriptions: Descriptions

    def serve(
        self,
        name: str,
        plan: Callable[[Dataset], Planned],
        mimetype: str | None,
        body: bytes = b"",
    ) -> Response:
        """Answer from the dataset called `name`, from the cache where possible.

        Parameters
        ----------
        plan : callable
            Makes the selection in the open dataset and checks the limits; the answer is made when there is room for
            the selection.
        mimetype : str or None
            The answer's content type, checked against the Accept header unless None.
        body : bytes
            Of a POST: tells answers apart beside the URL.

        Raises
        ------
        NotAcceptable
            The client does not accept `mimetype`.
        """
        if mimetype is not None and not accepts(request.headers.get("Accept"), mimetype):
            raise NotAcceptable(f"This route answers with {mimetype}, which the Accept header excludes.")
        encoding = negotiate(request.headers.get("Accept-Encoding", ""))

        def read(dataset: Dataset) -> Stored:
            key = answer_key(request.environ, dataset.identity, encoding, body)
            return self.cache.find_or_plan(key, lambda: plan(dataset), files=dataset.fingerprint)

        return respond(self.with_dataset(name, read))

    def serve_kept(self, name: str, plan: Callable[[Dataset], Planned]) -> Response:
        """Answer one of the `KEPT_ROUTES` as `serve` does; the middleware answers it from then on.

        A request for data has the dataset decoded, also where nobody opened its page.
        """

        def plan_and_decode(dataset: Dataset) -> Planned:
            self.decoded.request(dataset)
            return plan(dataset)

        return self.serve(name, plan_and_decode, KEPT_ROUTES[split_path(request.path)[1]])

    def version_of(self, dataset: Dataset) -> str:
        """Return the version of a dataset as addresses name it."""
        return version_of(dataset.fingerprint, self.cache.version)

    def with_dataset(self, name: str, read: Callable[[Dataset], T]) -> T:
        """Lease a dataset and read from it; once more if it was replaced meanwhile.

        Raises
        ------
        CxgError
            The lease or `read` failed, also the second time if there was one; or the address of the request names
            a version of other files.
        """
        self.decoded.note_activity()
        with self.catalog.lease(name) as dataset:
            # Every worker that gets a request prefetches, not only the one that served the page.
            self.catalog.prefetch(dataset)
            before = dataset.identity
            try:
                check_version(request.environ, dataset.fingerprint)
                return read(dataset)
            except (DatasetInvalid, DatasetReplaced, StorageUnavailable) as error:
                failure = error
        # Another server may have seen a change before this one. The bound keeps clients from making this
        # server list the dataset with every request.
        self.catalog.recheck(name, older_than_s=_LISTED_S if isinstance(failure, DatasetReplaced) else 0.0)
        try:
            with self.catalog.lease(name, wait=True) as dataset:
                if dataset.identity == before:
                    raise failure
                check_version(request.environ, dataset.fingerprint)
                return read(dataset)
        finally:
            # The error refers to this frame, so both would keep the request's body until the next garbage collection.
            del failure


def current_services() -> Services:
    """Return the services of the current application."""
    return cast("Services", current_app.extensions["cxg"])


def respond(stored: Stored) -> Response:
    """Turn a stored answer into a response: 304 when the client has it already."""
    unchanged = matches(request.headers.get("If-None-Match", ""), stored.etag)
    response = Response(b"" if unchanged else stored.body, 304 if unchanged else 200)
    response.headers.clear()
    # Other answers follow the dataset's description too, which may change without its files.
    is_data = split_path(request.path)[1] in KEPT_ROUTES
    headers = lasting(stored.headers, request.environ, stored.version) if is_data else stored.headers
    for header, value in headers:
        if not unchanged or header in NOT_MODIFIED_HEADERS:
            response.headers[header] = value
    return response
