"""The entries of `obsm` that can be drawn, read a slice at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cxg.convert.read.column import RawColumn, Unreadable, as_str, encoding_of
from cxg.convert.read.matrix import open_source
from cxg.convert.read.table import Frame
from cxg.convert.report import Report
from cxg.errors import ConversionError
from cxg.format import layout

_PREFIX = "X_"
SLICE_CELLS = 16 << 20
_MOST_SPARSE_COLUMNS = 100
# Embedding names become folders and object keys.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\#?%:*"<>|]')
ROW_TILE = 65_536


@dataclass(frozen=True)
class Embedding:
    """An entry of `obsm` that can be drawn: its name in the CXG and its values, read on demand.

    Attributes
    ----------
    offset : tuple of n_columns numbers, or None
        Subtracted from each column, where float32 would be too coarse for the coordinates.
    """

    name: str
    values: Any
    n_obs: int
    n_columns: int
    offset: tuple[float, ...] | None = None

    def wide_slices(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (first row, (k, n_columns) rows) slices of the type they have in the file."""
        step = max(1, SLICE_CELLS // self.n_columns // ROW_TILE) * ROW_TILE
        for start in range(0, self.n_obs, step):
            yield start, np.asarray(self.values[start : start + step])

    def slices(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield (first row, (k, n_columns) float32) slices in order; each begins on a tile border."""
        for start, wide in self.wide_slices():
            rows = wide
            if self.offset is not None:
                rows = np.subtract(wide, np.array(self.offset, _exact_type(wide.dtype)))
            with np.errstate(over="ignore"):
                yield start, np.ascontiguousarray(rows, dtype=np.float32)


def find_embeddings(root: Any, n_obs: int, report: Report) -> list[Embedding]:
    """Find all embeddings of the file, in file order.

    Keys must begin with ``X_``, which the CXG name lacks, or be ``spatial``; other keys are
    taken only when there is nothing else to draw.

    Raises
    ------
    ConversionError
        The file has no embedding that can be drawn.
    """
    obsm = root.get("obsm")
    entries = _entries(obsm)
    usual = [key for key in entries if key.startswith(_PREFIX) or key == "spatial"]
    found = _usable(entries, usual, n_obs, report)
    others = [key for key in entries if key not in usual]
    if found:
        for key in others:
            report.info(
                "obsm_skipped", f"obsm/{key}", "Its name does not begin with X_, so it is not taken for an embedding."
            )
    else:
        found = _usable(entries, others, n_obs, report)
        for item in found:
            report.warn(
                "obsm_without_prefix",
                f"obsm/{item.name}",
                "Its name does not begin with X_; used because there is no other embedding.",
            )
    if not found:
        have = ", ".join(entries) or "nothing"
        raise ConversionError(
            f"The file has no embedding to draw (obsm holds {have}): compute one, for example with scanpy.tl.umap, "
            "and save it as obsm['X_umap']."
        )
    return found


def _entries(obsm: Any) -> dict[str, Any]:
    if isinstance(obsm, h5py.Group):
        return {as_str(key): obsm[key] for key in obsm}
    if isinstance(obsm, h5py.Dataset) and obsm.dtype.names:  # AnnData before 0.7: records with array fields
        return {key: obsm[key] for key in obsm.dtype.names}
    return {}


def _usable(entries: dict[str, Any], keys: list[str], n_obs: int, report: Report) -> list[Embedding]:
    found: list[Embedding] = []
    for key in keys:
        try:
            values = _values(entries[key], n_obs, report)
            embedding = Embedding(_name(key, {item.name for item in found}), values, n_obs, int(values.shape[1]))
            embedding = replace(embedding, offset=_find_offset(embedding))
            _check_values(embedding)
        except (Unreadable, ConversionError) as error:
            report.warn("embedding_dropped", f"obsm/{key}", f"It cannot be drawn: {str(error).rstrip('.')}.")
            continue
        if embedding.name != key.removeprefix(_PREFIX):
            report.info("embedding_renamed", f"obsm/{key}", f"The embedding is called {embedding.name!r} in the CXG.")
        if embedding.offset is not None:
            text = "Its coordinates are too far from 0 for float32, so they are stored less an offset, which is kept."
            report.info("embedding_moved", f"obsm/{key}", text)
        found.append(embedding)
    return found


def _name(key: str, taken: set[str]) -> str:
    stem = _UNSAFE.sub("_", key.removeprefix(_PREFIX)) or "unnamed"
    if stem.startswith("__"):
        stem = "_" + stem.lstrip("_")
    if stem.strip(".") == "":
        stem = "_" * len(stem)
    name, number = stem, 0
    while name in taken:
        number += 1
        name = f"{stem}-{number}"
    return name


def _values(item: Any, n_obs: int, report: Report) -> Any:
    """Return an object with a shape that can be sliced by rows."""
    values = item if isinstance(item, h5py.Dataset | np.ndarray) else _from_group(item, n_obs, report)
    if values.shape is None or values.ndim != 2 or values.shape[1] < 2:
        raise Unreadable(f"it has the shape {values.shape or ()}; two columns or more are needed")
    if values.shape[0] != n_obs:
        raise Unreadable(f"it has {values.shape[0]} rows for {n_obs} cells")
    if values.dtype.kind not in "fiu":
        raise Unreadable(f"its values are of type {values.dtype}, not numbers")
    return values


def _from_group(item: Any, n_obs: int, report: Report) -> NDArray[Any]:
    if encoding_of(item) == "dataframe":
        frame = Frame(item, item.name.lstrip("/"))
        numbers = [_coordinates(column) for column in frame.columns(report) if column.kind == "number"]
        if not numbers or frame.n != n_obs:
            raise Unreadable("it is a table without a number for each cell")
        return np.column_stack(numbers)
    source = open_source(item, item.name)
    if source.shape[0] != n_obs or source.shape[1] > _MOST_SPARSE_COLUMNS:
        raise Unreadable(f"it is a sparse matrix of shape {source.shape}")
    made = sparse.csr_matrix if source.major == layout.OBS else sparse.csc_matrix
    parts = item["data"][:], item["indices"][:], item["indptr"][:]
    try:
        matrix = made(parts, shape=source.shape)
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise Unreadable(f"it is damaged ({error})") from error
    dense: NDArray[Any] = matrix.toarray()
    return dense


def _coordinates(column: RawColumn) -> NDArray[np.float64]:
    values = np.array(column.values, dtype=np.float64)
    if column.missing is not None:
        values[column.missing] = np.nan
    return values


def _exact_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return a type in which numbers of `dtype` are subtracted without loss."""
    return dtype if dtype.kind in "iu" and dtype.itemsize == 8 else np.dtype(np.float64)


def _find_offset(embedding: Embedding) -> tuple[float, ...] | None:
    """Find the minimum of each column that float32 would show in steps, else 0; None when there is no such column."""
    n = embedding.n_columns
    low, high, is_lossy = np.full(n, np.inf, object), np.full(n, -np.inf, object), np.zeros(n, bool)
    for _, rows in embedding.wide_slices():
        if rows.dtype.kind == "f" and rows.dtype.itemsize <= 4:
            return None
        for i in range(n):
            column = rows[:, i][np.isfinite(rows[:, i])]
            if column.size:
                low[i], high[i] = min(low[i], column.min().item()), max(high[i], column.max().item())
                is_lossy[i] |= bool(np.any(_cast(column) != column))
    offset = tuple(low[i] if is_lossy[i] and layout.is_far(low[i], high[i]) else 0 for i in range(n))
    return offset if any(offset) else None


def _cast(column: NDArray[Any]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):
        return column.astype(np.float32).astype(np.float64)


def _check_values(embedding: Embedding) -> None:
    some = False
    for _, rows in embedding.slices():
        if np.isinf(rows).any():
            raise Unreadable("it has infinite coordinates")
        some = some or not np.isnan(rows).all()
    if not some:
        raise Unreadable("all its coordinates are NaN")
