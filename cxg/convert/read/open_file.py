"""Open an HDF5 file that may be an AnnData one; of any other file, say what it is and how to convert it."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import Any

import h5py

from cxg.convert.read.column import as_str, encoding_of
from cxg.convert.read.folders import describe_folder
from cxg.convert.read.other_files import HEAD_BYTES, describe_file
from cxg.errors import ConversionError

_CHUNK_CACHE_BYTES = 64 << 20
_CUT = re.compile(r"eof = (\d+).*stored_eof = (\d+)", re.DOTALL)
_OLD_10X = {"barcodes", "genes", "data", "indices", "indptr"}


def open_file(path: Path) -> Any:
    """Open an HDF5 file for reading.

    Raises
    ------
    ConversionError
        There is none, or it is another kind of file; one sentence says which, and what to do.
    """
    mode = _mode(path)
    if stat.S_ISDIR(mode):
        raise ConversionError(f"{path} {describe_folder(path)}.")
    if not stat.S_ISREG(mode):
        # Opening a pipe would wait for somebody who writes.
        what = "a pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"
        raise ConversionError(
            f"{path} is {what}, not a file: save the data as an .h5ad file first, as it is not read in order."
        )
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise ConversionError(f"{path} cannot be opened: {error.strerror}.") from error
    if not h5py.is_hdf5(path):
        raise ConversionError(f"{path} {describe_file(path, head)}.")
    try:
        root = h5py.File(path, "r", rdcc_nbytes=_CHUNK_CACHE_BYTES, locking=False)
    except OSError as error:
        raise ConversionError(f"{path} {_unopened(error)}.") from error
    try:
        other = _other_kind(root) or broken_link(root, "obs", "var", "obsm")
    except BaseException:
        root.close()
        raise
    if other is not None:
        root.close()
        raise ConversionError(f"{path} {other}.")
    return root


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ConversionError(f"{path} is a link that leads back to itself; name the file itself.") from error
        if error.errno not in (errno.ENOENT, errno.ENOTDIR):
            raise ConversionError(f"{path} cannot be opened: {error.strerror}.") from error
        raise ConversionError(_absent(path)) from error


def _absent(path: Path) -> str:
    """Why there is nothing: a link on the way may lead nowhere."""
    for part in (*reversed(path.parents), path):
        if part.is_symlink() and not part.exists():
            target = Path(os.readlink(part))  # noqa: PTH115  (its text, also where it is relative)
            gone = _last_target(part)
            through = f" by way of {target}" if gone != _joined(part, target) else ""
            return (
                f"{path} does not exist: {part} is a link to {gone}{through}, which is gone; "
                "put it back or name another file."
            )
        if part != path and part.exists() and not part.is_dir():
            return f"{path} does not exist: {part} is a file, not a folder."
    return f"{path} does not exist."


def _last_target(link: Path) -> Path:
    """Where a chain of links ends."""
    while link.is_symlink():
        link = _joined(link, Path(os.readlink(link)))  # noqa: PTH115
    return link


def _joined(link: Path, target: Path) -> Path:
    return Path(os.path.normpath(link.parent / target))


def _unopened(error: OSError) -> str:
    text = str(error)
    if "truncated" in text:
        sizes = _CUT.search(text)
        known = f", {int(sizes[1]):,} of {int(sizes[2]):,} bytes are there" if sizes else ""
        return f"is cut short{known}: copy or download it again"
    if "already open for write" in text or "consistency flags" in text:
        return "is being written, or was when its program ended: close that, or write the file again"
    reason = f" ({text.strip().splitlines()[0].rstrip('.')})" if text.strip() else ""
    return f"cannot be opened{reason}: copy or download it again"


def _other_kind(root: Any) -> str | None:
    """Say what an HDF5 file is when it is another kind than AnnData's; None when it may be one."""
    keys = {as_str(key) for key in root}
    if "LOOM_SPEC_VERSION" in root.attrs or {"row_attrs", "col_attrs"} <= keys:
        return "is a loom file; convert it first (in Python: anndata.io.read_loom(...).write_h5ad(...))"
    if encoding_of(root).lower() == "mudata" or ("mod" in keys and "X" not in keys):
        names = [as_str(key) for key in root["mod"]] if isinstance(root.get("mod"), h5py.Group) else []
        name = "rna" if "rna" in names or not names else names[0]
        return (
            f"is a MuData file; write one of its modalities ({', '.join(names) or 'none is in it'}) as .h5ad "
            f"(in Python: mudata.read_h5mu(...)[{name!r}].write_h5ad(...))"
        )
    if "obs" in keys or "var" in keys:
        return None
    return _of_10x(root, keys) or _of_others(root, keys)


def broken_link(root: Any, *keys: str) -> str | None:
    """Say which of these parts of a file is a link, inside HDF5, to something that is gone; None when none is."""
    for key in keys:
        link = root.get(key, getlink=True)
        if root.get(key) is not None or not isinstance(link, h5py.SoftLink | h5py.ExternalLink):
            continue
        where = link.path if isinstance(link, h5py.SoftLink) else f"{link.path} in {link.filename}"
        return f"cannot be read: its {key} is a link to {where}, which is gone; put it back or write the file again"
    return None


def _of_10x(root: Any, keys: set[str]) -> str | None:
    if "matrix" in keys:
        kinds = _feature_types(root)
        gex = ", gex_only=False" if kinds and kinds != ["Gene Expression"] else ""
        held = f" of {', '.join(kinds)}" if kinds else ""
        return (
            f"is a 10x matrix{held}; read it with scanpy.read_10x_h5(...{gex}), compute an embedding and write an .h5ad"
        )
    genomes = [key for key in sorted(keys) if isinstance(root[key], h5py.Group) and set(root[key]) >= _OLD_10X]
    if genomes:
        return (
            f"is a 10x matrix of Cell Ranger 2 or older ({', '.join(genomes)}); read it with "
            f"scanpy.read_10x_h5(..., genome={genomes[0]!r}), compute an embedding and write an .h5ad"
        )
    if "barcode_idx" in keys or "molecule_info" in keys or {"barcode", "gene", "umi"} <= keys:
        return (
            "is the molecule_info of Cell Ranger, which lists molecules: take filtered_feature_bc_matrix.h5 beside it "
            "(in Python: scanpy.read_10x_h5(...)), compute an embedding and write an .h5ad"
        )
    return None


def _feature_types(root: Any) -> list[str]:
    item = root.get("matrix/features/feature_type")
    if not isinstance(item, h5py.Dataset) or item.ndim != 1:
        return []
    return sorted({as_str(value) for value in item[:]})


def _of_others(root: Any, keys: set[str]) -> str | None:
    if {"assays", "cell.names"} <= keys:
        return (
            "is an h5Seurat file; convert it first (in R: SeuratDisk::Convert(source, dest = 'h5ad'), "
            "or zellkonverter::writeH5AD(Seurat::as.SingleCellExperiment(object), 'new.h5ad'))"
        )
    if "PYTABLES_FORMAT_VERSION" in root.attrs:
        return (
            "is a table of pandas or PyTables; make an AnnData object of it (in Python: pandas.read_hdf(...)) "
            "and write an .h5ad"
        )
    if "_NCProperties" in root.attrs:
        return "is a NetCDF file; make an AnnData object of it (in Python: xarray.open_dataset(...)) and write an .h5ad"
    if "X" in keys or "layers" in keys:
        return None
    held = ", ".join(sorted(keys)[:5]) or "nothing"
    return f"is an HDF5 file, but not an AnnData one (it holds {held}): write an .h5ad with anndata's write_h5ad"
