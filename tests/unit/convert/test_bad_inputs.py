"""Inputs that cannot be converted: one clear sentence on stderr, exit code 2, nothing left behind.

The table below is the list: what is wrong, how the file is made, options, and what the sentence says.
"""

import errno
import os

import h5py
import numpy as np
import pytest
from scipy import sparse

from tests.unit.convert.h5ads import default_matrix, listed, make_h5ad, mark, write_array, write_frame


def edited(change, **parts):
    """A good file after `change(root)`."""

    def make(folder):
        path = make_h5ad(folder / "in.h5ad", **parts)
        with h5py.File(path, "a") as root:
            change(root)
        return path

    return make


def without(*names):
    def change(root):
        for name in names:
            del root[name]

    return edited(change)


def replaced(name, write):
    def change(root):
        del root[name]
        write(root)

    return edited(change)


def damaged_sparse(**parts):
    """A CSR group with some of its parts replaced."""

    def write(root):
        good = sparse.csr_matrix(default_matrix())
        group = mark(root.create_group("X"), "csr_matrix")
        group.attrs["shape"] = parts.get("shape", good.shape)
        for part in ("data", "indices", "indptr"):
            if parts.get(part, True) is not None:
                group.create_dataset(part, data=parts.get(part, getattr(good, part)))

    return replaced("X", write)


def not_hdf5(folder):
    path = folder / "in.h5ad"
    path.write_text("gene,cell\n")
    return path


def empty_file(folder):
    path = folder / "in.h5ad"
    path.touch()
    return path


def truncated(folder):
    path = make_h5ad(folder / "in.h5ad")
    path.write_bytes(path.read_bytes()[:-2000])
    return path


def corrupted(folder):
    """A compressed X whose bytes were overwritten on the disk."""
    path = make_h5ad(folder / "in.h5ad")
    with h5py.File(path, "a") as root:
        del root["X"]
        item = write_array(root, "X", np.arange(24.0).reshape(6, 4), chunks=(6, 4), compression="gzip")
        place = item.id.get_chunk_info(0)
    with path.open("r+b") as file:
        file.seek(place.byte_offset)
        file.write(b"\xff" * place.size)
    return path


def zarr_folder(folder):
    path = folder / "in.zarr"
    path.mkdir()
    (path / ".zgroup").write_text("{}")
    return path


def plain_folder(folder):
    (folder / "in.h5ad").mkdir()
    return folder / "in.h5ad"


def loom(folder):
    path = folder / "in.loom"
    with h5py.File(path, "w") as root:
        root.create_dataset("matrix", data=default_matrix())
        root.create_group("row_attrs")
        root.create_group("col_attrs")
    return path


def tenx(folder):
    path = folder / "in.h5"
    with h5py.File(path, "w") as root:
        root.create_group("matrix")
    return path


def mudata(folder):
    path = folder / "in.h5mu"
    with h5py.File(path, "w") as root:
        root.create_group("mod")
        write_frame(root, "obs", ["a"])
    return path


def other_hdf5(folder):
    path = folder / "in.h5ad"
    with h5py.File(path, "w") as root:
        root.create_dataset("numbers", data=[1])
    return path


def good(folder):
    return make_h5ad(folder / "in.h5ad")


BAD = {
    "no such file": (lambda folder: folder / "none.h5ad", [], "does not exist"),
    "not HDF5": (not_hdf5, [], "not an HDF5 file"),
    "empty file": (empty_file, [], "is empty"),
    "truncated": (truncated, [], "is cut short"),
    "corrupted chunk": (corrupted, [], "cannot be read"),
    "zarr store": (zarr_folder, [], "is a zarr store"),
    "folder": (plain_folder, [], "is a folder"),
    "loom": (loom, [], "is a loom file"),
    "10x": (tenx, [], "is a 10x matrix"),
    "MuData": (mudata, [], "is a MuData file"),
    "other HDF5": (other_hdf5, [], "not an AnnData one"),
    "no X": (without("X"), [], "has no X"),
    "no X but raw": (
        edited(lambda root: root.__delitem__("X"), raw=default_matrix(), layers={"log": default_matrix()}),
        [], "use --layer log or --raw",
    ),
    "null X": (replaced("X", lambda root: mark(root.create_dataset("X", data=h5py.Empty("f4")), "null")), [], "has no X"),
    "no obs": (without("obs"), [], "has no obs"),
    "no var": (without("var"), [], "has no var"),
    "no obsm": (without("obsm"), [], "no embedding to draw"),
    "no embedding": (edited(lambda root: None, obsm={"X_line": np.ones((6, 1))}), [], "obsm holds X_line"),
    "embedding not finite": (edited(lambda root: None, obsm={"X_u": np.full((6, 2), np.inf)}), [], "no embedding to draw"),
    "zero cells": (
        edited(lambda root: None, matrix=np.zeros((0, 4), np.float32), obs_names=np.empty(0, object), obsm={}),
        [], "no cells",
    ),
    "zero genes": (
        edited(lambda root: None, matrix=np.zeros((6, 0), np.float32), var_names=np.empty(0, object)), [], "no genes",
    ),
    "repeated cells": (edited(lambda root: None, obs_names=["a", "b", "a", "d", "e", "f"]), [], "'a' and others, 1 repeats"),
    "repeated genes": (edited(lambda root: None, var_names=["g", "g", "g", "h"]), [], "genes are not unique"),
    "repeated names from a column": (
        edited(lambda root: None, obs={"id": np.array(["x"] * 6, object)}), ["--obs-names", "id"], "not unique",
    ),
    "unknown column for names": (good, ["--var-names", "symbol"], "var has no column 'symbol'"),
    "unusable column for names": (edited(lambda root: None, obs={"c": np.arange(6) * 1j}), ["--obs-names", "c"], "cannot be used"),
    "index that cannot be read": (
        replaced("obs/_index", lambda root: write_array(root, "obs/_index", np.arange(6) * 1j)), [], "index of obs cannot be used",
    ),
    "X all zero": (edited(lambda root: None, matrix=np.zeros((6, 4), np.float32)), [], "X holds only zeros"),
    "X all stored zeros": (damaged_sparse(data=np.zeros(9, np.float32)), ["--check"], "X holds only zeros"),
    "raw all zero": (
        edited(lambda root: None, raw=np.zeros((6, 4), np.float32), layers={"log": default_matrix()}), ["--raw"],
        "raw/X holds only zeros, so there is no expression to show; consider --layer log",
    ),
    "X of another shape": (edited(lambda root: None, obs_names=["a", "b"], obsm={"X_u": np.ones((2, 2))}), [], "shape (6, 4)"),
    "X of three dimensions": (replaced("X", lambda root: write_array(root, "X", np.ones((6, 4, 2)))), [], "a matrix of numbers"),
    "X of one dimension": (replaced("X", lambda root: write_array(root, "X", np.ones(6))), [], "a matrix of numbers"),
    "X of text": (replaced("X", lambda root: write_array(root, "X", np.full((6, 4), "a", object))), [], "a matrix of numbers"),
    "X complex": (replaced("X", lambda root: write_array(root, "X", default_matrix() * 1j)), [], "a matrix of numbers"),
    "X of an unknown encoding": (replaced("X", lambda root: mark(root.create_group("X"), "coo_matrix")), [], "'coo'"),
    "X a plain group": (replaced("X", lambda root: root.create_group("X")), [], "of a plain group"),
    "sparse without indptr": (damaged_sparse(indptr=None), [], "without 'indptr'"),
    "sparse with a shape of text": (damaged_sparse(shape="6 x 4"), [], "its shape is not two whole numbers"),
    "sparse with data of text": (damaged_sparse(data=np.full(9, b"a")), [], "cannot be read: a part is missing or damaged"),
    "sparse with indices of text": (damaged_sparse(indices=np.full(9, b"a")), [], "cannot be read: a part is missing or damaged"),
    "sparse with a null indptr": (damaged_sparse(indptr=h5py.Empty("i8")), [], "cannot be read: a part is missing or damaged"),
    "sparse with a short indptr": (damaged_sparse(indptr=np.array([0, 9])), [], "the shape needs 7"),
    "sparse with a falling indptr": (damaged_sparse(indptr=np.array([0, 5, 2, 9, 9, 9, 9])), [], "do not fit together"),
    "sparse with short data": (damaged_sparse(data=np.ones(3, np.float32)), [], "do not fit together"),
    "sparse with indices outside": (damaged_sparse(indices=np.full(9, 4)), [], "points outside the matrix"),
    "sparse with negative indices": (damaged_sparse(indices=np.full(9, -1)), [], "points outside the matrix"),
    "obs a plain dataset": (replaced("obs", lambda root: root.create_dataset("obs", data=[1])), [], "where a table"),
    "obs of an unknown encoding": (replaced("obs", lambda root: mark(root.create_group("obs"), "dict")), [], "encoding 'dict'"),
    "obs without index": (without("obs/_index"), [], "has no index"),
    "index of two dimensions": (
        replaced("obs/_index", lambda root: write_array(root, "obs/_index", np.ones((6, 2)))), [], "cannot be read",
    ),
    "column of another length": (edited(lambda root: write_array(root["obs"], "n", np.ones(4)), obs={}), [], "4 entries"),
    "no such layer": (good, ["--layer", "counts"], "no layer 'counts'; it has none"),
    "no raw": (good, ["--raw"], "no raw matrix"),
    "about is no URL": (good, ["--about", "example.org"], "not an absolute URL"),
    "about with half a bracket": (good, ["--about", "http://[::1"], "not an absolute URL"),
    "title not UTF-8": (good, ["--title", "caf\udce9"], "--title: 'caf\\udce9' is not valid UTF-8"),
    "input not UTF-8": (lambda folder: folder / "caf\udce9.h5ad", [], "caf\\udce9.h5ad' is not valid UTF-8"),
    "input in a bucket": (lambda folder: "s3://bucket/key.h5ad", [], "s3://bucket/key.h5ad is not a file on this machine"),
    "input .": (lambda folder: ".", [], "'.' is not a file"),
    "input /": (lambda folder: "/", [], "'/' is not a file"),
    "input without a name": (lambda folder: "", ["--check"], "'' is not a file"),
    "report in no folder": (good, ["--report", "/nonexistent/r.json"], "--report: the folder"),
}  # fmt: skip


def _fix_order(path):
    """`column of another length` must be listed in column-order to be read."""
    with h5py.File(path, "a") as root:
        root["obs"].attrs["column-order"] = np.array(["n"], object)


@pytest.mark.parametrize("what", BAD)
def test_one_sentence_and_exit_code_2(tmp_path, capsys, what):
    from cxg.cli.main import main

    make, options, sentence = BAD[what]
    path = make(tmp_path)
    if what == "column of another length":
        _fix_order(path)
    before = listed(tmp_path)
    assert main(["convert", str(path), *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("cxg convert: ")
    assert sentence in captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    assert listed(tmp_path) == before


def test_unreadable_input(tmp_path, convert, capsys, monkeypatch):
    path = make_h5ad(tmp_path / "in.h5ad")
    if os.geteuid() == 0:  # root may read anything, so the refusal is acted
        monkeypatch.setattr("pathlib.Path.open", refuse)
    path.chmod(0)
    assert convert(path)[0] == 2
    assert "cannot be opened: Permission denied" in capsys.readouterr().err


def refuse(self, *arguments, **options):
    raise PermissionError(errno.EACCES, "Permission denied", str(self))


def test_output_folder_read_only(tmp_path, convert, capsys, monkeypatch):
    path = make_h5ad(tmp_path / "in.h5ad")
    (tmp_path / "closed").mkdir(mode=0o555)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert convert(path, tmp_path / "closed" / "out.cxg")[0] == 2
    assert "is not writable" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name,options,sentence",
    [
        ("there.cxg", [], "exists already; use --overwrite"),
        ("file.cxg", ["--overwrite"], "is not a CXG, so --overwrite does not replace it"),
        ("other", ["--overwrite"], "is not a CXG, so --overwrite does not replace it"),
        (".hidden.cxg", [], "begins with a dot"),
        ("gs://bucket/x.cxg", [], "only folders and s3://"),
        ("s3://bucket", [], "s3://bucket/prefix/name.cxg is needed"),
    ],
)
def test_bad_output(tmp_path, convert, capsys, name, options, sentence):
    path = make_h5ad(tmp_path / "in.h5ad")
    (tmp_path / "there.cxg" / "obs").mkdir(parents=True)
    (tmp_path / "file.cxg").write_text("mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    target = name if "://" in name else tmp_path / name
    assert convert(path, target, *options)[0] == 2
    assert sentence in capsys.readouterr().err
    assert (tmp_path / "file.cxg").read_text() == (tmp_path / "other" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "where", ["cxg.convert.write.transpose.ExternalTranspose.add", "cxg.convert.write.arrays.write_frame"]
)
@pytest.mark.parametrize("kind", ["os", "tiledb"])
def test_disk_full(tmp_path, convert, capsys, monkeypatch, where, kind):
    import tiledb

    def full(*_):
        if kind == "os":
            raise OSError(errno.ENOSPC, "No space left on device")
        raise tiledb.TileDBError("[TileDB::IO] Error: Cannot write to file; No space left on device")

    path = make_h5ad(tmp_path / "in.h5ad")
    monkeypatch.setattr(where, full)
    assert convert(path)[0] == 2
    assert "The disk is full" in capsys.readouterr().err
    assert listed(tmp_path) == ["in.h5ad"]


def test_full_disk_for_real(tmp_path, convert, capsys):
    """Writing beyond the process's file size limit fails as a full disk does, in TileDB's own threads too."""
    import resource
    import signal

    noise = np.random.default_rng(0).normal(size=(400, 400)).astype(np.float32)
    path = make_h5ad(tmp_path / "in.h5ad", noise)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        code, _ = convert(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert code == 2
    assert "The disk is full" in capsys.readouterr().err
    assert listed(tmp_path) == ["in.h5ad"]
