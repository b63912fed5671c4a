"""h5ad -> CXG -> read back with TileDB: X must be equal, cell for cell, whichever way it lay in the file."""

import h5py
import numpy as np
import pytest
import tiledb
from scipy import sparse

from cxg.convert.read import matrix
from cxg.convert.write import arrays
from cxg.convert.write.transpose import ExternalTranspose
from tests.unit.convert.h5ads import default_matrix, make_h5ad, mark, read_array, read_matrices, write_array

SHAPE = (57, 23)


def random_matrix(dtype=np.float32, nan=False):
    rng = np.random.default_rng(5)
    values = rng.gamma(1.0, 2.0, SHAPE)
    values[rng.random(SHAPE) < 0.7] = 0
    values[10] = values[:, 7] = 0
    values[0, 0] = values[-1, -1] = 3
    if nan:
        values[rng.random(SHAPE) < 0.05] = np.nan
        values[4, 4], values[5, 5] = np.inf, -np.inf
    return values.astype(dtype)


def messy(kind, dtype=np.float32):
    """Unsorted indices, entries given twice, stored zeros, duplicates that cancel."""
    rng = np.random.default_rng(6)
    n_lines, n_minor = SHAPE if kind == "csr" else SHAPE[::-1]
    lengths = rng.integers(0, 12, n_lines)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    indices = rng.integers(0, n_minor, indptr[-1]).astype(np.int32)
    data = rng.integers(-3, 4, indptr[-1]).astype(dtype)
    cls = sparse.csr_matrix if kind == "csr" else sparse.csc_matrix
    return cls((data, indices, indptr), shape=SHAPE)


def expected(source):
    return (source.toarray() if sparse.issparse(source) else source).astype(np.float32)


SOURCES = {
    "csr": lambda: sparse.csr_matrix(random_matrix()),
    "csc": lambda: sparse.csc_matrix(random_matrix()),
    "dense": random_matrix,
    "csr float64": lambda: sparse.csr_matrix(random_matrix(np.float64)),
    "csc float64": lambda: sparse.csc_matrix(random_matrix(np.float64)),
    "dense float64": lambda: random_matrix(np.float64),
    "dense float16": lambda: random_matrix(np.float16),
    "dense int64": lambda: random_matrix().astype(np.int64),
    "dense bool": lambda: random_matrix() > 2,
    "csr uint8": lambda: sparse.csr_matrix(random_matrix().astype(np.uint8)),
    "csc int64": lambda: sparse.csc_matrix(random_matrix().astype(np.int64)),
    "csr NaN": lambda: sparse.csr_matrix(random_matrix(nan=True)),
    "csc NaN": lambda: sparse.csc_matrix(random_matrix(nan=True)),
    "dense NaN": lambda: random_matrix(nan=True),
    "csr messy": lambda: messy("csr"),
    "csc messy": lambda: messy("csc"),
    "csr messy int8": lambda: messy("csr", np.int8),
    "csc messy float64": lambda: messy("csc", np.float64),
    "no zero": lambda: random_matrix() + 1,
}


# Many small blocks are the harder case; a few sources are read in one block as well.
@pytest.mark.parametrize(
    "source", [*SOURCES, *(f"{name}, one block" for name in ("csr", "csc", "dense NaN", "csr messy"))]
)
def test_equal(tmp_path, converted, monkeypatch, source):
    if not source.endswith(", one block"):
        monkeypatch.setattr(matrix, "BLOCK_ENTRIES", 7)
        monkeypatch.setattr("cxg.convert.write.transpose.BLOCK_ENTRIES", 7)
    source = source.removesuffix(", one block")
    given = SOURCES[source]()
    truth = expected(given)
    root, report = converted(make_h5ad(tmp_path / "in.h5ad", given))
    found = read_matrices(root, SHAPE)
    assert len(found) == 2
    for each in found:
        np.testing.assert_array_equal(each, truth)
    assert report["non_zeros"] == np.count_nonzero(truth)
    check_totals(root, truth)


def check_totals(root, truth):
    values, meta = read_array(root, "X_totals")
    finite = truth[np.isfinite(truth)]
    assert (meta["min"], meta["max"]) == (finite.min(), finite.max())
    assert meta["transform"] == ("log1p" if finite.max() - finite.min() > 24 else "none")
    f = truth.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        f = np.log1p(f) if meta["transform"] == "log1p" else f
        np.testing.assert_allclose(values["sum"], f.sum(axis=0), rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(values["sum_squares"], (f**2).sum(axis=0), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cls", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
def test_totals_of_counts_are_of_the_logarithm(tmp_path, converted, cls):
    counts = np.floor(random_matrix() * 20)
    root, report = converted(make_h5ad(tmp_path / "in.h5ad", cls(counts)))
    assert read_array(root, "X_totals")[1]["transform"] == "log1p"
    check_totals(root, counts)
    assert "x_counts" in {note["code"] for note in report["notes"]}


@pytest.mark.parametrize("cls", [sparse.csr_matrix, sparse.csc_matrix, np.asarray])
@pytest.mark.parametrize("threshold,dense", [(0, True), (5, True), (90, False)])
def test_sparse_threshold(tmp_path, converted, monkeypatch, cls, threshold, dense):
    monkeypatch.setattr(arrays, "DENSE_TILE", (16, 4))
    monkeypatch.setattr(arrays, "SLICE_BYTES", 4 * 23 * 20)
    truth = random_matrix()
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", cls(truth)), "--sparse-threshold", threshold)
    assert (root / "X").exists() is dense
    assert (root / "Xr").exists() is not dense
    for each in read_matrices(root, SHAPE):
        np.testing.assert_array_equal(each, truth)
    check_totals(root, truth)
    if dense:
        assert len(tiledb.array_fragments(str(root / "X"))) == 1


def test_written_in_order_as_one_fragment(tmp_path, converted, monkeypatch):
    monkeypatch.setattr(matrix, "BLOCK_ENTRIES", 20)
    monkeypatch.setattr("cxg.convert.write.transpose.BLOCK_ENTRIES", 20)
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", messy("csr")))
    for name, major, minor in (("Xr", "obs", "var"), ("Xc", "var", "obs")):
        uri = str(root / name)
        assert len(tiledb.array_fragments(uri)) == 1
        with tiledb.open(uri) as array:
            found = array.query(order="U")[:]
            assert (array.schema.attr(0).name, array.schema.attr(1).name) == ("", minor)
        key = found[major].astype(np.int64) * 1000 + found[minor]
        assert np.all(np.diff(key) > 0)


def test_fallback_without_the_low_level_interface(tmp_path, converted, monkeypatch):
    monkeypatch.setattr(arrays, "has_global_order", lambda: False)
    monkeypatch.setattr(matrix, "BLOCK_ENTRIES", 20)
    monkeypatch.setattr("cxg.convert.write.transpose.BLOCK_ENTRIES", 20)
    given = messy("csc")
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", given, obs={"text": [f"é{i}" for i in range(57)]}))
    for each in read_matrices(root, SHAPE):
        np.testing.assert_array_equal(each, expected(given))
    assert len(tiledb.array_fragments(str(root / "Xr"))) == 1
    assert read_array(root, "obs")[0]["text"].tolist() == [f"é{i}" for i in range(57)]


def test_this_tiledb_has_the_low_level_interface():
    assert arrays.has_global_order()


@pytest.mark.parametrize("chunks", [(1, 23), (57, 1), (8, 23), (20, 5), (57, 23)])
def test_dense_in_chunks(tmp_path, converted, monkeypatch, chunks):
    monkeypatch.setattr(matrix, "BLOCK_ENTRIES", 50)
    truth = random_matrix()
    path = make_h5ad(tmp_path / "in.h5ad", truth)
    with h5py.File(path, "a") as root:
        del root["X"]
        write_array(root, "X", truth, chunks=chunks, compression="gzip")
    out, _ = converted(path)
    for each in read_matrices(out, SHAPE):
        np.testing.assert_array_equal(each, truth)


def test_one_cell_and_one_gene(tmp_path, converted):
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", np.array([[2.5]], np.float32)))
    for each in read_matrices(root, (1, 1)):
        assert each.tolist() == [[2.5]]


def test_scratch_file_grows_with_entries_not_with_blocks(tmp_path, monkeypatch):
    """Nearly empty blocks share a run: each run costs the length of the other axis."""
    monkeypatch.setattr("cxg.convert.write.transpose.BLOCK_ENTRIES", 20)
    truth = sparse.random(200, 50, 0.01, "csr", np.float32, rng=np.random.default_rng(0))
    runs = ExternalTranspose(tmp_path / "runs", 50)
    for start in range(200):
        runs.add(matrix.Block(start, truth[start : start + 1]))
    found = sparse.vstack([block.lines for block in runs.blocks()])
    np.testing.assert_array_equal(found.toarray(), truth.toarray().T)
    runs.close()
    assert (tmp_path / "runs").stat().st_size <= 8 * truth.nnz + 8 * 51 * (truth.nnz // 10 + 1)


def test_old_sparse_attributes(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad")
    with h5py.File(path, "a") as root:
        del root["X"]
        group = root.create_group("X")
        group.attrs["h5sparse_format"], group.attrs["h5sparse_shape"] = "csr", (6, 4)
        given = sparse.csr_matrix(default_matrix())
        for part in ("data", "indices", "indptr"):
            group.create_dataset(part, data=getattr(given, part))
    root, _ = converted(path)
    np.testing.assert_array_equal(read_matrices(root, (6, 4))[0], default_matrix())


def test_layer_and_raw(tmp_path, converted):
    raw = np.arange(18, dtype=np.float32).reshape(6, 3)
    path = make_h5ad(tmp_path / "in.h5ad", layers={"log": default_matrix() * 2}, raw=sparse.csr_matrix(raw))
    root, report = converted(path, "--layer", "log")
    np.testing.assert_array_equal(read_matrices(root, (6, 4))[0], default_matrix() * 2)
    assert report["x_from"] == "layers/log"
    root, report = converted(path, "--raw", "--overwrite")
    np.testing.assert_array_equal(read_matrices(root, (6, 3))[1], raw)
    assert read_array(root, "var")[0]["name_0"].tolist() == ["raw0", "raw1", "raw2"]
    assert report["x_from"] == "raw/X"


def test_raw_of_anndata_before_0_7(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad")
    with h5py.File(path, "a") as root:
        write_array(root, "raw.X", default_matrix()[:, :2])
        names = np.array([(b"a", 1), (b"b", 2)], dtype=[("index", "S1"), ("n", "i4")])
        root.create_dataset("raw.var", data=names)
    root, _ = converted(path, "--raw")
    np.testing.assert_array_equal(read_matrices(root, (6, 2))[0], default_matrix()[:, :2])


def test_cleaning_is_reported(tmp_path, converted):
    given = messy("csr")
    _, report = converted(make_h5ad(tmp_path / "in.h5ad", given))
    notes = {note["code"]: note["text"] for note in report["notes"]}
    assert "added up" in notes["duplicates_summed"]
    assert "left out" in notes["zeros_dropped"]


def test_scaled_x_is_noticed(tmp_path, converted):
    scaled = np.random.default_rng(1).normal(size=SHAPE)
    path = make_h5ad(tmp_path / "in.h5ad", scaled, raw=np.abs(scaled).astype(np.float32), layers={"log": scaled})
    _, report = converted(path)
    text = next(note["text"] for note in report["notes"] if note["code"] == "x_scaled")
    assert "--raw or --layer log" in text


def test_values_beyond_float32(tmp_path, converted):
    given = default_matrix().astype(np.float64)
    given[0, 0] = 1e300
    root, report = converted(make_h5ad(tmp_path / "in.h5ad", given))
    assert read_matrices(root, (6, 4))[0][0, 0] == np.inf
    assert {"x_overflow", "x_not_finite"} <= {note["code"] for note in report["notes"]}


def test_unknown_group_is_not_a_matrix(tmp_path, convert, capsys):
    path = make_h5ad(tmp_path / "in.h5ad")
    with h5py.File(path, "a") as root:
        del root["X"]
        mark(root.create_group("X"), "awkward-array")
    assert convert(path)[0] == 2
    assert "awkward-array" in capsys.readouterr().err


@pytest.mark.parametrize("cls", [sparse.csr_matrix, sparse.csc_matrix])
@pytest.mark.parametrize("most, tiles", [(1 << 17, (16_384, 8_192)), (0.02, (32_768, 32_768))])
def test_tiles_are_small_unless_there_would_be_too_many(tmp_path, converted, monkeypatch, cls, most, tiles):
    """What is known of each tile stays in a server's memory, so a matrix may not have any number of them."""
    monkeypatch.setattr(arrays, "MOST_TILES", most)
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", cls(random_matrix())))
    assert tuple(tiledb.ArraySchema.load(str(root / name)).capacity for name in ("Xr", "Xc")) == tiles
