"""Recognises a folder given in place of an .h5ad, and says how to make an .h5ad of it."""

from __future__ import annotations

from pathlib import Path

from cxg.format import layout

_ZARR = (".zgroup", ".zattrs", ".zmetadata", ".zarray", "zarr.json")
_MTX = (".mtx", ".mtx.gz")
_OF_10X = ("filtered_feature_bc_matrix", "filtered_gene_bc_matrices", "raw_feature_bc_matrix", "outs")


def describe_folder(path: Path) -> str:
    """Say in the rest of a sentence that begins with its path what a folder is, and what to do."""
    names = {item.name for item in path.iterdir()}
    if names & set(_ZARR):
        return _zarr(names)
    if "ms" in names and ("__group" in names or layout.GROUP_MARKER in names):
        return (
            "is a TileDB-SOMA experiment: write it as .h5ad (in Python: "
            "tiledbsoma.io.to_h5ad(tiledbsoma.open(...), 'new.h5ad', measurement_name='RNA'))"
        )
    if any((path / mark).exists() for mark in layout.MARKS):
        return "is a CXG already: serve it as it is (cxg launch)"
    if any(name.endswith(_MTX) for name in names):
        return (
            "is a folder with a matrix of 10x Genomics or another in MatrixMarket form; read it with "
            "scanpy.read_10x_mtx(...), compute an embedding and write an .h5ad"
        )
    if inside := sorted(names & set(_OF_10X)):
        return (
            f"is a folder of Cell Ranger; read {inside[0]} in it with scanpy.read_10x_mtx(...) or its .h5 with "
            "scanpy.read_10x_h5(...), compute an embedding and write an .h5ad"
        )
    if any(name.endswith(".parquet") for name in names):
        return "is a folder of Parquet files: make an AnnData object of them and write an .h5ad"
    files = sorted(name for name in names if name.endswith(".h5ad"))
    if files:
        return f"is a folder; name a file in it, such as {path / files[0]}"
    return "is a folder; an .h5ad file is needed (in Python: adata.write_h5ad('new.h5ad'))"


def _zarr(names: set[str]) -> str:
    if "mod" in names:
        return (
            "is a zarr store of MuData: write one of its modalities (in Python: "
            "mudata.read_zarr(...)['rna'].write_h5ad(...))"
        )
    if "tables" in names:
        return (
            "is a zarr store of SpatialData: write its table (in Python: "
            "spatialdata.read_zarr(...).tables['table'].write_h5ad(...))"
        )
    return "is a zarr store; an .h5ad file is needed (in Python: anndata.read_zarr(...).write_h5ad(...))"
