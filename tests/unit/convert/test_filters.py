"""HDF5 filters: those of `hdf5plugin` are read wherever they are, any other is named."""

import json
import subprocess
import sys

import h5py
import hdf5plugin
import numpy as np
import pytest
from scipy import sparse

from tests.unit.convert.h5ads import (
    TEXT,
    default_matrix,
    listed,
    make_h5ad,
    mark,
    read_array,
    read_matrices,
    write_array,
)

LOSSLESS = {
    **{f"bitshuffle {name}": hdf5plugin.Bitshuffle(cname=name) for name in ("none", "lz4", "zstd")},
    **{f"blosc {name}": hdf5plugin.Blosc(cname=name) for name in ("blosclz", "lz4", "lz4hc", "zlib", "zstd")},
    **{f"blosc2 {name}": hdf5plugin.Blosc2(cname=name) for name in ("blosclz", "lz4", "lz4hc", "zlib", "zstd")},
    "bzip2": hdf5plugin.BZip2(),
    "lz4": hdf5plugin.LZ4(),
    "zstd": hdf5plugin.Zstd(),
    "gzip": {"compression": "gzip", "shuffle": True},
    "lzf": {"compression": "lzf"},
}
# Filters for numbers with two dimensions, some of which change them: they must come back as h5py reads them.
OF_MATRICES = {
    "zfp": (hdf5plugin.Zfp(reversible=True), np.float32),
    "sz": (hdf5plugin.SZ(absolute=0.001), np.float32),
    "sz3": (hdf5plugin.SZ3(absolute=0.001), np.float32),
    "sperr": (hdf5plugin.Sperr(), np.float32),
    "fcidecomp": (hdf5plugin.FciDecomp(), np.uint8),
    "htj2k": (hdf5plugin.Htj2k(), np.uint8),
}
UNKNOWN = 32_123


def rewritten(path, options, names):
    """The file with these datasets compressed."""
    with h5py.File(path, "a") as root:
        for name in names:
            values, attrs = root[name][:], dict(root[name].attrs)
            dtype = TEXT if h5py.check_string_dtype(root[name].dtype) else values.dtype
            del root[name]
            item = root.create_dataset(name, data=values, dtype=dtype, chunks=values.shape, **options)
            item.attrs.update(attrs)
    return path


@pytest.mark.parametrize("name", LOSSLESS)
@pytest.mark.parametrize("form", [sparse.csr_matrix, np.asarray])
def test_read_wherever_they_are(tmp_path, converted, name, form):
    obsm = {"X_umap": np.arange(12.0).reshape(6, 2)}
    path = make_h5ad(
        tmp_path / "in.h5ad", form(default_matrix()), obs={"n": np.arange(6), "t": np.array(list("abcdef"))}, obsm=obsm
    )
    x = ["X"] if form is np.asarray else ["X/data", "X/indices", "X/indptr"]
    # blosc itself divides by zero when it is to write text of varying length.
    text = [] if "blosc" in name else ["obs/t", "obs/_index", "var/_index"]
    rewritten(path, LOSSLESS[name], [*x, *text, "obs/n", "obsm/X_umap"])
    root, _ = converted(path)
    for each in read_matrices(root, (6, 4)):
        np.testing.assert_array_equal(each, default_matrix())
    columns, _ = read_array(root, "obs")
    assert columns["n"].tolist() == list(range(6))
    assert columns["t"].tolist() == list("abcdef")
    assert columns["name_0"].tolist() == [f"cell{i}" for i in range(6)]
    np.testing.assert_array_equal(read_array(root, "emb/umap")[0][""], obsm["X_umap"])


@pytest.mark.parametrize("name", OF_MATRICES)
def test_read_in_a_dense_x(tmp_path, converted, name):
    options, dtype = OF_MATRICES[name]
    given = np.random.default_rng(0).poisson(1.0, (64, 32)).astype(dtype)
    path = rewritten(make_h5ad(tmp_path / "in.h5ad", given), options, ["X"])
    with h5py.File(path) as root:
        truth = root["X"][:].astype(np.float32)
    assert np.abs(truth - given).max() < 0.01
    for each in read_matrices(converted(path)[0], (64, 32)):
        np.testing.assert_array_equal(each, truth)


def test_every_filter_of_the_library_is_tried_here():
    tried = {options.filter_id for options in LOSSLESS.values() if not isinstance(options, dict)}
    tried |= {options.filter_id for options, _ in OF_MATRICES.values()}
    assert {each.filter_id for each in hdf5plugin.get_filters()} <= tried


def test_they_are_read_by_the_command_alone(tmp_path):
    """In a process that never named hdf5plugin itself."""
    path = rewritten(make_h5ad(tmp_path / "in.h5ad"), hdf5plugin.Zstd(), ["X"])
    command = [
        sys.executable,
        "-m",
        "cxg.cli.main",
        "convert",
        str(path),
        "--check",
        "--report",
        str(tmp_path / "r.json"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "r.json").read_text())["non_zeros"] == np.count_nonzero(default_matrix())


def write_with_unknown_filter(root, name, values):
    """A dataset whose only chunk was, as the file says, made by a filter that nobody has."""
    values = np.ascontiguousarray(values)
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk(values.shape)
    plist.set_filter(UNKNOWN, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple(values.shape)
    item = h5py.h5d.create(root.id, name.encode(), h5py.h5t.py_create(values.dtype), space, plist)
    item.write_direct_chunk((0,) * values.ndim, values.tobytes(), 0)
    return mark(root[name], "array")


@pytest.mark.parametrize("name", ["X", "obs/n", "obs/_index", "obsm/X_umap", "X/data", "X/indptr"])
def test_an_unknown_one_is_named(tmp_path, convert, capsys, name):
    matrix = sparse.csr_matrix(default_matrix()) if "X/" in name else default_matrix()
    path = make_h5ad(tmp_path / "in.h5ad", matrix, obs={"n": np.arange(6)})
    with h5py.File(path, "a") as root:
        values = root[name][:] if name != "obs/_index" else np.arange(6)
        del root[name]
        write_with_unknown_filter(root, name, values)
    assert convert(path)[0] == 2
    told = capsys.readouterr().err
    assert f"{name} is compressed with the HDF5 filter {UNKNOWN}, which is not installed here; write the file" in told
    assert "compression='gzip'" in told
    assert told.count("\n") == 1
    assert listed(tmp_path) == ["in.h5ad"]


def test_an_unknown_one_in_what_is_not_read_does_not_matter(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad")
    with h5py.File(path, "a") as root:
        write_with_unknown_filter(root, "obsp", default_matrix())
    converted(path)


def test_damage_is_not_taken_for_a_filter(tmp_path, convert, capsys):
    """The chunk of a known filter holds something else."""
    path = make_h5ad(tmp_path / "in.h5ad")
    with h5py.File(path, "a") as root:
        del root["X"]
        item = write_array(root, "X", default_matrix(), chunks=(6, 4), **hdf5plugin.Zstd())
        item.id.write_direct_chunk((0, 0), b"no zstd", 0)
    assert convert(path)[0] == 2
    told = capsys.readouterr().err
    assert "cannot be read" in told
    assert "not installed" not in told
