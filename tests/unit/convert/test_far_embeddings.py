"""Embeddings far from 0, as of a microscope's stage: drawn as if they were near it, whoever wrote the CXG."""

import json
import shutil

import numpy as np
import pytest
import tiledb
from scipy import sparse

from cxg.compute.embedding import scale_embedding
from cxg.config import default
from cxg.format.dataset import open_dataset
from cxg.storage.storage import Storage
from tests import cxgs
from tests.unit.convert.conftest import codes_of
from tests.unit.convert.h5ads import make_h5ad, read_array, write_frame, write_nullable

N = 40
LONGER, SHORTER = 9.0, 2.0
A_THOUSANDTH_OF_A_PIXEL = 1e-6


def places(offset, dtype="f8"):
    """Cells in a box of 9 x 2, or as many thousands for whole numbers."""
    unit = 1 if np.dtype(dtype).kind == "f" else 1000
    xy = np.random.default_rng(0).uniform(0, 1, (N, 2)) * [LONGER * unit, SHORTER * unit]
    if unit == 1:
        return (xy + offset).astype(dtype)
    return xy.astype(dtype) + np.array(offset, dtype)


def drawn(root):
    """What the server draws."""
    dataset = open_dataset(Storage(default()), str(root), root.name)
    try:
        return scale_embedding(dataset.read_embedding(dataset.embeddings[0]))
    finally:
        dataset.close()


def truth(xy):
    """The same, of the coordinates as they are, in whole or double precision."""
    xy = np.where(np.isnan(xy.astype("f8")), xy.astype("f8"), (xy - np.nanmin(xy, axis=0)).astype("f8"))
    side = np.nanmax(xy, axis=0)
    return xy / side.max() + 0.5 - side / (2 * side.max())


def assert_drawn(root, xy):
    found = drawn(root)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(xy.astype("f8")))
    assert np.nanmax(np.abs(found - truth(xy))) < A_THOUSANDTH_OF_A_PIXEL


FAR = {
    "a million": places(1e6),
    "minus a million": places(-1e6),
    "1e12": places(1e12),
    "beyond float32": places(1e6) * 1e34,
    "one side only": places(1e6) - [1e6, 0],
    "i8": places(2**40, "i8"),
    "i8, negative": places(-(2**62), "i8"),
    "u8": places(2**63, "u8"),
    "i4": places(2**30, "i4"),
    "u4": places(2**31, "u4"),
    "gaps": np.where(np.arange(N)[:, None] % 7 == 0, np.nan, places(1e6)),
}
NEAR = {
    "f8": places(0.0),
    "f4": places(1e6, "f4"),
    "f8 of float32": places(1e6, "f4").astype("f8"),
    "i4": places(2**20, "i4"),
    "f8, not so far": places(20.0),
    "all the same": np.full((N, 2), 1e6 + 0.1),
}


@pytest.mark.parametrize("name", FAR)
def test_converted(tmp_path, converted, monkeypatch, name):
    """float32 with the offset in the metadata: readers that know nothing of it draw the same."""
    monkeypatch.setattr("cxg.convert.read.embeddings.ROW_TILE", 16)
    monkeypatch.setattr("cxg.convert.read.embeddings.SLICE_CELLS", 40)
    xy = FAR[name]
    path = make_h5ad(tmp_path / "in.h5ad", np.ones((N, 2)), obsm={"X_umap": xy})
    root, report = converted(path)
    assert_drawn(root, xy)
    values, meta = read_array(root, "emb/umap")
    assert values[""].dtype == np.float32
    offset = json.loads(meta["offset"])
    number = float if xy.dtype.kind == "f" else int
    back = np.array([[number(a) + o for a, o in zip(row, offset, strict=True)] for row in np.nan_to_num(values[""])])
    back = np.where(np.isnan(values[""]), np.nan, back.astype("f8"))
    np.testing.assert_allclose(back, xy.astype("f8"), rtol=1e-7)
    assert {note["level"] for note in report["notes"] if note["code"] == "embedding_moved"} == {"info"}


@pytest.mark.parametrize("name", NEAR)
def test_converted_as_it_is_where_float32_suffices(tmp_path, converted, name):
    xy = NEAR[name]
    root, report = converted(make_h5ad(tmp_path / "in.h5ad", np.ones((N, 2)), obsm={"X_umap": xy}))
    values, meta = read_array(root, "emb/umap")
    np.testing.assert_array_equal(values[""], xy.astype("f4"))
    assert "offset" not in meta
    assert "embedding_moved" not in codes_of(report)
    if name != "all the same":
        assert_drawn(root, values[""].astype("f8"))


def table(group, name):
    xy = places(1e6)
    gone = np.arange(N) == 3
    columns = {"x": xy[:, 0], "y": lambda inside, key: write_nullable(inside, key, "float", xy[:, 1], gone)}
    write_frame(group, name, [f"c{i}" for i in range(N)], columns)


@pytest.mark.parametrize("form", [table, sparse.csr_matrix(places(1e6)), sparse.csc_matrix(places(1e6))])
def test_in_other_encodings(tmp_path, converted, form):
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", np.ones((N, 2)), obsm={"X_umap": form}))
    xy = places(1e6)
    if form is table:
        xy[3, 1] = np.nan
    assert_drawn(root, xy)


@pytest.mark.parametrize("name", [*FAR, *(name for name in NEAR if name != "all the same")])
def test_in_the_cxgs_of_others(tmp_path, name):
    """They store what the h5ad has: float64 and int64."""
    xy = {**NEAR, **FAR}[name]
    path = cxgs.build(tmp_path / "a.cxg", n_obs=N, embeddings=("umap",)).path
    shutil.rmtree(path / "emb" / "umap")
    cxgs.write_dense(path / "emb" / "umap", {"": xy})
    assert_drawn(path, xy)


def test_damaged_sparse_embedding(tmp_path, converted):
    wrong = sparse.csr_matrix(places(0.0))
    wrong.indices[3] = 9
    obsm = {"X_umap": places(0.0), "X_bad": wrong}
    _, report = converted(make_h5ad(tmp_path / "in.h5ad", np.ones((N, 2)), obsm=obsm))
    assert report["embeddings"] == ["umap"]
    assert "embedding_dropped" in codes_of(report)


def test_the_first_reader_of_cxgs_draws_the_same(tmp_path, converted):
    """It casts the first two columns to float32 and scales them."""
    xy = places(1e6)
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", np.ones((N, 2)), obsm={"X_umap": xy}))
    with tiledb.open(str(root / "emb" / "umap")) as array:
        read = array[:, 0:2].astype(np.float32)
    low, high = np.nanmin(read, axis=0), np.nanmax(read, axis=0)
    scaled = (read - low) / np.max(high - low)
    shift = 0.5 - (high - low) / np.max(high - low) / 2
    assert np.abs(scaled + shift - truth(xy)).max() < A_THOUSANDTH_OF_A_PIXEL
