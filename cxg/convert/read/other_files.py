"""Recognises a file that is not HDF5 by its first bytes, and says how to make an .h5ad of it."""

from __future__ import annotations

import bz2
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

HEAD_BYTES = 8192
_PEEK = 1024
_AGAIN = "copy or download it again"
_BY_R = (
    'in R: zellkonverter::writeH5AD(sce, "new.h5ad"), for a Seurat object after Seurat::as.SingleCellExperiment(object)'
)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_R = (b"RDX2\n", b"RDX3\n", b"RDA2\n", b"RDA3\n", b"RDB2\n", b"RDB3\n", b"X\n\0\0\0", b"A\n2\n", b"A\n3\n", b"B\n")

# First bytes, what the file is, and the way out.
_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (
        b"version https://git-lfs",
        "is a pointer of Git LFS, not the file itself",
        "run `git lfs pull` where it came from",
    ),
    (b"/annex/objects/", "is a pointer of git-annex, not the file itself", "run `git annex get` where it came from"),
    (b"%%MatrixMarket", "is a matrix in MatrixMarket form", "in Python: scanpy.read_10x_mtx(...) reads the folder"),
    (b"PAR1", "is a Parquet file", "in Python: pandas.read_parquet(...)"),
    (b"ARROW1", "is an Arrow (Feather) file", "in Python: pandas.read_feather(...)"),
    (b"FEA1", "is a Feather file", "in Python: pandas.read_feather(...)"),
    (b"\x93NUMPY", "is a NumPy array", "in Python: anndata.AnnData(numpy.load(...))"),
    (b"SQLite format 3\0", "is an SQLite database", "export an .h5ad from the program that wrote it"),
    (b"MATLAB 5.0", "is a MATLAB file", "in Python: scipy.io.loadmat(...)"),
    (b"CDF\x01", "is a NetCDF 3 file", "in Python: xarray.open_dataset(...)"),
    (b"CDF\x02", "is a NetCDF 3 file", "in Python: xarray.open_dataset(...)"),
    (b"%PDF", "is a PDF document", "download the data instead"),
    (b"\x89PNG", "is a picture", "name the .h5ad file instead"),
    (b"II*\0", "is a TIFF picture", "name the .h5ad file instead"),
    (b"MM\0*", "is a TIFF picture", "name the .h5ad file instead"),
)
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_WEB = re.compile(rb"\s*<(!doctype html|html|head|body)", re.IGNORECASE)
_XML = re.compile(rb"\s*<(\?xml|error|[a-z]+response)\b", re.IGNORECASE)
_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9]+)\s*</Code>")


def _gunzip(head: bytes) -> bytes:
    return zlib.decompressobj(31).decompress(head, _PEEK)


def _bunzip(head: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(head, _PEEK)


def _unxz(head: bytes) -> bytes:
    return lzma.LZMADecompressor().decompress(head, _PEEK)


_COMPRESSED: tuple[tuple[bytes, str, str, Callable[[bytes], bytes] | None], ...] = (
    (b"\x1f\x8b", "gzip", "gunzip", _gunzip),
    (b"BZh", "bzip2", "bunzip2", _bunzip),
    (b"\xfd7zXZ\0", "xz", "unxz", _unxz),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd", None),
    (b"\x04\x22\x4d\x18", "lz4", "unlz4", None),
)


def describe_file(path: Path, head: bytes) -> str:
    """Say in the rest of a sentence that begins with its path what a file is, and what to do.

    Parameters
    ----------
    head : bytes
        Its first `HEAD_BYTES` bytes, or all that it has.
    """
    if not head:
        return f"is empty: {_AGAIN}"
    if not head.strip(b"\0"):
        return f"begins with zeros only, as a broken download does: {_AGAIN}"
    for magic, name, tool, unpack in _COMPRESSED:
        if head.startswith(magic):
            return _compressed(name, tool, _unpacked(unpack, head))
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _archive(path)
    return _plain(head) or (
        "is not an HDF5 file, so it is not an .h5ad: name another, or write it with anndata's write_h5ad"
    )


def _plain(head: bytes) -> str | None:
    if head.startswith(_R):
        return f"holds an R object; write an .h5ad of it ({_BY_R})"
    for magic, what, way in _MAGIC:
        if head.startswith(magic):
            return f"{what}: {way}" if "pointer" in what or "Python" not in way else _to_anndata(what, way)
    if _PICKLE.match(head):
        return (
            "is a Python pickle: load it where it was made and write an .h5ad (in Python: adata.write_h5ad('new.h5ad'))"
        )
    if _is_tar(head):
        return "is a tar archive: unpack it first (tar xf)"
    if _WEB.match(head):
        return "is a web page, such as that of an error or a login, saved in place of the data: download it again"
    if _XML.match(head):
        code = _CODE.search(head)
        said = f" ({code[1].decode()})" if code else ""
        return f"is an XML answer{said}, such as a store's error, saved in place of the data: download it again"
    return _text(head)


def _to_anndata(what: str, way: str) -> str:
    return f"{what}; make an AnnData object of it, compute an embedding and write an .h5ad ({way})"


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def _text(head: bytes) -> str | None:
    if b"\0" in head:
        return None
    try:
        text = head[:-3].decode("utf-8") if len(head) >= HEAD_BYTES else head.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if text.lstrip().startswith("{"):
        return "is JSON text, such as an error of the server it came from: download the data again"
    way = "in Python: scanpy.read_csv(...) or scanpy.read_text(...)"
    return _to_anndata("is a text file, not an HDF5 file", way)


def _unpacked(unpack: Callable[[bytes], bytes] | None, head: bytes) -> bytes:
    try:
        return unpack(head) if unpack is not None else b""
    except (zlib.error, lzma.LZMAError, OSError, ValueError, EOFError):
        return b""


def _compressed(name: str, tool: str, inside: bytes) -> str:
    if inside.startswith(_R):
        return f"holds an R object (compressed with {name}); write an .h5ad of it ({_BY_R})"
    if _is_tar(inside):
        return f"is a tar archive compressed with {name}: unpack it first (tar xf)"
    found = None if not inside or inside.startswith(_HDF5) else _plain(inside)
    if found is not None:
        return f"is compressed with {name}; inside it {found}"
    return f"is compressed with {name}: unpack it first ({tool}), since an .h5ad is read in pieces"


def _archive(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return f"is a zip archive that cannot be read: {_AGAIN}"
    ends = {name.rsplit("/", 1)[-1] for name in names}
    if ends & {".zgroup", ".zattrs", ".zmetadata", "zarr.json"}:
        return (
            "is a zarr store in a zip archive: write it as .h5ad (in Python: "
            "anndata.read_zarr(zarr.storage.ZipStore(...)).write_h5ad('new.h5ad'))"
        )
    if "[Content_Types].xml" in ends:
        return _to_anndata("is a spreadsheet or document of an office program", "in Python: scanpy.read_excel(...)")
    if names and all(name.endswith(".npy") for name in names):
        return _to_anndata("holds NumPy arrays (.npz)", "in Python: scipy.sparse.load_npz(...) or numpy.load(...)")
    inside = next((name for name in names if name.endswith((".h5ad", ".h5"))), None)
    return f"is a zip archive: unpack it first (unzip){f'; {inside} is in it' if inside else ''}"
