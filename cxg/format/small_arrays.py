"""The small arrays of a CXG, opened: obs, var, the embeddings, and the metadata of the whole.

On S3 they are opened side by side, from local copies of their small files where there is
room for them (`cxg.storage.s3_copies`), since each open is a dozen requests, most of them one after the
other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tiledb import TileDBError

from cxg.errors import CxgError, DatasetInvalid, StorageUnavailable
from cxg.format.annotations import Annotations
from cxg.format.layout import EMB, GROUP_METADATA, OBS, SCHEMA_KEY, VAR, X_COLUMNS, X_ROWS, X_TOTALS
from cxg.format.local_array import LocalArray, open_nearby
from cxg.format.matrix import query as reading
from cxg.format.memory_size import needed_bytes, require_room, text_columns_bytes
from cxg.format.notes import Loss
from cxg.format.structure import (
    array_files,
    arrays_below,
    has_array,
    has_traces,
    missing_tables,
    odd_files,
    small_arrays,
)
from cxg.storage.faults import translated
from cxg.storage.listing import Listing, is_s3
from cxg.storage.storage import Storage

_OPEN_THREADS = 16


class SmallArrays:
    """The small arrays of one dataset.

    Attributes
    ----------
    obs, var : Annotations
    embeddings : {name: array}
        Those below `emb` that have all cells and at least two dimensions, sorted by name.
    group : dict
        Metadata of the whole.
    embedding_problem : str or None
        Why no cells can be drawn, one sentence.
    warnings : list of str
        What was left out, a sentence each.
    are_near : bool
        Whether their files are copied from S3.

    Raises
    ------
    DatasetInvalid
        `obs` or `var` is missing or damaged.
    DatasetTooLarge
        It needs more memory than a dataset may take.
    StorageUnavailable
        The store did not answer.
    """

    def __init__(self, storage: Storage, uri: str, listing: Listing) -> None:
        self._storage, self._uri, self._listing = storage, uri, listing
        self.warnings: list[str] = []
        self._copies = storage.copies(uri, listing)
        self.are_near = self._copies is not None
        self._files = small_arrays(listing) if self.are_near else {}
        self._near: dict[str, LocalArray] = {}
        for part in (OBS, VAR):
            _require_whole(listing, part)
        embeddings = arrays_below(listing, EMB)
        require_room(needed_bytes(n_arrays=len(embeddings)), storage.dataset_bytes)
        jobs: dict[str, Callable[[], Any]] = {
            OBS: partial(self._open_annotations, OBS),
            VAR: partial(self._open_annotations, VAR),
            GROUP_METADATA: self._group_metadata,
        }
        for name in embeddings:
            jobs[f"{EMB}/{name}"] = partial(self._open_embedding, name)
        if is_s3(uri):
            with ThreadPoolExecutor(_OPEN_THREADS) as pool:
                futures = {part: pool.submit(job) for part, job in jobs.items()}
            opened = {part: future.result() for part, future in futures.items()}
        else:
            opened = {part: job() for part, job in jobs.items()}
        self.obs: Annotations = opened.pop(OBS)
        self.var: Annotations = opened.pop(VAR)
        self.group: dict[str, Any] = opened.pop(GROUP_METADATA)
        for part in (self.obs, self.var):
            if SCHEMA_KEY not in part.meta:
                text = f"{part.axis} has no metadata {SCHEMA_KEY}, so what its columns mean is guessed."
                self.warnings.append(Loss(text))
        found = {part.removeprefix(f"{EMB}/"): array for part, array in opened.items() if array is not None}
        self.embeddings = {name: array for name, array in found.items() if self._has_all_cells(name, array)}
        self.embedding_problem = None if self.embeddings else _tell_left_out(self.warnings)

    def open(self, part: str) -> Any:
        """Open one array, near where that is possible.

        Raises
        ------
        DatasetInvalid, StorageUnavailable
            It cannot be opened.
        """
        uri = f"{self._uri}/{part}"
        if self._copies is None:
            return self._storage.open_array(uri, self._storage.column_ctx, part)
        with translated(part):
            array = open_nearby(self._storage, uri, part, self._copies, self._files.get(part))
        if isinstance(array, LocalArray):
            self._near[part] = array
        return array

    def fetches(self) -> Iterator[Callable[[], Any]]:
        """Return calls that copy the files a visitor's browser asks for first; each may run in a thread of its own.

        The columns of obs without the names of the cells, the embeddings, the names of the genes and the sums over
        all cells.
        """
        wanted = {part: array.names for part, array in self._near.items() if part.startswith(f"{EMB}/")}
        wanted[OBS] = [column.name for column in self.obs.columns if column.name != self.obs.index]
        wanted[VAR] = [self.var.index]
        for part, names in wanted.items():
            if part in self._near:
                yield partial(self._near[part].prepare, names)
        if self._copies is not None and X_TOTALS in self._files:
            yield partial(self._copies.fetch, self._files[X_TOTALS].files)

    def close(self) -> None:
        """Close every array."""
        self.obs.close()
        self.var.close()
        for array in self.embeddings.values():
            reading.close(array)

    def _open_annotations(self, part: str) -> Annotations:
        array = self.open(part)
        try:
            with translated(f"the metadata of {part}"):
                texts = text_columns_bytes(reading.read_meta(array))
            # Before any of it is parsed, or anything as long as the axis is made.
            rows = int(array.schema.shape[0])
            sizes = {"n_obs": rows} if part == OBS else {"n_var": rows}
            require_room(needed_bytes(**sizes, texts=texts), self._storage.dataset_bytes)
            return Annotations(array, part)
        except CxgError:
            array.close()
            raise

    def _open_embedding(self, name: str) -> Any:
        problem = array_files(self._listing, f"{EMB}/{name}").problem
        if problem is None:
            try:
                array = self.open(f"{EMB}/{name}")
            except StorageUnavailable:
                raise
            except CxgError:
                problem = "it cannot be opened"
            else:
                shape = array.schema.shape
                if array.schema.ndim == 2 and not array.schema.sparse and shape[1] >= 2:
                    return array
                array.close()
                problem = f"its shape is {shape}"
        self.warnings.append(Loss(f"Embedding {name!r} is left out: {problem}."))
        return None

    def _has_all_cells(self, name: str, array: Any) -> bool:
        rows = array.schema.shape[0]
        if rows != self.obs.n:
            text = f"Embedding {name!r} is left out: it has {rows:,} rows for {self.obs.n:,} cells."
            self.warnings.append(Loss(text))
            array.close()
        return bool(rows == self.obs.n)

    def _has(self, name: str) -> bool:
        return has_array(self._listing, name)

    def _group_metadata(self) -> dict[str, Any]:
        if not has_array(self._listing, GROUP_METADATA):
            if has_traces(self._listing, GROUP_METADATA) or any(map(self._has, (X_ROWS, X_COLUMNS, X_TOTALS))):
                # What came first with those arrays is the metadata; without them the file is just old.
                self.warnings.append(Loss(f"{GROUP_METADATA} is missing, so there is no title, no link, no colours."))
            return {}
        if odd_files(self._listing, GROUP_METADATA):
            self.warnings.append("The metadata of the whole is left out: a file of it is not a regular file.")
            return {}
        array = self.open(GROUP_METADATA)
        try:
            with translated(GROUP_METADATA):
                found = reading.read_meta(array)
            require_room(needed_bytes(texts=text_columns_bytes(found)), self._storage.dataset_bytes)
            if not found:
                self.warnings.append(Loss(f"{GROUP_METADATA} is empty, so there is no title, no link, no colours."))
            return found
        finally:
            array.close()


def _tell_left_out(left_out: list[str]) -> str:
    if not left_out:
        return "There is no embedding with two dimensions, so no cells can be drawn: convert it again with one."
    number = "The only embedding cannot" if len(left_out) == 1 else f"None of the {len(left_out)} embeddings can"
    return f"{number} be drawn. {left_out[0]}"


def fetch(jobs: Iterator[Callable[[], Any]]) -> None:
    """Do all of them side by side; what fails is left to those who ask for it."""
    with ThreadPoolExecutor(_OPEN_THREADS) as pool:
        for future in [pool.submit(job) for job in jobs]:
            with contextlib.suppress(CxgError, TileDBError, OSError):
                future.result()


def _require_whole(listing: Listing, part: str) -> None:
    missing = missing_tables(listing)
    if missing is not None:
        raise DatasetInvalid(missing)
    problem = array_files(listing, part).problem
    if problem is not None:
        raise DatasetInvalid(f"{part} cannot be read because {problem}. Copy the dataset again from its source.")
