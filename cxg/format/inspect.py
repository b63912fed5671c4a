"""What a CXG holds and what is wrong with it, for `cxg inspect` and `cxg doctor`.

Damage is looked for in the listing of files first, since TileDB says nothing about a
missing commit marker; then every array is opened and its first row read. Nothing in the
metadata is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import tiledb

from cxg.errors import DatasetError, DatasetInvalid, DatasetNotFound
from cxg.format import layout, reading
from cxg.format.annotations import Annotations
from cxg.format.dataset import Dataset, open_dataset
from cxg.format.structure import array_files, arrays_below, has_array, odd_files
from cxg.listing import Listing
from cxg.stalls import stalls
from cxg.storage import Storage, translated

Level = Literal["error", "warning"]
_X_NAMES = (layout.X_ROWS, layout.X_COLUMNS, layout.X)
_KNOWN = frozenset(
    {
        *(layout.OBS, layout.VAR, layout.EMB, layout.UNS, layout.GROUP_METADATA, layout.X_COL_SHIFT, layout.X_TOTALS),
        *_X_NAMES,
        "coverage",
    }
)
_MANY_LABELS = 10_000


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: an error costs data or the whole dataset, a warning does not."""

    level: Level
    subject: str
    text: str


@dataclass
class Inspection:
    """Facts about a CXG, in the order to print them, and what is wrong with it."""

    facts: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no error was found; warnings may have been."""
        return not any(finding.level == "error" for finding in self.findings)

    def error(self, subject: str, text: str) -> None:
        """Add an error."""
        self.findings.append(Finding("error", subject, text))

    def warn(self, subject: str, text: str) -> None:
        """Add a warning."""
        self.findings.append(Finding("warning", subject, text))

    def as_dict(self) -> dict[str, Any]:
        """Plain values: the facts, `ok`, and `findings` as a list of objects."""
        return {**self.facts, "ok": self.ok, "findings": [asdict(finding) for finding in self.findings]}


def inspect_dataset(storage: Storage, uri: str, name: str) -> Inspection:
    """Look at the CXG at `uri`; reads one row of everything, and the labels of categoricals.

    Raises
    ------
    DatasetNotFound
        There is nothing at `uri`.
    StorageUnavailable
        The store did not answer.
    """
    listing = storage.listing(uri)
    if not listing.entries:
        raise DatasetNotFound(f"There is nothing at {uri}.")
    out = Inspection({"path": uri, "files": len(listing.entries), "bytes": listing.total_bytes})
    arrays = _arrays(listing)
    _check_files(listing, arrays, out)
    try:
        dataset = open_dataset(storage, uri, name, listing)
    except DatasetInvalid as error:
        out.error(name, str(error))
        return out
    try:
        _describe(dataset, out)
        _check_matrix(storage, dataset, arrays, out)
        _check_columns(dataset, out)
        _check_embeddings(dataset, out)
        unread = {name for name in (layout.UNS, layout.X_TOTALS) if odd_files(listing, name)}
        _check_metadata(storage, uri, [name for name in arrays if name not in unread], dataset, out)
    finally:
        dataset.close()
    out.facts["other"] = sorted(set(listing.children()) - _KNOWN - {"__group", "__meta"})
    return out


def _arrays(listing: Listing) -> list[str]:
    own = [name for name in sorted(_KNOWN) if has_array(listing, name)]
    return own + [f"{layout.EMB}/{name}" for name in arrays_below(listing, layout.EMB)]


def _check_files(listing: Listing, arrays: list[str], out: Inspection) -> None:
    if layout.GROUP_MARKER not in listing.paths:
        out.warn(
            layout.GROUP_MARKER, "The marker file of the group is missing; other programs will not see a CXG here."
        )
    if listing.truncated:
        out.warn("files", f"There are more than {len(listing.entries):,} files; only those were looked at.")
    for name in (layout.OBS, layout.VAR):
        if name not in arrays:
            out.error(name, "The array is missing.")
    for name in arrays:
        problem = array_files(listing, name).problem
        # open_dataset and x_problem say it of these, with the consequence.
        if problem is not None and name not in (*_X_NAMES, layout.OBS, layout.VAR) and not name.startswith(layout.EMB):
            out.warn(name, f"It cannot be read because {problem}.")


def _describe(dataset: Dataset, out: Inspection) -> None:
    counts = {axis: len(dataset.annotations(axis).columns) for axis in (layout.OBS, layout.VAR)}
    out.facts |= {
        "title": dataset.title,
        "about": dataset.about,
        "version": dataset.version,
        "n_obs": dataset.n_obs,
        "n_var": dataset.n_var,
        "x": dataset.x_kind,
        "embeddings": list(dataset.embeddings),
        "default_embedding": dataset.default_embedding,
        "obs_columns": [_describe_column(column) for column in dataset.obs.columns],
        "var_columns": [_describe_column(column) for column in dataset.var.columns],
        "colors": sorted(dataset.colors),
        "genesets": len(dataset.genesets),
    }
    for text in dataset.warnings:
        out.warn(dataset.name, text)
    if not all(counts.values()):
        out.error("columns", "obs or var has no column that can be read.")


def _describe_column(column: Any) -> str:
    size = f" ({len(column.categories):,})" if column.categories is not None else ""
    return f"{column.name}: {column.type}{size}"


def _check_matrix(storage: Storage, dataset: Dataset, arrays: list[str], out: Inspection) -> None:
    if dataset.x_problem is not None:
        out.error("X", dataset.x_problem)
        return
    shape = {layout.OBS: dataset.n_obs, layout.VAR: dataset.n_var}
    for name in [name for name in _X_NAMES if name in arrays]:
        try:
            array = storage.open_array(f"{dataset.uri}/{name}", storage.column_ctx, name)
        except DatasetInvalid as error:
            out.error(name, str(error))
            continue
        try:
            domain = array.schema.domain
            if name == layout.X:
                out.facts["x"] = f"X, {'sparse' if array.schema.sparse else 'dense'}"
            for i in range(domain.ndim):
                dim = domain.dim(i)
                if dim.name in shape and int(dim.size) != shape[dim.name]:
                    out.error(
                        name, f"Its {dim.name} axis has {int(dim.size):,} entries instead of {shape[dim.name]:,}."
                    )
            _check_generations(f"{dataset.uri}/{name}", name, storage, bool(array.schema.sparse), out)
        finally:
            array.close()
    _check_gene(dataset, out)


def _check_generations(uri: str, name: str, storage: Storage, sparse: bool, out: Inspection) -> None:
    with translated(name):
        fragments = stalls.call(uri, lambda: tiledb.array_fragments(uri, ctx=storage.column_ctx))
        domains = [fragment.nonempty_domain for fragment in fragments]
        if sparse:
            out.facts["non_zeros"] = sum(int(fragment.cell_num) for fragment in fragments)
    overlaps = sum(_overlap(a, b) for i, a in enumerate(domains) for b in domains[:i])
    if overlaps:
        text = f"{len(domains)} fragments overlap, as if it was written more than once into one folder"
        out.warn(name, f"{text}; repeated entries are dropped on reading, which is slow. Convert it again.")


def _overlap(a: Any, b: Any) -> bool:
    return all(
        low <= other_high and other_low <= high for (low, high), (other_low, other_high) in zip(a, b, strict=True)
    )


def _check_gene(dataset: Dataset, out: Inspection) -> None:
    try:
        dataset.read_X_columns(np.arange(min(1, dataset.n_var)))
    except DatasetInvalid as error:
        out.error("X", str(error))


def _check_columns(dataset: Dataset, out: Inspection) -> None:
    for axis in (layout.OBS, layout.VAR):
        annotations = dataset.annotations(axis)
        for name, problem in _unreadable(annotations):
            out.error(f"{axis}/{name}", problem)
        for column in annotations.columns:
            if axis == layout.OBS and len(column.categories or ()) > _MANY_LABELS:
                text = f"It has {len(column.categories or ()):,} labels; the browser will be slow with it."
                out.warn(f"{axis}/{column.name}", text)
    for name, table in dataset.colors.items():
        columns = {column.name: column for column in dataset.obs.columns}
        if name not in columns:
            out.warn(f"colors/{name}", "There are colours for a column that obs does not have.")
            continue
        absent = [str(label) for label in columns[name].categories or () if str(label) not in table]
        if absent:
            out.warn(
                f"colors/{name}", f"{len(absent)} labels have no colour ({absent[0]!r} ...); the colours are not used."
            )


def _unreadable(annotations: Annotations) -> Iterator[tuple[str, str]]:
    for column in annotations.columns:
        try:
            annotations.read(column.name)
        except DatasetError as error:
            yield column.name, str(error)


def _check_embeddings(dataset: Dataset, out: Inspection) -> None:
    for name in dataset.embeddings:
        try:
            dataset.read_embedding(name)
        except DatasetInvalid as error:
            out.error(f"{layout.EMB}/{name}", str(error))
    wanted = (dataset.corpora or {}).get("default_embedding")
    if wanted and dataset.default_embedding is None:
        out.warn(layout.EMB, f"The default embedding {wanted!r} is not among them.")


def _check_metadata(storage: Storage, uri: str, arrays: list[str], dataset: Dataset, out: Inspection) -> None:
    if layout.GROUP_METADATA not in arrays:
        out.warn(
            layout.GROUP_METADATA,
            "It is missing: no title, no colours; the file is from before April 2020, or incomplete.",
        )
    if layout.UNS in arrays:
        array = storage.open_array(f"{uri}/{layout.UNS}", storage.column_ctx, layout.UNS)
        with translated(layout.UNS):
            pickled = sorted(key for key, value in reading.read_meta(array).items() if isinstance(value, bytes))
        array.close()
        if pickled:
            out.warn(
                layout.UNS, f"{', '.join(pickled)} is in a binary form that could run code when read, so it is ignored."
            )
    out.facts["totals"] = layout.X_TOTALS in arrays
    if layout.X_TOTALS in arrays:
        _check_totals(storage, uri, dataset, out)


def _check_totals(storage: Storage, uri: str, dataset: Dataset, out: Inspection) -> None:
    try:
        array = storage.open_array(f"{uri}/{layout.X_TOTALS}", storage.column_ctx, layout.X_TOTALS)
    except DatasetInvalid as error:
        out.error(layout.X_TOTALS, str(error))
        return
    schema = array.schema
    attributes = {schema.attr(i).name for i in range(schema.nattr)}
    array.close()
    if schema.shape != (dataset.n_var,) or not attributes >= {layout.TOTAL_SUM, layout.TOTAL_SQUARES}:
        out.error(
            layout.X_TOTALS, f"It is not the sums over {dataset.n_var:,} genes; remove the folder {layout.X_TOTALS}."
        )
