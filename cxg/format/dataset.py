"""One open CXG: everything the server reads from it, as numpy arrays and plain values.

Opening reads no values: it opens the small arrays (`cxg.format.small_arrays`); X is opened when first
asked for. What takes memory is kept only as long as there is room (`Storage.open_objects`).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxg.errors import CxgError, DatasetInvalid, DatasetNotFound, DatasetTooLarge, UnknownColumn
from cxg.format.annotations import Annotations, parse_json
from cxg.format.columns import ColumnValues, label_texts
from cxg.format.coordinates import narrowed
from cxg.format.genesets import read_genesets
from cxg.format.layout import GENESETS_KEY, X_LABEL_SUMS, X_TOTALS, looks_like_counts
from cxg.format.local_array import read_from
from cxg.format.matrix import open as matrix
from cxg.format.matrix import query as reading
from cxg.format.matrix.dense import DenseBlock
from cxg.format.matrix.extremes import extremes
from cxg.format.matrix.handles import Handle, value_name
from cxg.format.matrix.label_sums import LabelSums, read_summed_columns
from cxg.format.matrix.sparse import Sparse, SparseBlock
from cxg.format.matrix.totals import Totals, read_totals
from cxg.format.memory_size import needed_bytes, require_room, text_columns_bytes
from cxg.format.metadata import read_metadata
from cxg.format.positions import Positions
from cxg.format.selection import quoted
from cxg.format.small_arrays import SmallArrays, fetch
from cxg.format.structure import array_files, has_array, has_traces, odd_files
from cxg.storage.faults import translated
from cxg.storage.listing import Listing, is_s3
from cxg.storage.storage import Storage
from cxg.timeouts.calls import timed_calls

_X_FILES = {
    "Xr": frozenset({"a0.tdb", "a1.tdb", "d0.tdb"}),
    "Xc": frozenset({"a0.tdb", "a1.tdb", "d0.tdb"}),
    "X": frozenset({"a0.tdb"}),
    "X_col_shift": frozenset({"a0.tdb"}),
}


class Dataset:
    """A CXG, opened read-only; methods may be called from several threads.

    Attributes
    ----------
    name, uri : str
    fingerprint, identity : str
        Digest of its files, the same on every machine; key of its copies and cached objects, unique to it.
    generation : int
        Generation of the TileDB contexts it was opened with (`Storage.contexts`).
    version : str
        Version that the file claims; reading does not depend on it.
    obs, var : Annotations
    embeddings : tuple of str
        Names under `emb` with at least two dimensions, sorted.
    title, about : str, None when there is none
    corpora : dict or None
        Metadata that data portals add.
    colors : {column: {label: "#rrggbb"}}
    genesets : list of gene sets, as the web client wants them
    x_problem : str or None
        Why expression cannot be read; everything else still can.
    view_problem : str or None
        Why the web client cannot show the dataset, one sentence; programs still get what can be read.
    needed_bytes : int
        Estimate of the memory that one worker needs at a time to serve it.
    warnings : tuple of str
    """

    def __init__(self, storage: Storage, uri: str, name: str, listing: Listing) -> None:
        self.name, self.uri, self.fingerprint = name, uri, listing.fingerprint
        self.generation = storage.contexts.generation
        self.identity = storage.identity(uri, listing)
        self._storage = storage
        self._lock = threading.Lock()
        self._matrix: matrix.Matrix | None = None
        self._files = {
            part: array_files(listing, part, _X_FILES[part]) for part in _X_FILES if has_traces(listing, part)
        }
        self._has_totals = has_array(listing, X_TOTALS) and not odd_files(listing, X_TOTALS)
        self._label_files = array_files(listing, X_LABEL_SUMS) if has_traces(listing, X_LABEL_SUMS) else None
        self._parts = SmallArrays(storage, uri, listing)
        self._is_prefetched = not self._parts.are_near
        self.obs, self.var = self._parts.obs, self._parts.var
        self.embeddings = tuple(self._parts.embeddings)
        self._warnings = self._parts.warnings
        self.n_obs, self.n_var = self.obs.n, self.var.n
        self.needed_bytes = self._needed_bytes()
        try:
            require_room(self.needed_bytes, storage.dataset_bytes)
        except DatasetTooLarge:
            self._parts.close()
            raise
        self.x_kind, self.x_problem = self._inspect_x()
        self.view_problem = self._parts.embedding_problem
        about = read_metadata(self._parts.group, name or uri.rstrip("/").rpartition("/")[2], self._warnings)
        self.version, self.corpora, self.title, self.about = about.version, about.corpora, about.title, about.about
        self.colors = about.colors
        self.genesets = read_genesets(
            parse_json(self.obs.meta.get(GENESETS_KEY), GENESETS_KEY, self._warnings), self._warnings
        )
        self.default_embedding = next((one for one in about.default_embeddings if one in self.embeddings), None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """List the oddities of this dataset, a sentence each."""
        return (*self._warnings, *self.obs.warnings, *self.var.warnings)

    def annotations(self, axis: str) -> Annotations:
        """Return `obs` or `var`."""
        chosen: Annotations = self.obs if axis == "obs" else self.var
        return chosen

    def read_column(self, axis: str, name: str) -> ColumnValues:
        """Read the values of one annotation column; see `Annotations.read`."""
        return self.annotations(axis).read(name)

    def read_embedding(self, name: str) -> NDArray[np.float32]:
        """Read the first two dimensions of an embedding: (n_obs, 2) float32, NaN where a cell has no place.

        Each dimension is contiguous (Fortran order). It is as stored, but for wider types far from 0: those start at 0.

        Raises
        ------
        UnknownColumn
            There is no embedding of that name.
        DatasetInvalid, StorageUnavailable
            It cannot be read.
        """
        return narrowed(self.stored_embedding(name, 0, self.n_obs - 1)).T

    def stored_embedding(self, name: str, first: int, last: int) -> NDArray[Any]:
        """Return two coordinates of some consecutive cells, in the type they are stored in: (2, last - first + 1).

        Raises
        ------
        UnknownColumn, DatasetInvalid, StorageUnavailable
            As `read_embedding`.
        """
        if name not in self._parts.embeddings:
            raise UnknownColumn(f"There is no embedding called {quoted(name)}.")
        with translated(f"embedding {name!r}"):
            array = self._parts.embeddings[name]
            attr = value_name(array)
            ranges = [[(first, last)], [(0, 1)]]
            values = read_from(array, [attr], lambda one: reading.read(one, [attr], ranges, reading.COLUMN_MAJOR))[attr]
        return values.reshape(2, last - first + 1)

    def read_X_columns(self, genes: NDArray[np.int64]) -> NDArray[np.float32]:  # noqa: N802  (X is the field's name)
        """Return the expression of `genes` (sorted, unique) in every cell: (n_obs, k) float32, column-major.

        Raises
        ------
        DatasetInvalid
            The expression data is missing; the message says why.
        StorageUnavailable
            The store did not answer.
        """
        return self.expression().read_columns(genes)

    def sum_X_columns(self, genes: NDArray[np.int64]) -> NDArray[np.float64]:  # noqa: N802
        """Sum of `genes` (sorted, unique) in every cell: (n_obs,) float64.

        Raises
        ------
        DatasetInvalid, StorageUnavailable
            As `read_X_columns`.
        """
        return self.expression().sum_columns(genes)

    def iter_X_rows(self, cells: NDArray[np.int64]) -> Iterator[SparseBlock | DenseBlock]:  # noqa: N802
        """Yield the values of `cells` (sorted, unique) in blocks of bounded size.

        Raises
        ------
        DatasetInvalid, StorageUnavailable
            As `read_X_columns`.
        """
        return self.expression().iter_rows(cells)

    @property
    def rows_are_light(self) -> bool:
        """Tell whether cells are read from the files of tiles, so that several threads may read within the memory plan.

        Raises
        ------
        DatasetInvalid, StorageUnavailable
            As `read_X_columns`.
        """
        opened = self.expression()
        return isinstance(opened, Sparse) and opened.rows_are_light

    def sparse_expression(self) -> Sparse | None:
        """Return X, if it can be read and is so sparse that a decoded copy is smaller than a dense one; else None.

        Raises
        ------
        DatasetInvalid, StorageUnavailable
            It cannot be opened.
        """
        opened = None if self.x_problem is not None else self.expression()
        return opened if isinstance(opened, Sparse) and not opened.is_shifted else None

    @property
    def totals(self) -> Totals | None:
        """Return the stored sums over all cells; None when the converter left none."""
        if not self._has_totals:
            return None
        found: Totals | None = self._storage.open_objects.find_or_make(
            self, "totals", self._read_totals, 16 * self.n_var
        )
        return found

    def _read_totals(self) -> Totals | None:
        return read_totals(self._parts.open(X_TOTALS), self.n_var)

    def open_label_sums(self) -> LabelSums | None:
        """Open the stored sums over the cells of each label; None when the converter left none.

        Raises
        ------
        DatasetInvalid
            They are damaged, or of another dataset.
        StorageUnavailable
            The store did not answer.
        """
        if self._label_files is None:
            return None
        if self._label_files.problem is not None:
            raise DatasetInvalid(f"{X_LABEL_SUMS} cannot be read because {self._label_files.problem}.")
        array = self._parts.open(X_LABEL_SUMS)
        try:
            columns, log1p = read_summed_columns(array, self.n_obs, self.n_var)
        finally:
            reading.close(array)
        # Of values, as of X, only those that were there when the dataset was opened.
        handle = Handle(self._storage, f"{self.uri}/{X_LABEL_SUMS}", self._label_files, rows=False)
        return LabelSums(handle, columns, log1p, self.n_var)

    @cached_property
    def looks_like_counts(self) -> bool:
        """Tell whether X, without a negative value, spans so wide a range that it must be counts.

        What a converter or a portal left is believed, but for a claim of counts where a value is negative.
        """
        stored = self.totals
        if stored is not None and stored.is_certain:
            return stored.log1p
        claimed = (self.corpora or {}).get("X_approximate_distribution")
        if claimed == "normal":
            return False
        low, high = extremes(self.expression())
        return low >= 0 and (claimed == "count" or looks_like_counts(low, high))

    @property
    def gene_positions(self) -> Positions:
        """Return where in `var` each gene name stands; names may repeat in foreign files."""
        return self._storage.open_objects.find_or_make(
            self, "gene positions", self._index_genes, lambda positions: positions.nbytes
        )

    @property
    def knows_gene_positions(self) -> bool:
        """Tell whether `gene_positions` is there already."""
        return "gene positions" in self._storage.open_objects.owned(self)

    def _index_genes(self) -> Positions:
        return Positions(label_texts(self.var.read(self.var.index)))

    def expression(self) -> matrix.Matrix:
        """Return X, opened at the first call.

        Raises
        ------
        DatasetInvalid
            The expression data is missing; the message says why.
        """
        if self.x_problem is not None:
            raise DatasetInvalid(self.x_problem)
        with timed_calls.hold(self._lock, self.uri):
            if self._matrix is None:
                self._matrix = matrix.open_matrix(self._storage, self.uri, self._files, self.n_obs, self.n_var)
            return self._matrix

    def claim_prefetch(self) -> bool:
        """Tell whether `prefetch` should be called: once, for a dataset on S3."""
        with self._lock:
            taken, self._is_prefetched = not self._is_prefetched, True
            return taken

    def prefetch(self) -> None:
        """Fetch what a visitor's browser will ask for first, so that none of it costs its own wait; blocks.

        That is `SmallArrays.fetches`, and what opens the matrix by gene. What fails is left to those who ask for it.
        """
        jobs = self._parts.fetches()
        if self.x_kind == "Xr/Xc" and self.x_problem is None and self.n_var:
            jobs = itertools.chain(jobs, [lambda: self.read_X_columns(np.zeros(1, np.int64))])
        fetch(jobs)

    def follow(self, before: Dataset) -> None:
        """Take over from the same dataset, opened before, so that no visitor waits; blocks.

        Costly results are reused, and X is opened if it was open before.
        """
        if before.fingerprint != self.fingerprint:
            return
        if "looks_like_counts" in vars(before):
            vars(self)["looks_like_counts"] = before.looks_like_counts
        with before._lock:
            is_x_open, self._is_prefetched = before._matrix is not None, before._is_prefetched
        if is_x_open and self.n_var:
            # Requests that read X report the error.
            with suppress(CxgError):
                self.read_X_columns(np.zeros(1, np.int64))

    def close(self) -> None:
        """Close every array."""
        self._parts.close()
        self._storage.open_objects.drop(self)
        with self._lock:
            if self._matrix is not None:
                self._matrix.close()

    def _needed_bytes(self) -> int:
        texts = sum(map(text_columns_bytes, (self.obs.meta, self.var.meta, self._parts.group)))
        return needed_bytes(self.n_obs, self.n_var, len(self._parts.embeddings), texts)

    def _inspect_x(self) -> tuple[str | None, str | None]:
        for kind, parts in (("Xr/Xc", ("Xr", "Xc")), ("X", ("X",))):
            if all(part in self._files for part in parts):
                try:
                    matrix.require_whole(self._files, *parts)
                except DatasetInvalid as error:
                    return kind, str(error)
                return kind, None
        half = [part for part in ("Xr", "Xc") if part in self._files]
        if half:
            other = "Xc" if half == ["Xr"] else "Xr"
            return (
                None,
                f"The expression data is lost: {half[0]} is there, but {other} is missing. Copy the dataset again.",
            )
        return None, "This dataset was made without expression data (it holds no expression matrix, X or Xr and Xc)."


def open_dataset(storage: Storage, uri: str, name: str, listing: Listing | None = None) -> Dataset:
    """Open the CXG at `uri`.

    Raises
    ------
    DatasetNotFound
        `uri` does not exist, or is empty.
    DatasetInvalid
        It is not a CXG, or `obs` or `var` is damaged.
    DatasetTooLarge
        It needs more memory than the memory plan has for a dataset.
    StorageUnavailable
        The store did not answer.
    """
    listing = listing if listing is not None else storage.listing(uri)
    # An empty folder called *.cxg is a damaged dataset; an empty folder of another name is not a dataset.
    if not listing.entries and (is_s3(uri) or not Path(uri).is_dir() or (name and not name.endswith(".cxg"))):
        raise DatasetNotFound("There is no dataset of that name here.")
    # Each read names its array in errors; this translates TileDB's errors about other damage.
    with translated("the dataset"):
        return Dataset(storage, uri, name, listing)
