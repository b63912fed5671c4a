"""What a CXG holds and what is wrong with it, for `cxg inspect` and `cxg doctor`.

Damage is looked for in the listing of files first, since TileDB says nothing about a
missing commit marker; then every array is opened and all of it read (`cxg.format.inspection.every_value`),
or only some of X where time is short. Nothing in the metadata is ever unpickled.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tiledb

from cxg.errors import DatasetInvalid, DatasetNotFound, StorageUnavailable
from cxg.format import layout
from cxg.format.dataset import Dataset, open_dataset
from cxg.format.inspection.every_value import check_sums, check_values
from cxg.format.inspection.findings import Finding, Inspection
from cxg.format.inspection.labels import check_label_sums
from cxg.format.matrix import query as reading
from cxg.format.matrix.sparse import SparseBlock
from cxg.format.notes import Loss
from cxg.format.structure import NEVER_WRITTEN, array_files, arrays_below, has_traces, odd_files
from cxg.storage.faults import translated
from cxg.storage.listing import Listing, is_s3
from cxg.storage.storage import Storage
from cxg.timeouts.calls import timed_calls

_X_NAMES = (layout.X_ROWS, layout.X_COLUMNS, layout.X)
_KNOWN = frozenset(
    {
        *(layout.OBS, layout.VAR, layout.EMB, layout.UNS, layout.GROUP_METADATA, layout.X_COL_SHIFT, layout.X_TOTALS),
        layout.X_LABEL_SUMS,
        *_X_NAMES,
        "coverage",
    }
)
# Arrays that carry metadata and no values.
_METADATA_ONLY = frozenset({layout.GROUP_METADATA, layout.UNS})
_MANY_LABELS = 10_000

__all__ = ["Finding", "Inspection", "inspect_dataset"]


def inspect_dataset(storage: Storage, uri: str, name: str, *, quick: bool = False) -> Inspection:
    """Look at the CXG at `uri`.

    Parameters
    ----------
    quick : bool
        Read one gene of X only, not every value.

    Raises
    ------
    DatasetNotFound
        There is nothing at `uri`.
    StorageUnavailable
        The store did not answer.
    """
    listing = storage.listing(uri)
    if not listing.entries and (is_s3(uri) or not Path(uri).is_dir()):
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
        out.needed_bytes = dataset.needed_bytes
        _describe(dataset, out)
        repeats = _check_matrix(storage, dataset, arrays, out)
        _check_columns(dataset, out)
        _check_embeddings(dataset, out)
        unread = {name for name in (layout.UNS, layout.X_TOTALS, layout.X_LABEL_SUMS) if odd_files(listing, name)}
        _check_metadata(storage, uri, [name for name in arrays if name not in unread], dataset, out)
        whole = [name for name in arrays if array_files(listing, name).problem is None and name not in _METADATA_ONLY]
        sums = check_values(storage, dataset, whole, out, quick=quick)
        if repeats and not quick:
            _count_served(dataset, out)
        elif dataset.x_problem is None:
            check_sums(dataset, sums, out)
        out.facts["label_sums"] = check_label_sums(dataset, sums, out)
    except DatasetInvalid as error:
        out.error(name, str(error))
    finally:
        dataset.close()
    out.facts["other"] = sorted(set(listing.children()) - _KNOWN - {"__group", "__meta"})
    return out


def _arrays(listing: Listing) -> list[str]:
    own = [name for name in sorted(_KNOWN - {layout.EMB}) if has_traces(listing, name)]
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
        if problem is None or (problem == NEVER_WRITTEN and name in _METADATA_ONLY):
            continue
        if name not in (*_X_NAMES, layout.OBS, layout.VAR) and not name.startswith(layout.EMB):
            out.error(name, f"It cannot be read because {problem}.")


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
        "colors": sorted(dataset.colors.keys() - _unused_colors(dataset).keys()),
        "genesets": len(dataset.genesets) if dataset.x_problem is None else 0,
    }
    for text in dataset.warnings:
        if isinstance(text, Loss):
            out.error(dataset.name, text)
        else:
            out.warn(dataset.name, text)
    if not all(counts.values()):
        out.error("columns", "obs or var has no column that can be read.")


def _describe_column(column: Any) -> str:
    size = f" ({len(column.categories):,})" if column.categories is not None else ""
    return f"{column.name}: {column.type}{size}"


def _check_matrix(storage: Storage, dataset: Dataset, arrays: list[str], out: Inspection) -> bool:
    """Check the arrays of X; tells whether values stand in them more than once."""
    if dataset.x_problem is not None:
        out.error("X", dataset.x_problem)
        return False
    repeats = False
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
            sparse = bool(array.schema.sparse)
            repeats |= _check_generations(f"{dataset.uri}/{name}", name, storage, sparse, out)
        except DatasetInvalid as error:
            out.error(name, str(error))
        finally:
            array.close()
    _check_gene(dataset, out)
    return repeats


def _check_generations(uri: str, name: str, storage: Storage, sparse: bool, out: Inspection) -> bool:
    with translated(name):
        fragments = timed_calls.call(uri, lambda: tiledb.array_fragments(uri, ctx=storage.column_ctx))
        domains = [fragment.nonempty_domain for fragment in fragments]
        if sparse:
            out.facts["non_zeros"] = sum(int(fragment.cell_num) for fragment in fragments)
    overlaps = sum(_overlap(a, b) for i, a in enumerate(domains) for b in domains[:i])
    if overlaps:
        text = f"{len(domains)} fragments overlap, as if it was written more than once into one folder"
        out.warn(name, f"{text}; repeated entries are dropped on reading, which is slow. Convert it again.")
    return overlaps > 0


def _count_served(dataset: Dataset, out: Inspection) -> None:
    """Count the values that are served where some are stored more than once."""
    blocks = dataset.iter_X_rows(np.arange(dataset.n_obs)) if dataset.x_problem is None else iter(())
    counts = [len(block.value) for block in blocks if isinstance(block, SparseBlock)]
    if counts:
        out.facts["non_zeros"] = sum(counts)


def _overlap(a: Any, b: Any) -> bool:
    return all(
        low <= other_high and other_low <= high for (low, high), (other_low, other_high) in zip(a, b, strict=True)
    )


def _check_gene(dataset: Dataset, out: Inspection) -> None:
    try:
        dataset.read_X_columns(np.arange(min(1, dataset.n_var)))
    except (DatasetInvalid, StorageUnavailable) as error:
        out.error("X", str(error))


def _check_columns(dataset: Dataset, out: Inspection) -> None:
    for axis in (layout.OBS, layout.VAR):
        annotations = dataset.annotations(axis)
        for column in annotations.columns:
            if axis == layout.OBS and len(column.categories or ()) > _MANY_LABELS:
                text = f"It has {len(column.categories or ()):,} labels; the browser will be slow with it."
                out.warn(f"{axis}/{column.name}", text)
    for name, reason in _unused_colors(dataset).items():
        out.warn(f"colors/{name}", reason)


def _unused_colors(dataset: Dataset) -> dict[str, str]:
    """Columns whose stored colours are not served, and why."""
    columns = {column.name: column for column in dataset.obs.columns}
    unused = {}
    for name, table in dataset.colors.items():
        column = columns.get(name)
        if column is None:
            unused[name] = "There are colours for a column that obs does not have."
        elif column.type not in ("categorical", "string", "boolean"):
            unused[name] = "There are colours for a column of numbers; they are not used."
        elif absent := [str(label) for label in column.categories or () if str(label) not in table]:
            unused[name] = f"{len(absent)} labels have no colour ({absent[0]!r} ...); the colours are not used."
    return unused


def _check_embeddings(dataset: Dataset, out: Inspection) -> None:
    if dataset.view_problem is not None:
        out.error(layout.EMB, dataset.view_problem)
    wanted = (dataset.corpora or {}).get("default_embedding")
    if wanted and dataset.default_embedding is None:
        out.warn(layout.EMB, f"The default embedding {wanted!r} is not among them.")


def _check_metadata(storage: Storage, uri: str, arrays: list[str], dataset: Dataset, out: Inspection) -> None:
    if layout.GROUP_METADATA not in arrays and not {layout.X_ROWS, layout.X_COLUMNS, layout.X_TOTALS} & set(arrays):
        out.warn(
            layout.GROUP_METADATA,
            "It is missing: no title, no colours; the file is from before April 2020, or incomplete.",
        )
    if layout.UNS in arrays:
        _check_uns(storage, uri, out)
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


def _check_uns(storage: Storage, uri: str, out: Inspection) -> None:
    try:
        array = storage.open_array(f"{uri}/{layout.UNS}", storage.column_ctx, layout.UNS)
        with translated(layout.UNS):
            stored = reading.read_meta(array)
        array.close()
    except DatasetInvalid as error:
        out.error(layout.UNS, str(error))
        return
    pickled = sorted(key for key, value in stored.items() if isinstance(value, bytes))
    if not stored:
        out.error(layout.UNS, "It is empty: what it said about the dataset is lost.")
    if pickled:
        out.warn(
            layout.UNS, f"{', '.join(pickled)} is in a binary form that could run code when read, so it is ignored."
        )
