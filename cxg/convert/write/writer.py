"""From an open h5ad to the arrays of a CXG in an empty folder."""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from cxg.compute.label_sums import LabelColumn, choose_columns, most_bytes
from cxg.convert.options import Options
from cxg.convert.progress import Step
from cxg.convert.read.column import to_text
from cxg.convert.read.embeddings import find_embeddings
from cxg.convert.read.h5ad import H5ad
from cxg.convert.read.matrix import Block
from cxg.convert.read.table import Frame
from cxg.convert.report import Report
from cxg.convert.write import arrays
from cxg.convert.write.colors import category_colors
from cxg.convert.write.gene_sets import gene_sets
from cxg.convert.write.review import review_matrix, review_names
from cxg.convert.write.statistics import MatrixStats
from cxg.convert.write.stored_sums import StoredSums
from cxg.convert.write.tables import Table, build_table
from cxg.convert.write.transpose import ExternalTranspose
from cxg.format import layout
from cxg.format.geneset_files import GeneSet
from cxg.links import without_bad_links


class Conversion:
    """One conversion; `write` makes the arrays, `check` only looks.

    Parameters
    ----------
    source : H5ad
        H5ad.
    options : Options
    stem : str
        File name without its ending: the title when there is no other.
    report : Report
        Collects what was changed and what looks wrong.
    step : callable
        Told of progress.
    """

    def __init__(self, source: H5ad, options: Options, stem: str, report: Report, step: Step) -> None:
        self._source, self._options, self._stem = source, options, stem
        self._report, self._step = report, step
        self._stats = MatrixStats()
        self._label_columns: tuple[LabelColumn, ...] = ()
        report.facts |= {"n_obs": source.obs.n, "n_var": source.var.n, "x_from": source.matrix_name}

    def check(self) -> None:
        """Read everything and write nothing; the report tells what would happen.

        Raises
        ------
        ConversionError
            The input cannot be converted.
        """
        self._annotations(None, None, None)
        for block in self._source.matrix.blocks():
            self._stats.add(block.lines.data)
            self._progress("reading X", block, self._source.matrix)
        self._finish()

    def write(self, root: Path, scratch: Path) -> None:
        """Write the CXG to the new folder `root`, with temporary files in `scratch`.

        Raises
        ------
        ConversionError
            The input cannot be converted.
        """
        ctx = arrays.writing_context()
        arrays.create_groups(root, [layout.EMB], ctx)
        self._annotations(root, scratch, ctx)
        sums = self._write_dense(root, ctx) if self._is_dense() else self._write_pair(root, scratch, ctx)
        sums.write(root, self._is_counts(), self._extremes(), self._stats.nnz, ctx)
        self._finish()

    def _annotations(self, root: Path | None, scratch: Path | None, ctx: Any) -> None:
        """Tables, embeddings and metadata; with `root` None they are only looked at."""
        source, options, report = self._source, self._options, self._report
        embeddings = find_embeddings(source.root, source.obs.n, report)
        palettes = {}
        sets: list[GeneSet] = []
        for frame, names in ((source.var, options.var_names), (source.obs, options.obs_names)):
            table = build_table(frame, names, options.make_unique, report, scratch)
            palettes = table.palettes
            report.facts[f"{frame.axis}_columns"] = list(table.columns)
            if frame.axis == layout.VAR and names is None:
                review_names(table, report)
            if frame.axis == layout.VAR:
                sets = gene_sets(source.root, options, _gene_names(frame, table), report)
            if root is not None:
                arrays.write_frame(str(root / frame.axis), table.columns, ctx)
                metadata = {layout.SCHEMA_KEY: table.hints}
                if frame.axis == layout.OBS and sets:
                    metadata[layout.GENESETS_KEY] = _json(sets)
                arrays.write_metadata(str(root / frame.axis), metadata, ctx)
                if frame.axis == layout.OBS:
                    self._label_columns = choose_columns(
                        table.columns, table.n_labels, source.var.n, most_bytes(source.matrix.stored)
                    )
            del table
        report.facts["gene_sets"] = len(sets)
        report.facts["embeddings"] = [item.name for item in embeddings]
        colors = category_colors(source.root, palettes, report) if options.custom_colors else {}
        report.facts["colors"] = list(colors)
        if root is None:
            return
        for item in embeddings:
            writer = arrays.EmbeddingWriter(str(root / layout.EMB / item.name), item.n_obs, item.n_columns, ctx)
            for start, rows in item.slices():
                writer.write(start, rows)
            if item.offset is not None:
                uri = str(root / layout.EMB / item.name)
                arrays.write_metadata(uri, {layout.OFFSET_KEY: _json(item.offset)}, ctx)
        arrays.create_metadata_array(str(root / layout.GROUP_METADATA), self._metadata(colors), ctx)

    def _metadata(self, colors: dict[str, dict[str, str]]) -> dict[str, str]:
        title = self._options.title or self._source.uns_text("title") or self._stem
        out = {
            layout.VERSION_KEY: layout.CXG_VERSION,
            layout.PROPERTIES_KEY: _json({"title": title, "about": self._options.about}),
        }
        if colors:
            out[layout.COLORS_KEY] = _json(colors)
        if (corpora := self._source.corpora()) is not None:
            dropped: list[str] = []
            out[layout.CORPORA_KEY] = _json(without_bad_links(corpora, dropped))
            for key in dropped:
                self._report.warn("link_dropped", f"uns/{key}", "It is not a link to a web page and is left out.")
        return out

    def _is_dense(self) -> bool:
        """Tell whether X is as dense as the option for one dense array asks."""
        if self._options.sparse_threshold >= 100:
            return False
        source = self._source.matrix
        stored = source.stored
        if source.kind == "dense":
            stored = sum(block.lines.nnz for block in source.blocks())
        return 100.0 * stored / (source.shape[0] * source.shape[1]) >= self._options.sparse_threshold

    def _write_pair(self, root: Path, scratch: Path, ctx: Any) -> StoredSums:
        """Write Xr and Xc: one while reading, the other from what was spilled."""
        source = self._source.matrix
        by_cell = source.major == layout.OBS
        n_lines, n_minor = source.shape if by_cell else source.shape[::-1]
        axes = (layout.OBS, layout.VAR) if by_cell else (layout.VAR, layout.OBS)
        names = (layout.X_ROWS, layout.X_COLUMNS) if by_cell else (layout.X_COLUMNS, layout.X_ROWS)
        sums = None if by_cell else self._sums(None)
        runs = ExternalTranspose(scratch / "runs", n_minor)
        with ExitStack() as stack:
            stack.callback(runs.close)
            with (
                arrays.SparseWriter(str(root / names[0]), *axes, n_lines, source.stored, ctx) as writer,
                Behind(writer) as behind,
            ):
                for block in source.blocks():
                    behind.write(block)
                    self._stats.add(block.lines.data)
                    runs.add(block)
                    if sums is not None:
                        sums.add(block.start, block.lines)
                    self._progress("first pass", block, source)
            written = sums if sums is not None else self._sums(self._is_counts())
            with (
                arrays.SparseWriter(str(root / names[1]), *axes[::-1], n_minor, self._stats.nnz, ctx) as writer,
                Behind(writer) as behind,
            ):
                for block in runs.blocks():
                    behind.write(block)
                    if by_cell:
                        written.add(block.start, block.lines)
                    self._step("second pass", block.start + block.lines.shape[0], n_minor)
        self._report.facts["x_layout"] = "Xr + Xc"
        return written

    def _write_dense(self, root: Path, ctx: Any) -> StoredSums:
        source = self._source.matrix
        by_cell = source.major == layout.OBS
        sums = self._sums(None)
        with arrays.DenseWriter(str(root / layout.X), source.shape, by_cell, ctx) as writer:
            for block in source.blocks(writer.align):
                writer.write(block.start, block.lines)
                self._stats.add(block.lines.data)
                if by_cell:
                    sums.add(0, block.lines.tocsc(), block.start)
                else:
                    sums.add(block.start, block.lines)
                self._progress("writing X", block, source)
        self._report.facts["x_layout"] = "X, dense"
        return sums

    def _sums(self, log1p: bool | None) -> StoredSums:
        return StoredSums(self._source.var.n, self._label_columns, log1p)

    def _extremes(self) -> tuple[float, float]:
        shape = self._source.matrix.shape
        return self._stats.extremes(shape[0] * shape[1])

    def _is_counts(self) -> bool:
        shape = self._source.matrix.shape
        return self._stats.look_like_counts(shape[0] * shape[1])

    def _progress(self, what: str, block: Block, source: Any) -> None:
        total = source.shape[0] if source.major == layout.OBS else source.shape[1]
        self._step(what, block.start + block.lines.shape[0], total)

    def _finish(self) -> None:
        source = self._source
        low, high = self._extremes()
        self._report.facts |= {
            "non_zeros": self._stats.nnz,
            "x_minimum": low,
            "x_maximum": high,
        }
        review_matrix(source, self._stats, self._report)


class Behind:
    """Writes blocks in a thread of its own, one at a time, while the next is read."""

    def __init__(self, writer: arrays.SparseWriter) -> None:
        self._writer = writer
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="cxg-write")
        self._pending: Future[None] | None = None

    def __enter__(self) -> Behind:
        """Return itself."""
        return self

    def write(self, block: Block) -> None:
        """Queue a block; waits until the one before it is written and raises what went wrong there."""
        self.wait()
        self._pending = self._pool.submit(self._writer.write, block.start, block.lines)

    def wait(self) -> None:
        """Wait for the block that is being written."""
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Wait for the last block; an earlier error goes first."""
        try:
            if kind is None:
                self.wait()
        finally:
            self._pool.shutdown()


def _gene_names(frame: Frame, table: Table) -> dict[str, str]:
    """Name of each gene in the CXG, by its name in the file and by its name in the CXG."""
    stored = next(iter(table.columns.values())).strings()
    given = to_text(frame.index()).strings()
    return dict(zip(given, stored, strict=True)) | dict(zip(stored, stored, strict=True))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
