"""Make an h5ad of any size, by streaming: the input of the benchmarks and of the conversion tests.

    python benchmarks/make_h5ad.py OUT.h5ad --cells N --genes M --density D --format csr|csc|dense --seed S

Each cell belongs to one of 12 clusters. A cluster has its own mixture over the genes, and a
cell is a number of reads drawn from it, so counts have the long tail of real ones. X holds
``log1p(count / depth * 1e4)`` as float32. Equal arguments give equal values; memory stays
under about 500 MB whatever the size.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

N_CLUSTERS = 12
_TABLE_BITS = 20
_BLOCK_CELLS = 500
_CHUNK = 1 << 20
_TEXT = h5py.string_dtype("utf-8")


def gene_mixtures(n_genes: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Share of each gene in each cluster's reads: (N_CLUSTERS, n_genes) float64, rows add up to 1."""
    base = rng.gamma(0.35, 1.0, n_genes) + 1e-3
    profiles = np.tile(base, (N_CLUSTERS, 1))
    for profile in profiles:
        markers = rng.choice(n_genes, max(1, n_genes // 50), replace=False)
        profile[markers] *= rng.uniform(3.0, 12.0, markers.size)
    return profiles / profiles.sum(axis=1, keepdims=True)


def depth_for(density: float, mixtures: NDArray[np.float64]) -> float:
    """Number of reads per cell at which `density` of the genes are expected to be seen."""
    low, high = 1.0, 1e9
    for _ in range(80):
        middle = (low * high) ** 0.5
        seen = float(np.mean(-np.expm1(-middle * mixtures)))
        low, high = (middle, high) if seen < density else (low, middle)
    return low


def read_tables(mixtures: NDArray[np.float64]) -> NDArray[np.int32]:
    """Inverse distribution tables: (N_CLUSTERS, 2**20) gene numbers, so that a read is one table look-up."""
    steps = (np.arange(1 << _TABLE_BITS) + 0.5) / (1 << _TABLE_BITS)
    tables = [np.searchsorted(np.cumsum(mixture), steps) for mixture in mixtures]
    return np.minimum(np.array(tables), mixtures.shape[1] - 1).astype(np.int32)


class Cells:
    """A seeded stream of cells; each block has a generator of its own, so blocks can be made again."""

    def __init__(self, n_cells: int, n_genes: int, density: float, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.n_cells, self.n_genes, self.seed = n_cells, n_genes, seed
        mixtures = gene_mixtures(n_genes, rng)
        self.tables = read_tables(mixtures)
        self.depth = depth_for(density, mixtures)
        self.cluster = rng.choice(N_CLUSTERS, n_cells, p=rng.dirichlet(np.full(N_CLUSTERS, 4.0))).astype(np.int8)

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield (up to 500, n_genes) float32 blocks of X, in cell order."""
        for number, start in enumerate(range(0, self.n_cells, _BLOCK_CELLS)):
            yield self._block(number, self.cluster[start : start + _BLOCK_CELLS])

    def _block(self, number: int, cluster: NDArray[np.int8]) -> NDArray[np.float32]:
        rng = np.random.default_rng([self.seed, number])
        depths = np.maximum(1, rng.lognormal(np.log(self.depth), 0.25, cluster.size)).astype(np.int64)
        cell = np.repeat(np.arange(cluster.size), depths)
        draws = rng.integers(0, 1 << _TABLE_BITS, cell.size, dtype=np.int32)
        genes = self.tables[cluster[cell], draws]
        counts = np.bincount(cell * self.n_genes + genes, minlength=cluster.size * self.n_genes)
        out = counts.reshape(cluster.size, self.n_genes).astype(np.float32)
        out *= (1e4 / depths).astype(np.float32)[:, None]
        return np.log1p(out, out=out)


def _encode(item: Any, kind: str, version: str = "0.2.0") -> None:
    item.attrs["encoding-type"] = kind
    item.attrs["encoding-version"] = version


def _write_array(group: Any, name: str, values: NDArray[Any]) -> None:
    text = values.dtype.kind in "UO"
    item = group.create_dataset(name, data=values.astype(object) if text else values, dtype=_TEXT if text else None)
    _encode(item, "string-array" if text else "array")


def _write_categorical(group: Any, name: str, codes: NDArray[Any], labels: list[str]) -> None:
    item = group.create_group(name)
    _encode(item, "categorical")
    item.attrs["ordered"] = False
    _write_array(item, "codes", codes.astype(np.int8 if len(labels) < 128 else np.int16))
    _write_array(item, "categories", np.array(labels, dtype=object))


def _frame(root: Any, key: str, index: NDArray[Any], columns: list[str]) -> Any:
    group = root.create_group(key)
    _encode(group, "dataframe")
    group.attrs["_index"] = "_index"
    group.attrs["column-order"] = np.array(columns, dtype=object) if columns else np.empty(0, dtype="S1")
    _write_array(group, "_index", index)
    return group


_CATEGORICAL = {"cell_type": 12, "donor": 40, "tissue": 6, "assay": 3, "batch": 400, "phase": 3}
_FLOATS = ("score_s", "score_g2m", "percent_mito")
_INTEGERS = ("n_reads", "plate_row")
_FLAGS = ("is_doublet", "passed_qc")


def write_obs(root: Any, cells: Cells, rng: np.random.Generator) -> None:
    """Write 15 obs columns of mixed types; `cell_type` is the cluster."""
    n = cells.n_cells
    names = [*_CATEGORICAL, *_FLOATS, *_INTEGERS, *_FLAGS, "barcode", "note"]
    group = _frame(root, "obs", np.array([f"cell_{i:07d}" for i in range(n)], dtype=object), names)
    for name, size in _CATEGORICAL.items():
        codes = cells.cluster if name == "cell_type" else rng.integers(0, size, n)
        _write_categorical(group, name, codes, [f"{name} {i}" for i in range(size)])
    for name in _FLOATS:
        _write_array(group, name, rng.normal(size=n).astype(np.float64 if name == "percent_mito" else np.float32))
    for name in _INTEGERS:
        _write_array(group, name, rng.integers(0, 50_000, n))
    for name in _FLAGS:
        _write_array(group, name, rng.random(n) < 0.2)
    letters = np.array(list("ACGT"))[rng.integers(0, 4, (n, 16))]
    _write_array(group, "barcode", np.array(["".join(row) for row in letters], dtype=object))
    _write_array(group, "note", np.array(["", "seen twice", "low quality"], dtype=object)[rng.integers(0, 3, n)])


def write_rest(root: Any, cells: Cells, rng: np.random.Generator) -> None:
    """Write var, two embeddings and the colours of `cell_type`."""
    var = _frame(root, "var", np.array([f"GENE{i}" for i in range(cells.n_genes)], dtype=object), ["highly_variable"])
    _write_array(var, "highly_variable", rng.random(cells.n_genes) < 0.1)
    obsm = root.create_group("obsm")
    _encode(obsm, "dict", "0.1.0")
    angle = 2 * np.pi * cells.cluster / N_CLUSTERS
    centre = np.column_stack([np.cos(angle), np.sin(angle)]) * 10
    _write_array(obsm, "X_umap", (centre + rng.normal(size=centre.shape)).astype(np.float32))
    _write_array(obsm, "X_pca", np.hstack([centre, rng.normal(size=(cells.n_cells, 8))]).astype(np.float64))
    uns = root.create_group("uns")
    _encode(uns, "dict", "0.1.0")
    colors = [f"#{value:06x}" for value in rng.integers(0, 1 << 24, N_CLUSTERS)]
    _write_array(uns, "cell_type_colors", np.array(colors, dtype=object))


class _Growing:
    """A one-dimensional HDF5 dataset that is appended to."""

    def __init__(self, group: Any, name: str, dtype: str) -> None:
        self.item = group.create_dataset(name, shape=(0,), maxshape=(None,), chunks=(_CHUNK,), dtype=dtype)
        _encode(self.item, "array")

    def append(self, values: NDArray[Any]) -> None:
        """Add `values` at the end."""
        size = self.item.shape[0]
        self.item.resize((size + values.size,))
        self.item[size:] = values


def write_sparse(root: Any, cells: Cells, kind: str, blocks: Iterator[tuple[int, Any, Any, Any]]) -> int:
    """Write X as CSR or CSC from `(lines, counts, indices, values)` blocks; returns the number of non-zeros."""
    group = root.create_group("X")
    _encode(group, f"{kind}_matrix", "0.1.0")
    group.attrs["shape"] = np.array([cells.n_cells, cells.n_genes])
    indices, data = _Growing(group, "indices", "i4"), _Growing(group, "data", "f4")
    lines = cells.n_cells if kind == "csr" else cells.n_genes
    indptr = np.zeros(lines + 1, dtype=np.int64)
    for start, counts, index, value in blocks:
        indptr[start + 1 : start + 1 + counts.size] = counts
        indices.append(index)
        data.append(value)
    np.cumsum(indptr, out=indptr)
    _write_array(group, "indptr", indptr)
    return int(indptr[-1])


def csr_blocks(cells: Cells) -> Iterator[tuple[int, Any, Any, Any]]:
    """Blocks of rows for `write_sparse`."""
    start = 0
    for block in cells.blocks():
        row, gene = np.nonzero(block)
        yield start, np.bincount(row, minlength=len(block)), gene.astype(np.int32), block[row, gene]
        start += len(block)


def csc_blocks(cells: Cells, budget: int = 8_000_000) -> Iterator[tuple[int, Any, Any, Any]]:
    """Blocks of columns for `write_sparse`: each block of cells is spilled by gene, then the pieces are merged."""
    counts, starts = [], []
    with tempfile.TemporaryFile() as spill:
        for number, block in enumerate(cells.blocks()):
            gene, row = np.nonzero(block.T)
            starts.append(spill.tell())
            counts.append(np.bincount(gene, minlength=cells.n_genes).astype(np.int32))
            spill.write((row + number * _BLOCK_CELLS).astype(np.int32).tobytes())
            spill.write(block[row, gene].tobytes())
        table = np.array(counts)
        first = 0
        while first < cells.n_genes:
            sizes = np.cumsum(table[:, first:].sum(axis=0))
            last = first + max(1, int(np.searchsorted(sizes, budget)))
            yield first, *_merge(spill, starts, table, slice(first, last))
            first = last


def _merge(spill: Any, starts: list[int], table: NDArray[np.int32], genes: slice) -> tuple[Any, Any, Any]:
    """Read one range of genes from every spilled block: (counts per gene, cell numbers, values)."""
    rows, values, order = [], [], []
    for start, line in zip(starts, table, strict=True):
        skip, size, whole = (int(part.sum()) for part in (line[: genes.start], line[genes], line))
        for kept, dtype, offset in ((rows, np.int32, 0), (values, np.float32, whole)):
            spill.seek(start + 4 * (offset + skip))
            kept.append(np.frombuffer(spill.read(4 * size), dtype=dtype))
        order.append(np.repeat(np.arange(line[genes].size), line[genes]))
    by_gene = np.argsort(np.concatenate(order), kind="stable")
    return table[:, genes].sum(axis=0), np.concatenate(rows)[by_gene], np.concatenate(values)[by_gene]


def write_dense(root: Any, cells: Cells) -> int:
    """Write X as a dense dataset; returns the number of non-zeros."""
    rows = max(1, min(cells.n_cells, _CHUNK // cells.n_genes))
    shape = (cells.n_cells, cells.n_genes)
    item = root.create_dataset("X", shape=shape, dtype="f4", chunks=(rows, cells.n_genes))
    _encode(item, "array")
    start = total = 0
    for block in cells.blocks():
        item[start : start + len(block)] = block
        start += len(block)
        total += int(np.count_nonzero(block))
    return total


def main(argv: list[str] | None = None) -> int:
    """Write the file named on the command line and print what it holds."""
    parser = argparse.ArgumentParser(description="Make a synthetic h5ad by streaming.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--density", type=float, default=0.0708, help="share of non-zeros (default: %(default)s)")
    parser.add_argument("--format", choices=("csr", "csc", "dense"), default="csr")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    cells = Cells(args.cells, args.genes, args.density, args.seed)
    rng = np.random.default_rng([args.seed, 1 << 30])
    with h5py.File(args.out, "w") as root:
        _encode(root, "anndata", "0.1.0")
        write_obs(root, cells, rng)
        write_rest(root, cells, rng)
        if args.format == "dense":
            nnz = write_dense(root, cells)
        else:
            nnz = write_sparse(
                root, cells, args.format, csr_blocks(cells) if args.format == "csr" else csc_blocks(cells)
            )
    size = args.out.stat().st_size
    sys.stdout.write(f"{args.out}: {args.cells} cells x {args.genes} genes, {nnz} non-zeros, {size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
