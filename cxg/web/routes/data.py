"""Binary routes: annotations, embeddings, expression, gene set means; and differential expression."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import sha1

import numpy as np
from flask import Blueprint, Response, request
from numpy.typing import NDArray

from cxg.compute.embedding import scale_embedding
from cxg.errors import BadFilter, Busy, LimitExceeded, NotOffered, UnknownColumn, UnsupportedMedia
from cxg.format.columns import ColumnValues, Labels
from cxg.format.dataset import Dataset
from cxg.format.selection import Filter, quoted, select
from cxg.format.text import Text
from cxg.memory_bounds import GENE_GROUP_VALUES, PARSE_TIMES, SUMMARY_BYTES
from cxg.web.answers.cache import Answer, Planned
from cxg.web.answers.kept import BINARY, JSON
from cxg.web.headers import DATASET_VERSION, NO_STORE
from cxg.web.limits.bodies import discard_body, read_filter_body
from cxg.web.limits.client_address import client_share
from cxg.web.limits.sizes import (
    annotation_size,
    column_objects_bytes,
    embedding_size,
    gene_sizes,
    plan_columns,
    selection_bytes,
)
from cxg.web.routes.comparison import compare, read_request, rows_bytes
from cxg.web.routes.meta import offered_embeddings
from cxg.web.services import current_services
from cxg.wire.diffexp import DiffexpRequest
from cxg.wire.fbs import ColumnData, encode_matrix
from cxg.wire.filters import parse_filter_body, parse_var_query, query_values
from cxg.wire.json_array import json_labels, json_text

_FORM = "application/x-www-form-urlencoded"

routes = Blueprint("data", __name__)


@routes.get("/annotations/<any(obs, var):axis>")
def read_annotations(dataset: str, axis: str) -> Response:
    """Answer with annotation columns by name; all of them when none is named."""
    names = _distinct(request.args.getlist("annotation-name"), "annotations")

    def plan(opened: Dataset) -> Planned:
        annotations, decoded = opened.annotations(axis), current_services().decoded
        wanted = names or [column.name for column in annotations.columns]
        _check_count(len(wanted), "annotations")
        for name in wanted:
            annotations.column(name)
        sizes = [annotation_size(annotations, name) for name in wanted]

        def make() -> Answer:
            columns = [
                _column_data(decoded.obs_column(opened, name) if axis == "obs" else annotations.read(name))
                for name in wanted
            ]
            return _matrix(columns, wanted, annotations.n)

        return plan_columns(sizes, "annotations", current_services().work.room_bytes, make)

    return current_services().serve_kept(dataset, plan)


@routes.put("/annotations/obs")
@routes.put("/genesets")
@routes.put("/layout/obs")
def refuse_write(dataset: str) -> Response:
    """Refuse to write, since this server is read-only."""
    raise NotOffered("This server is read-only: annotations, gene sets and embeddings cannot be saved.")


@routes.get("/layout/obs")
def read_layout(dataset: str) -> Response:
    """Answer with embeddings by name, scaled to the unit square; all of them when none is named."""
    names = _distinct(request.args.getlist("layout-name"), "embeddings")

    def plan(opened: Dataset) -> Planned:
        offered = offered_embeddings(opened)
        if not offered:
            raise NotOffered("This dataset has no embedding.")
        wanted = names or list(offered)
        _check_count(len(wanted), "embeddings")
        for name in wanted:
            if name not in offered:  # left out by configuration, or not there at all
                raise UnknownColumn(f"There is no embedding called {quoted(name)}.")
        sizes = [embedding_size(opened.n_obs)] * len(wanted)
        return plan_columns(sizes, "embeddings", current_services().work.room_bytes, lambda: _layout(opened, wanted))

    return current_services().serve_kept(dataset, plan)


@routes.get("/data/var")
def read_expression(dataset: str) -> Response:
    """Answer with the expression of the genes that a query filter selects, a column for each."""
    wanted = parse_var_query(request.query_string)
    return current_services().serve_kept(dataset, lambda opened: _expression(opened, lambda: wanted))


@routes.put("/data/var")
def read_expression_by_body(dataset: str) -> Response:
    """Answer as `read_expression`, with the filter as JSON in the body."""
    if request.mimetype != JSON:
        raise UnsupportedMedia("The body must be declared as application/json.")
    body = read_filter_body("a filter needs no more", current_services().work)

    def plan(opened: Dataset) -> Planned:
        return _expression(opened, lambda: parse_filter_body(body, "var"), len(body))

    response = current_services().serve(dataset, plan, BINARY, body)
    response.headers["Cache-Control"] = NO_STORE
    return response


@routes.get("/summarize/var")
def read_summary(dataset: str) -> Response:
    """Answer with the mean over a set of genes, for each cell."""
    query = request.query_string
    _check_method(request.args.getlist("method"))
    return current_services().serve_kept(dataset, lambda opened: _summary(opened, query))


@routes.post("/summarize/var")
def read_summary_by_body(dataset: str) -> Response:
    """Answer as `read_summary`, for sets too long for a URL: the query comes as a form body."""
    if request.mimetype != _FORM:
        raise UnsupportedMedia(f"The body must be declared as {_FORM}.")
    body = read_filter_body("a gene set needs no more", current_services().work)
    key = request.args.get("key")
    if key is not None and key != _query_hash(body):
        raise BadFilter("The 'key' is not the SHA-1 hash of the body.")
    _check_method(query_values(body, "method"))
    response = current_services().serve(dataset, lambda opened: _summary(opened, body), BINARY, b"summary " + body)
    response.headers["Cache-Control"] = NO_STORE
    return response


@routes.post("/diffexp/obs")
def compare_cells(dataset: str) -> Response:
    """Answer with the genes that differ most between two sets of cells."""
    site = current_services()
    if not site.config.diffexp.enable:
        raise NotOffered("Differential expression is switched off on this server.")
    if request.mimetype != JSON:
        raise UnsupportedMedia("The body must be declared as application/json.")
    share = client_share(request.remote_addr), dataset
    try:
        site.work.turns.refuse_if_full(*share)
    except Busy:
        discard_body()
        raise
    requested: list[DiffexpRequest] = []

    def read(opened: Dataset) -> tuple[bytes, str]:
        # The dataset determines how long the body may be. It can be read only once, so a second call uses the result.
        if not requested:
            requested.append(read_request(opened, site.work, site.config.diffexp.top_n))
        wanted = requested[0]
        with site.work.memory(rows_bytes(wanted, opened.n_obs)):
            sets = wanted.rows(opened.n_obs, opened.obs.read, site.config.limits.diffexp_cellcount_max)
        site.decoded.want(opened)
        with site.work.long_read(*share) as turn:
            expression = site.decoded.expression(opened)
            found = compare(opened, expression, *sets, wanted.top_n, site.config.diffexp.lfc_cutoff, turn.pause)
        return found, opened.fingerprint

    answer, version = site.with_dataset(dataset, read)
    # The client compares the content type as a whole: no charset may follow.
    return Response(answer, content_type=JSON, headers={"Cache-Control": NO_STORE, DATASET_VERSION: version})


def _layout(opened: Dataset, names: Sequence[str]) -> Answer:
    columns: list[ColumnData] = []
    labels: list[str] = []
    for name in names:
        scaled = scale_embedding(current_services().decoded.embedding(opened, name))
        for dimension in (0, 1):
            columns.append(np.ascontiguousarray(scaled[:, dimension]))
            labels.append(f"{name}_{dimension}")
    return _matrix(columns, labels, opened.n_obs)


def _expression(opened: Dataset, parse: Callable[[], Filter], body_bytes: int = 0) -> Planned:
    """Plan the columns of the genes that a filter selects; the filter may come in a body."""
    work = current_services().work
    genes = _selected(opened, parse, body_bytes)
    if genes is None:
        raise BadFilter(f"The request needs a filter that names genes, for example var:{opened.var.index}=NAME.")
    _check_count(len(genes), "genes")
    sizes, together = gene_sizes(len(genes), opened.n_obs, work.room_bytes)
    expression = current_services().decoded.expression(opened)

    def make() -> Answer:
        columns: list[ColumnData] = []
        for start in range(0, len(genes), together):
            part = genes[start : start + together]
            values = expression.read_columns(part)
            columns += [values[:, i] for i in range(len(part))]
        return _matrix(columns, genes.astype(np.int32), opened.n_obs)

    return plan_columns(sizes, "genes", work.room_bytes, make)


def _summary(opened: Dataset, query: bytes) -> Planned:
    """Plan the mean of the matched genes; zeros when none matches, as for a set that is still empty."""
    # A filter without any condition is an error for expression, but here it is an empty gene set.
    genes = _selected(opened, lambda: parse_var_query(query), len(query))
    # This reserves no room yet: the reading counts as one long read, and only the mean as an answer.
    mean = _mean(opened, np.zeros(0, np.int64) if genes is None else genes)
    return Planned(SUMMARY_BYTES * opened.n_obs, lambda: _matrix([mean], [_query_hash(query)], opened.n_obs))


def _mean(opened: Dataset, genes: NDArray[np.int64]) -> NDArray[np.float32]:
    """Compute the mean of some genes in every cell, (n_obs,)."""
    expression = current_services().decoded.expression(opened)
    step = max(1, GENE_GROUP_VALUES // max(1, opened.n_obs))
    with current_services().work.long_read(client_share(request.remote_addr), opened.name) as turn:
        total = np.zeros(opened.n_obs, np.float64)
        for start in range(0, len(genes), step):
            total += expression.sum_columns(genes[start : start + step])
            turn.pause()
        total /= max(1, len(genes))
        return total.astype(np.float32)


def _selected(opened: Dataset, parse: Callable[[], Filter], body_bytes: int) -> NDArray[np.int64] | None:
    """Find the genes that a filter selects, which may come in a body; None when it has no condition."""
    work = current_services().work
    with work.memory(PARSE_TIMES * body_bytes + column_objects_bytes(opened.n_var) if body_bytes else 0):
        wanted = parse()
        if wanted.is_empty:
            return None
        if body_bytes:
            return select_genes(opened, wanted)
    with work.memory(selection_bytes(opened, wanted)):
        return select_genes(opened, wanted)


def select_genes(opened: Dataset, wanted: Filter) -> NDArray[np.int64]:
    """Find the positions of the genes that a filter selects; exact names are looked up, not searched."""
    if wanted.axis != "var":
        raise BadFilter("Only a filter on var is possible here.")

    def lookup(column: str, value: str) -> Sequence[int] | None:
        return opened.gene_positions.find(value) if column == opened.var.index else None

    return select(wanted, opened.n_var, opened.var.read, lookup)


def _column_data(values: ColumnValues) -> ColumnData:
    if isinstance(values, Labels):
        return json_labels(values.codes, values.categories)
    if isinstance(values, Text):
        return json_text(values)
    return values.values


def _matrix(columns: Sequence[ColumnData], labels: Sequence[str] | NDArray[np.int32], n_rows: int) -> Answer:
    return Answer(encode_matrix(columns, labels, n_rows), BINARY)


def _distinct(names: list[str], what: str) -> list[str]:
    """Check the requested names; a repeated one would give an answer with equal labels, which no client can read."""
    _check_count(len(names), what)
    for name in names:
        if names.count(name) > 1:
            raise BadFilter(f"The request names {quoted(name)} more than once.")
    return names


def _check_count(count: int, what: str) -> None:
    most = current_services().config.limits.column_request_max
    if most and count > most:
        raise LimitExceeded(f"One request asked for {count} {what}; at most {most} are allowed.")


def _check_method(methods: Iterable[str]) -> None:
    for method in methods:
        if method != "mean":
            raise BadFilter(f"There is no summary method {quoted(method)}; the only one is mean.")


def _query_hash(query: bytes) -> str:
    """Make the label of a summary: SHA-1 of the raw query, by which the web client finds its answer."""
    return sha1(query, usedforsecurity=False).hexdigest()
