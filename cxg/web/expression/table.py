"""The numbers of the page: mean and fraction of cells above zero of some genes, for each label of a column."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxg.compute.grouped import means_and_fractions
from cxg.errors import BadFilter, LimitExceeded
from cxg.format.dataset import Dataset
from cxg.format.selection import Filter, quoted
from cxg.memory_bounds import CELL_BYTES, NUMBER_BYTES, POSITION_BYTES, TOGETHER_VALUES
from cxg.web.answers.cache import IDENTITY, Answer, Planned
from cxg.web.answers.kept import JSON
from cxg.web.expression.groups import Groups, group_cells, require_labels
from cxg.web.limits.sizes import annotation_size, selection_bytes
from cxg.web.services import current_services

FloatArray = NDArray[np.float64]
# Counted: two numbers as Python objects in lists, and twice their text.
_ENTRY_BYTES = 2 * (32 + 2 * 24)


@dataclass(frozen=True, slots=True)
class Table:
    """Expression by label.

    Attributes
    ----------
    by : str
        The column of obs.
    labels : list of str
        Labels that have cells.
    cells : list of int
        Cells of each label.
    genes : list of str
        Genes that the dataset has, in the order of the request.
    missing : list of str
        Requested names that are no gene of the dataset.
    repeated : list of str
        Names that several genes have; the first of them is used.
    mean, fraction : (genes, labels) float64
        Mean of the values as stored, and share of cells with a value above zero.
    unlabelled : int
        Cells without a label, which are left out.
    """

    by: str
    labels: list[str]
    cells: list[int]
    genes: list[str]
    missing: list[str]
    repeated: list[str]
    mean: FloatArray
    fraction: FloatArray
    unlabelled: int

    def rows(self) -> Iterator[tuple[str, str, int, float, float]]:
        """Iterate over gene, label, cells, mean and fraction."""
        for g, gene in enumerate(self.genes):
            for label, cells, mean, fraction in zip(
                self.labels, self.cells, self.mean[g].tolist(), self.fraction[g].tolist(), strict=True
            ):
                yield gene, label, cells, mean, fraction


@dataclass(frozen=True, slots=True)
class Found:
    """Requested genes, looked up: names and positions of those that are there, and what to tell about the others."""

    genes: list[str]
    positions: list[int]
    missing: list[str]
    repeated: list[str]


def find_genes(opened: Dataset, names: Sequence[str]) -> Found:
    """Look up genes by name, each once, in the order of the request.

    Raises
    ------
    LimitExceeded
        There are more names than one request may ask for.
    DatasetInvalid, StorageUnavailable
        The names of the genes cannot be read.
    """
    wanted = list(dict.fromkeys(names))
    most = current_services().config.limits.column_request_max
    if most and len(wanted) > most:
        raise LimitExceeded(f"One request asked for {len(wanted)} genes; at most {most} are allowed.")
    found = Found([], [], [], [])
    exact = Filter("var", None, {opened.var.index: tuple(wanted)})
    with current_services().work.memory(selection_bytes(opened, exact) if wanted else 0):
        for name in wanted:
            positions = opened.gene_positions.find(name)
            if not positions:
                found.missing.append(name)
                continue
            found.genes.append(name)
            found.positions.append(positions[0])
            if len(positions) > 1:
                found.repeated.append(name)
    return found


def read_table(opened: Dataset, names: Sequence[str], by: str) -> Table:
    """Compute the numbers, or take them from the kept answers; they are made once for page, plot and file.

    Raises
    ------
    UnknownColumn, BadFilter
        `by` is no column, or a numeric one.
    LimitExceeded
        There are more genes or labels than one request may ask for.
    DatasetInvalid, StorageUnavailable
        Expression or the column cannot be read.
    """
    require_labels(opened.obs, by)
    found = find_genes(opened, names)
    site = current_services()
    query = json.dumps([found.positions, by])
    stored = site.cache.find_or_plan(
        (opened.identity, "expression by label", query, IDENTITY), lambda: _plan(opened, found.positions, by)
    )
    numbers = json.loads(stored.body)
    shape = len(found.genes), len(numbers["labels"])
    mean, fraction = (np.array(numbers[key], np.float64).reshape(shape) for key in ("mean", "fraction"))
    unlabelled = opened.n_obs - sum(numbers["cells"])
    return Table(
        by, numbers["labels"], numbers["cells"], found.genes, found.missing, found.repeated, mean, fraction, unlabelled
    )


def _plan(opened: Dataset, positions: Sequence[int], by: str) -> Planned:
    site = current_services()
    expression, n_obs = site.decoded.expression(opened), opened.n_obs
    size, most = annotation_size(opened.obs, by), site.config.presentation.max_categories
    together = max(1, min(TOGETHER_VALUES // max(1, n_obs), len(positions)))
    genes_bytes = (CELL_BYTES + NUMBER_BYTES) * n_obs * together if positions else 0
    # The column is read before the genes; of it stay the codes.
    needed = max(size.encoded_bytes + size.working_bytes, genes_bytes) + 2 * POSITION_BYTES * n_obs

    def make() -> Answer:
        groups = group_cells(opened.obs.column(by), site.decoded.obs_column(opened, by), most)
        order = np.unique(np.array(positions, np.int64))
        columns: dict[int, tuple[FloatArray, FloatArray]] = {}
        for start in range(0, len(order), together):
            part = order[start : start + together]
            values = expression.read_columns(part)
            for k, gene in enumerate(part.tolist()):
                columns[gene] = means_and_fractions(groups.codes, groups.counts, values[:, k])
        return _encoded(groups, [columns[gene] for gene in positions])

    labels = min(len(opened.obs.column(by).categories or ()) or most, most, n_obs)
    return Planned(needed + _ENTRY_BYTES * len(positions) * labels, make)


def _encoded(groups: Groups, columns: Sequence[tuple[FloatArray, FloatArray]]) -> Answer:
    numbers = {
        "labels": groups.labels,
        "cells": groups.counts.tolist(),
        "mean": [mean.tolist() for mean, _ in columns],
        "fraction": [fraction.tolist() for _, fraction in columns],
    }
    # NaN stays NaN; nobody but `read_table` sees this.
    return Answer(json.dumps(numbers).encode("utf-8", "replace"), JSON)


def require_numbers(table: Table) -> None:
    """Check that there is a number to show.

    Raises
    ------
    BadFilter
        No gene was named, none of them is there, or no cell has a label.
    """
    if not table.genes and table.missing:
        raise BadFilter(f"The dataset has none of the genes {', '.join(table.missing)[:200]}; name others in 'genes'.")
    if not table.genes:
        raise BadFilter("Name genes, separated by commas, as in ?genes=CD3D,MS4A1&by=louvain.")
    if not table.labels:
        raise BadFilter(f"No cell has a label in column {quoted(table.by)}; name another column in 'by'.")
