"""What is no .h5ad is called by its name, with the way to make one of it; what is not there is told why."""

import bz2
import errno
import gzip
import io
import lzma
import os
import socket
import tarfile
import zipfile

import h5py
import numpy as np
import pytest

from tests import cxgs
from tests.unit.convert.h5ads import listed, make_h5ad, write_array, write_frame

R_OBJECT = b"X\n\x00\x00\x00\x03\x00\x04\x03\x01"
R_DATA = b"RDX3\nX\n\x00\x00\x00\x03"
DENIED = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
TENX = ("barcodes", "data", "indices", "indptr", "shape")


def h5ad_bytes(folder):
    path = make_h5ad(folder / "made.h5ad")
    data = path.read_bytes()
    path.unlink()
    return data


def tar_bytes():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("in.h5ad"))
    return file.getvalue()


def holding(data):
    def make(folder):
        path = folder / "in.h5ad"
        path.write_bytes(data(folder) if callable(data) else data)
        return path

    return make


def zipped(*names):
    def make(folder):
        path = folder / "in.h5ad"
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, "{}")
        return path

    return make


def folder_of(*names):
    def make(folder):
        path = folder / "in"
        path.mkdir()
        for name in names:
            target = path / name
            if name.endswith("/"):
                target.mkdir(parents=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text("{}")
        return path

    return make


def hdf5(*names, **attrs):
    """An HDF5 file with these datasets, in groups, and attributes."""

    def make(folder):
        path = folder / "in.h5ad"
        with h5py.File(path, "w") as root:
            for name in names:
                root.require_group(name) if name.endswith("/") else root.create_dataset(name, data=[1])
            root.attrs.update(attrs)
        return path

    return make


def tenx(*kinds):
    def make(folder):
        path = hdf5(*(f"matrix/{name}" for name in TENX))(folder)
        with h5py.File(path, "a") as root:
            write_array(root.create_group("matrix/features"), "feature_type", np.array(kinds, object))
        return path

    return make


def modalities(*names):
    def make(folder):
        path = hdf5(*(f"mod/{name}/" for name in names), **{"encoding-type": "MuData"})(folder)
        with h5py.File(path, "a") as root:
            write_frame(root, "obs", ["a"])
        return path

    return make


def cut(length):
    return holding(lambda folder: h5ad_bytes(folder)[:length])


def a_cxg(folder):
    return cxgs.build(folder / "in.cxg").path


OTHER = {
    "empty": (holding(b""), "is empty: copy or download it again"),
    "zeros": (holding(bytes(20_000)), "begins with zeros only"),
    "noise": (holding(b"\x00\x01\x02\xff" * 99), "is not an HDF5 file"),
    "gzip": (holding(lambda folder: gzip.compress(h5ad_bytes(folder))), "is compressed with gzip: unpack it first (gunzip)"),
    "bzip2": (holding(lambda folder: bz2.compress(h5ad_bytes(folder))), "is compressed with bzip2: unpack it first (bunzip2)"),
    "xz": (holding(lambda folder: lzma.compress(h5ad_bytes(folder))), "is compressed with xz: unpack it first (unxz)"),
    "zstd": (holding(b"\x28\xb5\x2f\xfd" + bytes(99)), "is compressed with zstd: unpack it first (unzstd)"),
    "lz4": (holding(b"\x04\x22\x4d\x18" + bytes(99)), "is compressed with lz4"),
    "gzip, cut": (holding(b"\x1f\x8b"), "is compressed with gzip"),
    "gzip of text": (holding(gzip.compress(b"gene,cell\n1,2\n")), "is compressed with gzip; inside it is a text file"),
    "gzip of a matrix": (holding(gzip.compress(b"%%MatrixMarket matrix\n")), "inside it is a matrix in MatrixMarket form"),
    "tar.gz": (holding(lambda _: gzip.compress(tar_bytes())), "is a tar archive compressed with gzip: unpack it first (tar xf)"),
    "tar": (holding(lambda _: tar_bytes()), "is a tar archive: unpack it first"),
    "rds gzip": (holding(gzip.compress(R_OBJECT)), "holds an R object (compressed with gzip); write an .h5ad of it (in R"),
    "rds bzip2": (holding(bz2.compress(R_OBJECT)), "holds an R object (compressed with bzip2)"),
    "rds xz": (holding(lzma.compress(R_OBJECT)), "holds an R object (compressed with xz)"),
    "rds": (holding(R_OBJECT), "holds an R object; write an .h5ad of it (in R"),
    "rds text": (holding(b"A\n3\n262144\n"), "holds an R object"),
    "RData gzip": (holding(gzip.compress(R_DATA)), "zellkonverter::writeH5AD"),
    "RData": (holding(R_DATA), "holds an R object"),
    "zip": (zipped("a/in.h5ad"), "is a zip archive: unpack it first (unzip); a/in.h5ad is in it"),
    "zip of zarr 2": (zipped(".zgroup", "X/.zarray"), "is a zarr store in a zip archive"),
    "zip of zarr 3": (zipped("a.zarr/zarr.json"), "anndata.read_zarr(zarr.storage.ZipStore(...)).write_h5ad"),
    "xlsx": (zipped("[Content_Types].xml"), "office program"),
    "npz": (zipped("data.npy", "indptr.npy"), "scipy.sparse.load_npz"),
    "zip, cut": (holding(b"PK\x03\x04" + bytes(40)), "is a zip archive that cannot be read"),
    "LFS pointer": (holding(POINTER), "is a pointer of Git LFS, not the file itself: run `git lfs pull`"),
    "annex pointer": (holding(b"/annex/objects/SHA256E-s1--a.h5ad\n"), "git annex get"),
    "HTML": (holding(b"<!DOCTYPE html>\n<html><head>"), "is a web page"),
    "HTML, lower case": (holding(b"\n <html lang='en'>"), "download it again"),
    "S3 error": (holding(DENIED), "is an XML answer (AccessDenied), such as a store's error"),
    "JSON error": (holding(b'{"message": "Not Found"}'), "is JSON text, such as an error of the server"),
    "csv": (holding(b"gene,cell\na,1\n"), "is a text file, not an HDF5 file"),
    "long tsv": (holding("é\t1\n".encode() * 9999), "scanpy.read_csv(...) or scanpy.read_text(...)"),
    "mtx": (holding(b"%%MatrixMarket matrix coordinate\n"), "scanpy.read_10x_mtx"),
    "Parquet": (holding(b"PAR1" + bytes(99)), "is a Parquet file"),
    "Arrow": (holding(b"ARROW1\0\0" + bytes(99)), "is an Arrow (Feather) file"),
    "npy": (holding(b"\x93NUMPY\x01\x00"), "is a NumPy array"),
    "pickle": (holding(b"\x80\x04\x95" + bytes(20)), "is a Python pickle"),
    "SQLite": (holding(b"SQLite format 3\0" + bytes(99)), "is an SQLite database"),
    "TIFF": (holding(b"II*\0" + bytes(99)), "is a TIFF picture"),
    "signature alone": (cut(8), "cannot be opened"),
    "half": (cut(9000), "is cut short, 9,000 of "),
    "zarr 2": (folder_of(".zgroup", "X/.zarray"), "is a zarr store; an .h5ad file is needed (in Python: anndata.read_zarr(...)"),
    "zarr 3": (folder_of("zarr.json"), "is a zarr store"),
    "zarr of MuData": (folder_of(".zgroup", "mod/"), "is a zarr store of MuData"),
    "zarr of SpatialData": (folder_of("zarr.json", "tables/", "images/"), "is a zarr store of SpatialData"),
    "mtx folder": (folder_of("matrix.mtx.gz", "features.tsv.gz", "barcodes.tsv.gz"), "scanpy.read_10x_mtx(...), compute an embedding"),
    "old mtx folder": (folder_of("matrix.mtx", "genes.tsv"), "scanpy.read_10x_mtx"),
    "prefixed mtx folder": (folder_of("GSM1_matrix.mtx.gz"), "scanpy.read_10x_mtx"),
    "outs": (folder_of("filtered_feature_bc_matrix/matrix.mtx.gz"), "is a folder of Cell Ranger; read filtered_feature_bc_matrix in it"),
    "CXG": (a_cxg, "is a CXG already: serve it as it is (cxg launch)"),
    "SOMA": (folder_of("__group/x", "__tiledb_group.tdb", "ms/", "obs/"), "is a TileDB-SOMA experiment"),
    "new SOMA": (folder_of("__group/x", "ms/", "obs/__schema/x"), "tiledbsoma.io.to_h5ad"),
    "Parquet folder": (folder_of("part-0.parquet"), "is a folder of Parquet files"),
    "folder with one": (folder_of("a.h5ad"), "is a folder; name a file in it, such as "),
    "folder": (folder_of(), "is a folder; an .h5ad file is needed"),
    "10x 3": (tenx("Gene Expression"), "is a 10x matrix of Gene Expression; read it with scanpy.read_10x_h5(...), compute"),
    "10x multiome": (tenx("Peaks", "Gene Expression"), "of Gene Expression, Peaks; read it with scanpy.read_10x_h5(..., gex_only=False)"),
    "10x ATAC": (tenx("Peaks"), "is a 10x matrix of Peaks"),
    "10x without types": (hdf5("matrix/data"), "is a 10x matrix; read it"),
    "10x 2": (
        hdf5(*(f"{genome}/{name}" for genome in ("GRCh38", "mm10") for name in (*TENX, "genes", "gene_names"))),
        "is a 10x matrix of Cell Ranger 2 or older (GRCh38, mm10); read it with scanpy.read_10x_h5(..., genome='GRCh38')",
    ),
    "molecule_info": (hdf5("barcode_idx", "count", "umi", "library_info"), "is the molecule_info of Cell Ranger"),
    "molecule_info 2": (hdf5("barcode", "gene", "umi", "genome"), "take filtered_feature_bc_matrix.h5 beside it"),
    "loom 2": (hdf5("matrix", "row_attrs/", "col_attrs/"), "is a loom file; convert it first (in Python: anndata.io.read_loom"),
    "loom 3": (hdf5("matrix", "attrs/", LOOM_SPEC_VERSION="3.0.0"), "is a loom file"),
    "h5mu": (modalities("rna", "atac"), "is a MuData file; write one of its modalities (atac, rna) as .h5ad"),
    "h5mu without rna": (modalities("prot"), "mudata.read_h5mu(...)['prot'].write_h5ad"),
    "h5Seurat": (hdf5("assays/RNA/", "cell.names", "active.ident/"), "is an h5Seurat file"),
    "pandas": (hdf5("df/", PYTABLES_FORMAT_VERSION="2.1"), "pandas.read_hdf"),
    "NetCDF": (hdf5("lat", _NCProperties="version=2"), "is a NetCDF file"),
    "HDF5 of others": (hdf5("numbers", "more"), "but not an AnnData one (it holds more, numbers)"),
    "HDF5 of nothing": (hdf5(), "not an AnnData one (it holds nothing)"),
}  # fmt: skip


@pytest.fixture
def told(convert, capsys):
    """The sentence with which a conversion is refused."""

    def call(*arguments):
        assert convert(*arguments)[0] == 2
        text = capsys.readouterr().err
        assert text.startswith("cxg convert: ")
        assert text.endswith(".\n")
        assert text.count("\n") == 1
        return text

    return call


@pytest.mark.parametrize("name", OTHER)
def test_other_files(tmp_path, told, name):
    make, sentence = OTHER[name]
    path = make(tmp_path)
    before = listed(tmp_path)
    text = told(path, tmp_path / "out.cxg")
    assert sentence in text
    assert text.startswith(f"cxg convert: {path} ")
    assert listed(tmp_path) == before


def test_each_is_told_by_check_too(tmp_path, told):
    path = OTHER["LFS pointer"][0](tmp_path)
    assert "git lfs pull" in told(path, "--check")


def test_a_file_behind_a_block_of_the_user_is_read(tmp_path, converted):
    """HDF5 may begin at byte 512, and what is before it belongs to others."""
    data = make_h5ad(tmp_path / "plain.h5ad").read_bytes()
    with h5py.File(tmp_path / "in.h5ad", "w", userblock_size=512) as root, h5py.File(tmp_path / "plain.h5ad") as plain:
        for key in plain:
            plain.copy(key, root)
    assert (tmp_path / "in.h5ad").read_bytes()[:8] != data[:8]
    converted(tmp_path / "in.h5ad")


def test_a_link_is_followed(tmp_path, converted):
    make_h5ad(tmp_path / "real.h5ad")
    (tmp_path / "in.h5ad").symlink_to("real.h5ad")
    converted(tmp_path / "in.h5ad")


def test_a_link_to_a_file_that_is_gone(tmp_path, told):
    (tmp_path / "in.h5ad").symlink_to("gone.h5ad")
    text = told(tmp_path / "in.h5ad")
    assert f"in.h5ad is a link to {tmp_path / 'gone.h5ad'}, which is gone" in text


def test_a_chain_of_links_to_a_file_that_is_gone(tmp_path, told):
    (tmp_path / "in.h5ad").symlink_to("middle.h5ad")
    (tmp_path / "middle.h5ad").symlink_to(tmp_path / "gone.h5ad")
    text = told(tmp_path / "in.h5ad")
    assert f"is a link to {tmp_path / 'gone.h5ad'} by way of middle.h5ad, which is gone" in text


def test_a_folder_that_is_a_link_to_nothing(tmp_path, told):
    (tmp_path / "data").symlink_to("/nowhere/at/all")
    assert f"{tmp_path / 'data'} is a link to /nowhere/at/all, which is gone" in told(tmp_path / "data" / "in.h5ad")


def test_a_link_that_leads_back_to_itself(tmp_path, told):
    (tmp_path / "in.h5ad").symlink_to("other.h5ad")
    (tmp_path / "other.h5ad").symlink_to("in.h5ad")
    assert "leads back to itself" in told(tmp_path / "in.h5ad")


def test_a_file_in_place_of_a_folder(tmp_path, told):
    (tmp_path / "data").write_text("")
    assert f"{tmp_path / 'data'} is a file, not a folder" in told(tmp_path / "data" / "in.h5ad")


@pytest.mark.parametrize("key", ["X", "obs", "obsm"])
@pytest.mark.parametrize(
    "link, said",
    [(h5py.ExternalLink("gone.h5ad", "/X"), "/X in gone.h5ad"), (h5py.SoftLink("/elsewhere"), "/elsewhere")],
)
def test_a_link_inside_the_file_to_what_is_gone(tmp_path, told, key, link, said):
    path = make_h5ad(tmp_path / "in.h5ad")
    with h5py.File(path, "a") as root:
        del root[key]
        root[key] = link
    assert f"its {key} is a link to {said}, which is gone" in told(path)


def test_a_link_inside_the_file_is_followed(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad")
    with h5py.File(path, "a") as root, h5py.File(tmp_path / "other.h5", "w") as other:
        root.copy("X", other)
        del root["X"]
        root["X"] = h5py.ExternalLink("other.h5", "/X")
    converted(path)


def test_nothing_at_all(tmp_path, told):
    assert "in.h5ad does not exist" in told(tmp_path / "in.h5ad")


def test_a_name_that_is_too_long(tmp_path, told):
    assert "cannot be opened: File name too long" in told(tmp_path / ("x" * 300 + ".h5ad"))


def test_a_folder_that_may_not_be_entered(tmp_path, told, monkeypatch):
    def refuse(self, **options):
        if self.name == "in.h5ad":
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return os.stat(self, **options)  # noqa: PTH116

    monkeypatch.setattr("pathlib.Path.stat", refuse)
    assert "cannot be opened: Permission denied" in told(tmp_path / "in.h5ad")


def test_what_is_read_in_order_does_not_hang(tmp_path, told, monkeypatch):
    os.mkfifo(tmp_path / "in.h5ad")
    assert "is a pipe, not a file: save the data as an .h5ad file first" in told(tmp_path / "in.h5ad")
    monkeypatch.chdir(tmp_path)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
        assert "is a socket, not a file" in told("socket")
    assert "is a device, not a file" in told("/dev/null", tmp_path / "out.cxg")


def test_a_missing_folder_for_the_output_is_made(tmp_path, convert):
    target = tmp_path / "some" / "where" / "out.cxg"
    assert convert(make_h5ad(tmp_path / "in.h5ad"), target)[0] == 0
    assert (target / "obs").is_dir()
    assert listed(target.parent) == ["out.cxg"]


def test_a_folder_that_was_made_goes_when_the_conversion_fails(tmp_path, told):
    (tmp_path / "some").mkdir()
    path = make_h5ad(tmp_path / "in.h5ad", np.zeros((6, 4)))
    assert "holds only zeros" in told(path, tmp_path / "some" / "where" / "else" / "out.cxg")
    assert listed(tmp_path / "some") == []


def test_no_folder_is_made_to_check_or_for_what_is_no_h5ad(tmp_path, convert, told):
    target = tmp_path / "some" / "out.cxg"
    assert convert(make_h5ad(tmp_path / "in.h5ad"), target, "--check")[0] == 0
    (tmp_path / "bad.h5ad").touch()
    told(tmp_path / "bad.h5ad", target)
    assert not (tmp_path / "some").exists()


@pytest.mark.parametrize("kind", ["file", "link"])
def test_an_output_below_what_is_no_folder(tmp_path, told, kind):
    if kind == "file":
        (tmp_path / "some").write_text("mine")
    else:
        (tmp_path / "some").symlink_to("gone")
    text = told(make_h5ad(tmp_path / "in.h5ad"), tmp_path / "some" / "where" / "out.cxg")
    assert f"{tmp_path / 'some'} is not a folder" in text
