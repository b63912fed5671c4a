"""Tables as older and newer AnnData wrote them, and which column names the rows."""

import json

import h5py
import numpy as np
import pytest
from scipy import sparse

from tests.unit.convert.conftest import codes_of
from tests.unit.convert.h5ads import (
    TEXT,
    default_matrix,
    make_h5ad,
    mark,
    read_array,
    write_array,
    write_categorical,
    write_nullable,
)

N = 6


def test_categories_beside_the_columns(tmp_path, converted):
    """AnnData 0.7: codes with a reference to a dataset in `__categories`."""
    path = make_h5ad(tmp_path / "in.h5ad", obs={"c": np.array([0, 1, 0, -1, 1, 0], np.int8)})
    with h5py.File(path, "a") as root:
        del root["obs/c"].attrs["encoding-type"]
        labels = write_array(root["obs"].create_group("__categories"), "c", np.array(["é", "a"], object))
        root["obs/c"].attrs["categories"] = labels.ref
    out, _ = converted(path)
    values, meta = read_array(out, "obs")
    assert json.loads(meta["cxg_schema"])["c"]["categories"] == ["é", "a", "nan"]
    assert values["c"].tolist() == [0, 1, 0, 2, 1, 0]


def test_records(tmp_path, converted):
    """AnnData before 0.7: one dataset of records, categories in uns."""
    path = make_h5ad(tmp_path / "in.h5ad", uns={"c_categories": np.array(["x", "y"], object)})
    with h5py.File(path, "a") as root:
        del root["obs"], root["obsm"]
        rows = np.zeros(N, dtype=[("index", "S5"), ("c", "i4"), ("n", "f4"), ("pair", "f4", (2,))])
        rows["index"] = [f"c{i}".encode() for i in range(N)]
        rows["c"] = [0, 1, 0, 1, 0, 0]
        rows["n"] = np.arange(N)
        root.create_dataset("obs", data=rows)
        places = np.zeros(N, dtype=[("X_umap", "f4", (2,))])
        places["X_umap"] = np.arange(2 * N).reshape(N, 2)
        root.create_dataset("obsm", data=places)
    out, report = converted(path)
    values, meta = read_array(out, "obs")
    assert values["name_0"].tolist() == [f"c{i}" for i in range(N)]
    assert json.loads(meta["cxg_schema"])["c"]["categories"] == ["x", "y"]
    assert values["n"].tolist() == list(range(N))
    assert "column_dropped" in codes_of(report)
    assert read_array(out, "emb/umap")[0][""].tolist() == np.arange(12.0).reshape(6, 2).tolist()


def test_records_with_codes_that_have_no_category(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad", uns={"c_categories": np.array(["x", "y"], object)})
    with h5py.File(path, "a") as root:
        del root["var"]
        rows = np.array([(b"a", 0), (b"b", 1), (b"c", 7), (b"d", 0)], dtype=[("index", "S1"), ("c", "i4")])
        root.create_dataset("var", data=rows)
    out, report = converted(path)
    assert list(read_array(out, "var")[0]) == ["name_0"]
    assert [note["subject"] for note in report["notes"] if note["code"] == "column_dropped"] == ["var/c"]


@pytest.mark.parametrize("option", ["--obs-names", "--var-names"])
def test_names_from_a_column(tmp_path, converted, option):
    obs = {"id": np.array([f"id{i}" for i in range(N)], object)}
    var = {"symbol": lambda group, name: write_categorical(group, name, [3, 2, 1, 0], ["d", "c", "b", "a"])}
    out, _ = converted(make_h5ad(tmp_path / "in.h5ad", obs=obs, var=var), option, "id" if "obs" in option else "symbol")
    axis, column, names = (
        ("obs", "id", [f"id{i}" for i in range(N)]) if "obs" in option else ("var", "symbol", list("abcd"))
    )
    values, meta = read_array(out, axis)
    assert json.loads(meta["cxg_schema"])["index"] == column
    assert values[column].tolist() == names
    assert values["name_0"][0] in ("cell0", "gene0")


def named_index(path, axis, name, *, also_column=True):
    """Rename the index of a table; AnnData lists it among the columns too where one has its name and values."""
    with h5py.File(path, "a") as root:
        group = root[axis]
        group.move("_index", name)
        group.attrs["_index"] = name
        order = [text.decode() if isinstance(text, bytes) else text for text in group.attrs["column-order"]]
        group.attrs["column-order"] = np.array([name, *order] if also_column else order, dtype=TEXT)
    return path


@pytest.mark.parametrize("axis", ["obs", "var"])
@pytest.mark.parametrize(
    "name, served",
    [("barcode", "barcode"), ("index", "index-1"), ("_index", "_index"), ("name_0", "name_0"), ("N", "N")],
)
@pytest.mark.parametrize("chosen", [False, True])
def test_a_column_with_the_name_of_the_index(tmp_path, converted, axis, name, served, chosen):
    """It is served beside the index, and can be chosen for it; other columns may differ from it in case alone."""
    columns = {"n": np.arange(N if axis == "obs" else 4)}
    path = make_h5ad(tmp_path / "in.h5ad", **{axis: columns})
    if name != "_index":
        named_index(path, axis, name)
    else:
        with h5py.File(path, "a") as root:
            root[axis].attrs["column-order"] = np.array([name, "n"], dtype=TEXT)
    out, report = converted(path, *([f"--{axis}-names", name] if chosen else []))
    values, meta = read_array(out, axis)
    index = "name_1" if name == "name_0" else "name_0"
    assert set(values) == {index, served, "n"}
    assert json.loads(meta["cxg_schema"])["index"] == (served if chosen else index)
    names = [f"{'cell' if axis == 'obs' else 'gene'}{i}" for i in range(len(columns["n"]))]
    assert values[served].tolist() == values[index].tolist() == names
    assert values["n"].tolist() == columns["n"].tolist()
    assert ("column_renamed" in codes_of(report)) is (served != name)


@pytest.mark.parametrize("axis", ["obs", "var"])
@pytest.mark.parametrize("name", ["barcode", "index"])
def test_the_index_itself_can_be_chosen_by_its_name(tmp_path, converted, axis, name):
    path = named_index(make_h5ad(tmp_path / "in.h5ad"), axis, name, also_column=False)
    out, report = converted(path, f"--{axis}-names", name)
    values, meta = read_array(out, axis)
    assert list(values) == ["name_0"]
    assert json.loads(meta["cxg_schema"])["index"] == "name_0"
    assert codes_of(report) == set()


def test_the_index_of_records_can_be_chosen_by_its_name(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad")
    with h5py.File(path, "a") as root:
        del root["var"]
        root.create_dataset("var", data=np.array([(b"a",), (b"b",), (b"c",), (b"d",)], dtype=[("index", "S1")]))
    out, _ = converted(path, "--var-names", "index")
    assert read_array(out, "var")[0]["name_0"].tolist() == list("abcd")


def test_a_table_of_coordinates_with_a_column_named_as_its_index(tmp_path, converted):
    """Only the column-order says so; without one the index is no coordinate."""

    def table(group, name):
        item = mark(group.create_group(name), "dataframe")
        item.attrs["_index"] = "cell"
        for key in ("cell", "x", "y"):
            write_array(item, key, np.arange(N) * 1.0)

    out, _ = converted(make_h5ad(tmp_path / "in.h5ad", obsm={"X_t": table}))
    assert read_array(out, "emb/t")[0][""].shape == (N, 2)


def test_names_from_numbers(tmp_path, converted):
    out, _ = converted(make_h5ad(tmp_path / "in.h5ad", obs={"id": np.arange(N) * 7}), "--obs-names", "id")
    assert read_array(out, "obs")[0]["id"].tolist() == ["0", "7", "14", "21", "28", "35"]


def test_names_from_numbers_of_which_one_is_missing(tmp_path, converted):
    mask = [False] * (N - 1) + [True]
    obs = {"id": lambda group, name: write_nullable(group, name, "integer", np.arange(N) * 7, mask)}
    out, _ = converted(make_h5ad(tmp_path / "in.h5ad", obs=obs), "--obs-names", "id")
    assert read_array(out, "obs")[0]["id"].tolist() == ["0", "7", "14", "21", "28", ""]


def test_columns_of_the_order_that_are_not_there(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad", obs={"n": np.arange(N)})
    with h5py.File(path, "a") as root:
        root["obs"].attrs["column-order"] = np.array([b"n", b"gone", b"caf\xe9"])
    out, report = converted(path)
    assert list(read_array(out, "obs")[0]) == ["name_0", "n"]
    dropped = [note["subject"] for note in report["notes"] if note["code"] == "column_dropped"]
    assert dropped == ["obs/gone", "obs/caf�"]


def test_no_column_order_but_a_null_one(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad")
    with h5py.File(path, "a") as root:
        root["obs"].attrs["column-order"] = h5py.Empty("f4")
    out, _ = converted(path)
    assert list(read_array(out, "obs")[0]) == ["name_0"]


def test_names_in_the_file_that_are_not_utf8(tmp_path, converted):
    """Each is told with its bad bytes replaced."""
    path = make_h5ad(tmp_path / "in.h5ad", obs={"n": np.arange(N)}, layers={"log": default_matrix()})
    with h5py.File(path, "a") as root:
        del root["obs"].attrs["column-order"]
        root["obs"].create_dataset(b"caf\xe9", data=np.arange(N))
        root["obsm"].create_dataset(b"X_\xe9", data=np.ones((N, 2)))
        root["uns"].create_dataset(b"\xe9_colors", data=np.array([b"red"]))
        root["layers"].create_dataset(b"\xe9", data=default_matrix())
    _, report = converted(path, "--layer", "log")
    assert sorted(report["embeddings"]) == ["umap", "�"]
    assert report["obs_columns"] == ["name_0", "n"]
    assert [note["subject"] for note in report["notes"] if note["code"] == "column_dropped"] == ["obs/caf�"]


def test_make_unique(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad", obs_names=["a", "a", "a-1", "b", "a", "b"], var_names=["g"] * 4)
    out, report = converted(path, "--make-unique")
    assert read_array(out, "obs")[0]["name_0"].tolist() == ["a", "a-2", "a-1", "b", "a-3", "b-1"]
    assert read_array(out, "var")[0]["name_0"].tolist() == ["g", "g-1", "g-2", "g-3"]
    assert [note["subject"] for note in report["notes"] if note["code"] == "names_numbered"] == ["var", "obs"]


def test_index_called_otherwise_and_column_order_missing(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad", obs={"n": np.arange(N)})
    with h5py.File(path, "a") as root:
        root["obs"].move("_index", "barcode")
        root["obs"].attrs["_index"] = "barcode"
        del root["obs"].attrs["column-order"]
    out, _ = converted(path)
    assert list(read_array(out, "obs")[0]) == ["name_0", "n"]


def test_text_index_of_numbers_only_is_text(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad")
    with h5py.File(path, "a") as root:
        del root["obs/_index"]
        write_array(root["obs"], "_index", np.arange(N))
    out, _ = converted(path)
    assert read_array(out, "obs")[0]["name_0"].tolist() == list("012345")


def test_ensembl_names_get_a_hint(tmp_path, converted):
    names = [f"ENSG0000000000{i}" for i in range(4)]
    path = make_h5ad(tmp_path / "in.h5ad", var_names=names, var={"feature_name": np.array(list("wxyz"), object)})
    _, report = converted(path)
    assert "--var-names feature_name" in next(n["text"] for n in report["notes"] if n["code"] == "ensembl_names")


def test_title_about_and_corpora(tmp_path, converted):
    uns = {
        "title": "A study",
        "schema_version": "5.0.0",
        "default_embedding": "X_umap",
        "batch_condition": np.array(["d"], object),
    }
    path = make_h5ad(tmp_path / "in.h5ad", uns=uns)
    out, _ = converted(path, "--about", "https://example.org/x")
    meta = read_array(out, "cxg_group_metadata")[1]
    assert meta["cxg_version"] == "0.3.0"
    assert json.loads(meta["cxg_properties"]) == {"title": "A study", "about": "https://example.org/x"}
    assert json.loads(meta["corpora"]) == {
        "schema_version": "5.0.0", "title": "A study", "default_embedding": "X_umap", "batch_condition": ["d"],
    }  # fmt: skip
    out, _ = converted(make_h5ad(tmp_path / "plain.h5ad"), "--overwrite")
    meta = read_array(out, "cxg_group_metadata")[1]
    assert json.loads(meta["cxg_properties"]) == {"title": "plain", "about": None}
    assert "corpora" not in meta
    out, _ = converted(path, "--overwrite", "--title", "Mine")
    assert json.loads(read_array(out, "cxg_group_metadata")[1]["cxg_properties"])["title"] == "Mine"


def test_embeddings(tmp_path, converted):
    places = np.random.default_rng(0).normal(size=(N, 2))
    holes = places.copy()
    holes[0] = np.nan
    infinite = places.copy()
    infinite[0, 0] = np.inf
    obsm = {
        "X_umap": places.astype(np.float32),
        "X_wide": np.hstack([places] * 3),
        "X_whole": np.arange(2 * N).reshape(N, 2),
        "X_holes": holes,
        "spatial": places,
        "X_a:b": places,
        "X_sparse": sparse.csr_matrix(places),
        "X_infinite": infinite,
        "X_nan": np.full((N, 2), np.nan),
        "X_line": places[:, :1],
        "X_short": places[:3],
        "X_text": np.array([["a", "b"]] * N, object),
        "X_null": lambda group, name: group.create_dataset(name, data=h5py.Empty("f4")),
        "X_shapeless": lambda group, name: mark(group.create_group(name), "csr_matrix").attrs.update(shape="6 x 2"),
        "other": places,
    }
    out, report = converted(make_h5ad(tmp_path / "in.h5ad", obsm=obsm))
    expected = {"umap", "wide", "whole", "holes", "spatial", "a_b", "sparse"}
    assert set(report["embeddings"]) == {
        item.name for item in (out / "emb").iterdir() if item.is_dir() and item.name[0] != "_"
    }
    assert set(report["embeddings"]) == expected
    dropped = {note["subject"] for note in report["notes"] if note["code"] == "embedding_dropped"}
    assert dropped == {"obsm/X_infinite", "obsm/X_nan", "obsm/X_line", "obsm/X_short", "obsm/X_text"} | {
        "obsm/X_null",
        "obsm/X_shapeless",
    }
    assert not [note["text"] for note in report["notes"] if ".." in note["text"]]
    for name, key in (("umap", "X_umap"), ("wide", "X_wide"), ("holes", "X_holes"), ("whole", "X_whole")):
        values = read_array(out, f"emb/{name}")[0][""]
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, obsm[key].astype(np.float32))
    np.testing.assert_array_equal(read_array(out, "emb/sparse")[0][""], places.astype(np.float32))


def test_embedding_in_a_table(tmp_path, converted):
    from tests.unit.convert.h5ads import write_frame

    def table(group, name):
        write_frame(
            group,
            name,
            [f"cell{i}" for i in range(N)],
            {
                "x": np.arange(6.0),
                "label": np.array(["t"] * N, object),
                "odd": np.arange(6) * 1j,
                "y": lambda inside, key: write_nullable(inside, key, "float", np.arange(6.0), [True] + [False] * 5),
            },
        )

    out, report = converted(make_h5ad(tmp_path / "in.h5ad", obsm={"X_umap": table}))
    np.testing.assert_array_equal(read_array(out, "emb/umap")[0][""], [[i, i if i else np.nan] for i in range(6)])
    assert [note["subject"] for note in report["notes"] if note["code"] == "column_dropped"] == ["obsm/X_umap/odd"]


def test_embedding_without_prefix_when_there_is_no_other(tmp_path, converted):
    _, report = converted(make_h5ad(tmp_path / "in.h5ad", obsm={"umap": np.ones((N, 2))}))
    assert report["embeddings"] == ["umap"]
    assert "obsm_without_prefix" in codes_of(report)


def test_embeddings_in_slices(tmp_path, converted, monkeypatch):
    monkeypatch.setattr("cxg.convert.read.embeddings.ROW_TILE", 16)
    monkeypatch.setattr("cxg.convert.read.embeddings.SLICE_CELLS", 40)
    monkeypatch.setattr("cxg.convert.write.arrays.FRAME_TILE", 16)
    places = np.random.default_rng(0).normal(size=(50, 3))
    out, _ = converted(make_h5ad(tmp_path / "in.h5ad", np.ones((50, 2), np.float32), obsm={"X_pca": places}))
    np.testing.assert_array_equal(read_array(out, "emb/pca")[0][""], places.astype(np.float32))


def test_real_anndata_layout_of_uns_scalars(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad")
    with h5py.File(path, "a") as root:
        root["uns"].create_dataset("title", data=np.array([b"old title"]), dtype=TEXT)
    out, _ = converted(path)
    assert "old title" in read_array(out, "cxg_group_metadata")[1]["cxg_properties"]
    assert default_matrix().shape == (6, 4)
