"""Marker genes of the labels of a column: each label compared with all other cells, from stored sums alone."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from flask import Blueprint, Response, request

from cxg.compute.diffexp import Entry, Moments, diffexp
from cxg.decoded.labels import CheckedLabels
from cxg.errors import BadFilter, LimitExceeded, NotOffered, UnknownColumn
from cxg.format.columns import label_texts
from cxg.format.dataset import Dataset
from cxg.format.geneset_files import GeneSet, gene_set
from cxg.format.selection import quoted
from cxg.web.answers.cache import Answer, Planned
from cxg.web.answers.kept import JSON
from cxg.web.limits.client_address import client_share
from cxg.web.limits.sizes import column_objects_bytes, json_bytes
from cxg.web.services import current_services
from cxg.web.start_page.summaries import color_column

DEFAULT_COUNT, MOST_COUNT, MOST_LABELS = 10, 100, 200
# Genes with a larger adjusted p are no markers, however many are asked for.
_MOST_P = 0.05
_DESCRIPTION = "First {} marker genes against all other cells"

routes = Blueprint("markers", __name__)


@routes.get("/markers")
def read_markers(dataset: str) -> Response:
    """Answer with a gene set for each label of the column `by`: its first `count` marker genes."""
    by, count = request.args.get("by"), _count()
    return current_services().serve(dataset, lambda opened: _plan(opened, by, count), None)


def _count() -> int:
    text = request.args.get("count", str(DEFAULT_COUNT))
    if not text.isdecimal() or not 1 <= int(text) <= MOST_COUNT:
        raise BadFilter(f"'count' must be a whole number from 1 to {MOST_COUNT}, not {quoted(text)}.")
    return int(text)


def _plan(opened: Dataset, by: str | None, count: int) -> Planned:
    site = current_services()
    if not site.config.diffexp.enable:
        raise NotOffered("Differential expression is switched off on this server.")
    site.decoded.request(opened)
    labels = site.decoded.expression(opened).labels
    position = _position(opened, labels, by)
    if labels is None or position is None:
        raise NotOffered(
            "Markers need sums over the cells of each label, which this dataset does not have"
            f"{'' if by is None else f' for {quoted(by)}'}, or not yet: try again in some minutes."
        )
    if len(labels.columns[position].counts) > MOST_LABELS:
        raise LimitExceeded(f"{quoted(labels.columns[position].name)} has more than {MOST_LABELS} labels.")
    with site.work.long_read(client_share(request.remote_addr), opened.name):
        sets = markers(opened, labels, position, count)
    value = {"by": labels.columns[position].name, "genesets": sets, "tid": 0}
    return Planned(
        json_bytes(value), lambda: Answer(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), JSON)
    )


def _position(opened: Dataset, labels: CheckedLabels | None, by: str | None) -> int | None:
    """Find a column among those with sums; without a name, the one by which the dataset's picture is coloured."""
    if by is not None and by not in {column.name for column in opened.obs.columns}:
        raise UnknownColumn(f"There is no column called {quoted(by)} in obs.")
    names = [] if labels is None else [column.name for column in labels.columns]
    wanted = by if by is not None else color_column(opened)
    if wanted in names:
        return names.index(wanted)
    return None if by is not None or not names else 0


def markers(opened: Dataset, labels: CheckedLabels, position: int, count: int) -> list[GeneSet]:
    """Find the marker genes of each label of a column with at least two cells.

    Parameters
    ----------
    opened : Dataset
    labels : CheckedLabels
    position : int
        Position of the column in `labels`.
    count : int
        Most genes for each label.

    Returns
    -------
    list of GeneSet
        In the order of the labels; genes by falling t, all with a higher mean and an adjusted p of at most 0.05.

    Raises
    ------
    DatasetInvalid, StorageUnavailable
        The sums or the names of genes cannot be read.
    """
    column = labels.columns[position]
    used = np.flatnonzero(column.counts)
    whole = _moments(opened, labels, position, used)
    found: dict[str, list[Entry]] = {}
    for code in used[column.counts[used] > 1].tolist():
        label = _moments(opened, labels, position, np.array([code]))
        if label.n < whole.n:
            first = diffexp(label, whole.minus(label), count, 0.0).positive
            found[str(column.labels[code])] = [entry for entry in first if entry[1] > 0 and entry[3] <= _MOST_P]
    with current_services().work.memory(column_objects_bytes(opened.n_var)):
        names = label_texts(opened.var.read(opened.var.index))
        return [
            gene_set(f"{text} ({column.name})", _DESCRIPTION.format(len(entries)), _about(entries, names))
            for text, entries in found.items()
            if entries
        ]


def _moments(opened: Dataset, labels: CheckedLabels, position: int, codes: Any) -> Moments:
    moments = Moments(opened.n_var, int(labels.columns[position].counts[codes].sum()), labels.log1p)
    moments.total, moments.total_squares = labels.add_up(position, codes)
    return moments


def _about(entries: list[Entry], names: list[str]) -> dict[str, str]:
    return {names[gene]: f"log fold change {lfc:.3g}, adjusted p {adjusted:.2g}" for gene, lfc, _, adjusted in entries}
