"""JSON routes: schema, config, colors, gene sets, health."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from flask import Blueprint, Response, request

from cxg import __version__
from cxg.config import SingleDataset
from cxg.descriptions.beside import GENE_SETS_MAX_BYTES
from cxg.errors import DatasetInvalid, NotAcceptable
from cxg.format.annotations import Annotations
from cxg.format.columns import Column, Labels
from cxg.format.dataset import Dataset
from cxg.format.genesets import known_genes
from cxg.format.text import Text
from cxg.memory_bounds import METADATA_TIMES
from cxg.web.answers.cache import Answer, Planned
from cxg.web.answers.kept import JSON
from cxg.web.errors import log_failure
from cxg.web.headers import NO_STORE
from cxg.web.limits.sizes import annotation_size, column_objects_bytes, json_bytes
from cxg.web.services import current_services

# Grey for labels that no colour table has: missing values, and the rest of a long list.
NO_COLOR = "#c0c0c0"
_CSV = "text/csv"
_GENESET_FIELDS = ("gene_set_name", "gene_set_description", "gene_symbol", "gene_description")

routes = Blueprint("meta", __name__)
health = Blueprint("health", __name__)


@routes.get("/schema")
def read_schema(dataset: str) -> Response:
    """Answer with the dataset's schema: sizes, columns, embeddings."""
    return _json_route(dataset, lambda opened: {"schema": schema(opened)})


@routes.get("/config")
def read_config(dataset: str) -> Response:
    """Answer with the web client's configuration for this dataset; not kept, as it follows its description too."""
    described = current_services().descriptions.of(dataset)
    title = described.description.title
    return _json_route(dataset, lambda opened: {"config": client_config(opened, title)}, described.version.encode())


@routes.get("/colors")
def read_colors(dataset: str) -> Response:
    """Answer with the colours of labels, for the columns whose table is complete."""
    try:
        return _json_route(dataset, colors)
    except DatasetInvalid as error:
        log_failure(error)
        # A second read of the same files failed too, so a column is damaged: the others keep their colours.
        return _json_route(dataset, partial(colors, skip_damaged=True), b"without the damaged")


@routes.get("/genesets")
def read_genesets(dataset: str) -> Response:
    """Answer with the gene sets of the description, else those stored in the dataset, as JSON or as tidy CSV."""
    chosen = request.accept_mimetypes.best_match((JSON, _CSV)) if request.accept_mimetypes else JSON
    if chosen is None:
        raise NotAcceptable("Gene sets come as application/json or text/csv; the Accept header excludes both.")
    version = current_services().descriptions.of(dataset).version.encode()
    if chosen == JSON:
        response = _json_route(dataset, lambda opened: {"genesets": genesets(opened), "tid": 0}, version)
    else:
        response = current_services().serve(dataset, _plan_csv, None, b"csv" + version)
        response.headers["Content-Disposition"] = "attachment; filename=genesets.csv"
    response.vary.add("Accept")
    return response


def schema(opened: Dataset) -> dict[str, Any]:
    """Make the schema; X is always sent as float32."""
    return {
        "dataframe": {"nObs": opened.n_obs, "nVar": opened.n_var, "type": "float32"},
        "annotations": {"obs": _axis_schema(opened.obs), "var": _axis_schema(opened.var)},
        "layout": {
            "obs": [
                {"name": name, "type": "float32", "dims": [f"{name}_0", f"{name}_1"]}
                for name in offered_embeddings(opened)
            ]
        },
    }


def offered_embeddings(opened: Dataset) -> tuple[str, ...]:
    """Return the embeddings in the order to offer them: those that the configuration names, else all."""
    named = current_services().config.embeddings.names
    return tuple(name for name in named if name in opened.embeddings) if named else opened.embeddings


def client_config(opened: Dataset, title: str | None = None) -> dict[str, Any]:
    """Make the client's configuration: every key that the web client reads, for a read-only server.

    Parameters
    ----------
    opened : Dataset
    title : str or None
        As the description says; None takes that of the CXG.
    """
    config = current_services().config
    # Settings for one dataset; with a dataroot they would apply to all.
    single = config.single_dataset if config.single_dataset.datapath else SingleDataset()
    offered = offered_embeddings(opened)
    default = opened.default_embedding if not config.embeddings.names else None
    parameters: dict[str, Any] = {
        "annotations": False,
        "annotations_genesets": True,
        "annotations_genesets_readonly": True,
        "annotations_genesets_name_is_read_only": True,
        "annotations_genesets_summary_methods": ["mean"],
        "annotations-data-collection-is-read-only": True,
        "annotations-data-collection-name": None,
        "custom_colors": config.presentation.custom_colors,
        "diffexp-may-be-slow": False,
        "diffexp_lfc_cutoff": config.diffexp.lfc_cutoff,
        "disable-diffexp": not config.diffexp.enable or opened.x_problem is not None,
        "max-category-items": config.presentation.max_categories,
        "obs_names": opened.obs.index,
        "var_names": opened.var.index,
        "default_embedding": default if default in offered else next(iter(config.embeddings.names and offered), None),
        "about_legal_tos": config.server.about_legal_tos,
        "about_legal_privacy": config.server.about_legal_privacy,
    }
    limits, corpora = config.limits, opened.corpora
    if title is not None and corpora is not None and "title" in corpora:
        # The client shows this one in place of the other for some versions of the portal's schema.
        corpora = {**corpora, "title": title}
    return {
        "displayNames": {"engine": "cellxgene-eb", "dataset": single.title or title or opened.title},
        "library_versions": {"cellxgene": f"cellxgene-eb {__version__}"},
        "links": {"about-dataset": single.about or opened.about},
        "corpora_props": corpora,
        "limits": {
            "column_request_max": limits.column_request_max,
            "diffexp_cellcount_max": limits.diffexp_cellcount_max,
        },
        "parameters": {key: value for key, value in parameters.items() if value is not None},
    }


def colors(opened: Dataset, *, skip_damaged: bool = False) -> dict[str, dict[str, str]]:
    """Collect the colour tables that cover every label of their column; others would break the client's graph.

    Parameters
    ----------
    skip_damaged : bool
        Leave out a column that cannot be read, as if it had no colours.

    Raises
    ------
    DatasetInvalid, StorageUnavailable
        A column cannot be read.
    """
    config = current_services().config
    if not config.presentation.custom_colors:
        return {}
    found = {}
    for column in opened.obs.columns:
        table = opened.colors.get(column.name)
        if not table or column.type not in ("categorical", "string", "boolean"):
            continue
        try:
            labels = _labels(opened, column)
        except DatasetInvalid:
            if skip_damaged:
                continue
            raise
        if all(label in table for label in labels):
            chosen = {label: table[label] for label in labels}
            chosen.setdefault("null", NO_COLOR)
            chosen.setdefault("NaN", NO_COLOR)
            if len(labels) > config.presentation.max_categories:
                chosen[f"{column.name}: all other labels"] = NO_COLOR
            found[column.name] = chosen
    return found


def genesets(opened: Dataset) -> list[dict[str, Any]]:
    """Return the gene sets with only the genes that the dataset has; none where there is no expression.

    Those of the file that the description names win over those stored in the dataset.
    """
    if opened.x_problem is not None:
        return []
    services, sets = current_services(), opened.genesets
    if services.descriptions.of(opened.name).description.gene_sets is not None:
        with services.work.memory(METADATA_TIMES * GENE_SETS_MAX_BYTES):
            named = services.descriptions.gene_sets(opened.name)
            sets = sets if named is None else known_genes(named, opened.gene_positions)
    return known_genes(sets, opened.gene_positions) if sets else []


def genesets_csv(sets: list[dict[str, Any]]) -> bytes:
    """Write the gene sets as tidy CSV (RFC 4180): a line for each gene, one with empty gene fields for an empty set."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(_GENESET_FIELDS)
    for entry in sets:
        for gene in entry["genes"] or [{"gene_symbol": "", "gene_description": ""}]:
            writer.writerow(
                (entry["geneset_name"], entry["geneset_description"], gene["gene_symbol"], gene["gene_description"])
            )
    return text.getvalue().encode("utf-8", "replace")


@health.get("/health/live")
def live() -> Response:
    """Report that the process answers, without any other check."""
    return _health(None)


@health.get("/health")
@health.get("/health/ready")
def ready() -> Response:
    """Report whether the dataroot answers too."""
    return _health(current_services().readiness.problem())


def _health(problem: str | None) -> Response:
    body: dict[str, Any] = {"status": "pass" if problem is None else "fail", "version": "1", "releaseID": __version__}
    if problem is not None:
        body["output"] = problem
    status = 200 if problem is None else 503
    return Response(
        json.dumps(body), status, content_type="application/health+json", headers={"Cache-Control": NO_STORE}
    )


def _json_route(dataset: str, find: Callable[[Dataset], Any], key: bytes = b"") -> Response:
    def plan(opened: Dataset) -> Planned:
        # The value refers to texts that the open dataset holds in memory.
        value = find(opened)

        def make() -> Answer:
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            # Metadata may hold half a surrogate pair, which UTF-8 cannot.
            return Answer(text.encode("utf-8", "replace"), JSON)

        return Planned(json_bytes(value), make)

    return current_services().serve(dataset, plan, None, key)


def _plan_csv(opened: Dataset) -> Planned:
    content = genesets_csv(genesets(opened))
    return Planned(len(content), lambda: Answer(content, _CSV))


def _axis_schema(annotations: Annotations) -> dict[str, Any]:
    columns = []
    for column in annotations.columns:
        entry: dict[str, Any] = {"name": column.name, "type": column.type, "writable": False}
        if column.categories is not None:
            entry["categories"] = list(column.categories)
        columns.append(entry)
    return {"index": annotations.index, "columns": columns}


def _labels(opened: Dataset, column: Column) -> list[str]:
    """Return the labels that a column can show, as the web client writes them."""
    if column.categories is not None and opened.obs.is_coded(column.name):
        return [_js_text(label) for label in column.categories]
    size = annotation_size(opened.obs, column.name)
    objects = 2 * column_objects_bytes(opened.n_obs) if opened.obs.text_bytes(column.name) is not None else 0
    with current_services().work.memory(size.encoded_bytes + size.working_bytes + objects):
        values = opened.obs.read(column.name)
        if isinstance(values, Labels):
            return [_js_text(label) for label in values.categories]
        return list(_distinct(values.strings() if isinstance(values, Text) else np.unique(values.values).tolist()))


def _distinct(values: list[Any]) -> Iterator[str]:
    return iter(dict.fromkeys(_js_text(value) for value in values))


def _js_text(label: Any) -> str:
    """Write a label as JavaScript does: ``true``, ``1`` for 1.0, ``NaN``."""
    if isinstance(label, bool):
        return "true" if label else "false"
    if isinstance(label, float):
        return "NaN" if label != label else str(int(label)) if label.is_integer() else repr(label)
    return str(label)
