"""Every kind of CXG read back equals what was written; every kind of damage is one clear sentence."""

from __future__ import annotations

import json
import pickle
import shutil
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiledb

from cxg.config import default
from cxg.errors import DatasetInvalid, DatasetNotFound, UnknownColumn
from cxg.format.columns import ColumnValues, Labels, label_texts
from cxg.format.dataset import Dataset, open_dataset
from cxg.format.matrix import sparse
from cxg.format.matrix.sparse import SparseBlock
from cxg.format.text import Text
from cxg.storage.bounded_cache import BoundedCache
from cxg.storage.storage import Storage
from tests import cxgs

UNREADABLE = {"obs-without-commit"}
WITHOUT_X = {"never-written", "Xr-without-commit"}
READABLE = sorted(cxgs.KINDS.keys() - UNREADABLE)
WITH_X = sorted(cxgs.KINDS.keys() - UNREADABLE - WITHOUT_X)
SPARSE = [name for name in WITH_X if "dense" not in name and name not in ("0.1-codes", "0.2.0-shift")]


@pytest.fixture(scope="module")
def storage() -> Storage:
    return Storage(default())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, cxgs.Truth]:
    """One CXG of every kind; read only."""
    folder = tmp_path_factory.mktemp("kinds")
    return {name: build(folder / f"{name}.cxg") for name, build in cxgs.KINDS.items()}


@pytest.fixture(scope="module")
def opened(made: dict[str, cxgs.Truth], storage: Storage) -> Iterator[dict[str, Dataset]]:
    found = {name: open_dataset(storage, str(made[name].path), made[name].path.name) for name in READABLE}
    yield found
    for dataset in found.values():
        dataset.close()


def plain(values: ColumnValues) -> list[Any]:
    """Values of a column as the truth spells them."""
    if isinstance(values, Labels):
        n = len(values.categories)
        return [values.categories[code] if 0 <= code < n else None for code in values.codes.tolist()]
    return values.strings() if isinstance(values, Text) else values.values.tolist()


def by_gene(var: np.ndarray, value: np.ndarray) -> list[tuple[int, str]]:
    """Gene and value of everything that is not zero: equal for equal rows read in whatever order."""
    return sorted(
        (gene, repr(number)) for gene, number in zip(var.tolist(), value.tolist(), strict=True) if number != 0
    )


def rows_by_gene(dataset: Dataset, cells: np.ndarray) -> list[tuple[int, str]]:
    var, value = [np.zeros(0, int)], [np.zeros(0, np.float32)]
    for block in dataset.iter_X_rows(cells):
        if isinstance(block, SparseBlock):
            var.append(block.var)
            value.append(block.value)
        else:
            rows, columns = np.nonzero(block.values)
            var.append(columns)
            value.append(block.values[rows, columns])
    return by_gene(np.concatenate(var), np.concatenate(value))


@pytest.mark.parametrize("name", READABLE)
def test_sizes_names_and_metadata(made, opened, name: str) -> None:
    truth, dataset = made[name], opened[name]
    assert (dataset.n_obs, dataset.n_var) == (truth.n_obs, truth.n_var)
    assert dataset.version == truth.version
    assert (dataset.obs.index, dataset.var.index) == (truth.obs_index, truth.var_index)
    assert dataset.title == (truth.title or name)
    assert dataset.about == truth.about
    assert dataset.colors == truth.colors
    assert dataset.genesets == truth.genesets
    assert dataset.default_embedding == (None if name == "umap-without-commit" else truth.default_embedding)


@pytest.mark.parametrize("name", READABLE)
@pytest.mark.parametrize("axis", ["obs", "var"])
def test_every_column(made, opened, name: str, axis: str) -> None:
    truth, dataset = getattr(made[name], axis), opened[name]
    assert [column.name for column in dataset.annotations(axis).columns] == list(truth)
    for column in dataset.annotations(axis).columns:
        expected = truth[column.name]
        assert column.type == expected.type, column.name
        assert column.categories == (None if expected.categories is None else tuple(expected.categories))
        values = dataset.read_column(axis, column.name)
        np.testing.assert_array_equal(
            np.array(plain(values), dtype=object) if expected.categories or isinstance(values, Text) else plain(values),
            np.array(expected.values, dtype=object)
            if expected.categories or isinstance(values, Text)
            else expected.values,
            column.name,
        )


@pytest.mark.parametrize("name", READABLE)
def test_embeddings(made, opened, name: str) -> None:
    truth, dataset = made[name], opened[name]
    there = sorted(truth.embeddings.keys() - ({"umap"} if name == "umap-without-commit" else set()))
    assert list(dataset.embeddings) == there
    for embedding in there:
        values = dataset.read_embedding(embedding)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, truth.embeddings[embedding])


@pytest.mark.parametrize("name", WITH_X)
def test_expression_of_genes(made, opened, name: str) -> None:
    truth, dataset = made[name], opened[name]
    assert dataset.x_problem is None
    picks = {(), (0,), (truth.n_var - 1,), tuple(range(0, truth.n_var, 3)), tuple(range(truth.n_var))}
    for genes in picks:
        values = dataset.read_X_columns(np.array(genes, np.int64))
        assert values.dtype == np.float32
        assert values.flags.f_contiguous
        np.testing.assert_array_equal(values, truth.X[:, list(genes)], strict=True)
        total = truth.X[:, list(genes)].sum(axis=1, dtype=np.float64)
        np.testing.assert_allclose(dataset.sum_X_columns(np.array(genes, np.int64)), total, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", WITH_X)
def test_expression_of_cells(made, opened, name: str) -> None:
    truth, dataset = made[name], opened[name]
    n = truth.n_obs
    for cells in {(0,), (n - 1,), tuple(range(n)), tuple(range(0, n, 2)), tuple(range(n // 3, n // 2 + 1))}:
        rows = truth.X[list(cells)]
        picked, genes = np.nonzero(rows)
        assert rows_by_gene(dataset, np.array(cells, np.int64)) == by_gene(genes, rows[picked, genes])


@pytest.mark.parametrize("name", SPARSE)
def test_consecutive_cells_sorted(made, opened, name: str) -> None:
    truth, dataset = made[name], opened[name]
    for start, stop in ((0, truth.n_obs), (truth.n_obs // 3, truth.n_obs // 2 + 1)):
        counts, var, value = dataset.sparse_expression().read_range("obs", start, stop)
        dense = np.zeros((stop - start, truth.n_var), np.float32)
        dense[np.repeat(np.arange(stop - start), counts), var] = value
        np.testing.assert_array_equal(dense, truth.X[start:stop])


@pytest.mark.parametrize("name", SPARSE)
def test_consecutive_genes_sorted(made, opened, name: str) -> None:
    truth, dataset = made[name], opened[name]
    for start, stop in ((0, truth.n_var), (truth.n_var // 3, truth.n_var // 2 + 1)):
        counts, obs, value = dataset.sparse_expression().read_range("var", start, stop)
        dense = np.zeros((truth.n_obs, stop - start), np.float32)
        dense[obs, np.repeat(np.arange(stop - start), counts)] = value
        np.testing.assert_array_equal(dense, truth.X[:, start:stop])


@pytest.mark.parametrize("name", sorted(WITHOUT_X))
def test_without_expression_everything_else_is_there(opened, name: str) -> None:
    dataset = opened[name]
    assert dataset.x_problem is not None
    assert "expression data" in dataset.x_problem
    for read in (dataset.read_X_columns, lambda cells: list(dataset.iter_X_rows(cells))):
        with pytest.raises(DatasetInvalid, match="expression data"):
            read(np.array([0]))
    assert dataset.read_embedding("umap").shape == (dataset.n_obs, 2)


def test_obs_without_its_commit_is_no_dataset(made, storage: Storage) -> None:
    path = made["obs-without-commit"].path
    with pytest.raises(DatasetInvalid, match="obs cannot be read because its commit files are missing"):
        open_dataset(storage, str(path), path.name)


def test_counts_are_recognised(opened) -> None:
    assert opened["counts"].looks_like_counts
    assert not opened["Xr-Xc"].looks_like_counts
    assert not opened["totals"].looks_like_counts
    assert not opened["0.3.0-dense"].looks_like_counts


def test_stored_totals(made, opened) -> None:
    totals, x = opened["totals"].totals, made["totals"].X.astype(np.float64)
    assert totals is not None
    np.testing.assert_allclose(totals.total, x.sum(axis=0))
    np.testing.assert_allclose(totals.total_squares, (x**2).sum(axis=0))
    assert not totals.log1p
    assert opened["Xr-Xc"].totals is None


def test_gene_positions(made, opened) -> None:
    for name in ("Xr-Xc", "feature-name"):
        positions = opened[name].gene_positions
        assert [positions.find(gene) for gene in made[name].genes] == [[i] for i in range(len(made[name].genes))]
        assert "no such gene" not in positions


def test_values_beyond_obs_or_var_are_told(tmp_path: Path, storage: Storage) -> None:
    """Expression of another dataset in the folder: nothing is answered from it, and nothing huge is allocated."""
    small = cxgs.build(tmp_path / "a.cxg", n_obs=12, n_var=10)
    large = cxgs.build(tmp_path / "b.cxg", n_obs=40, n_var=30)
    for name in ("Xr", "Xc"):
        shutil.rmtree(small.path / name)
        shutil.copytree(large.path / name, small.path / name)
    genes, cells = np.arange(10), np.arange(12)
    with closing(open_dataset(storage, str(small.path), "a.cxg")) as dataset:
        for read in (
            lambda: dataset.read_X_columns(genes[:1]),
            lambda: dataset.read_X_columns(genes),
            lambda: dataset.sum_X_columns(genes),
            lambda: list(dataset.iter_X_rows(cells)),
            lambda: dataset.sparse_expression().read_range("obs", 0, 12),
        ):
            with pytest.raises(DatasetInvalid, match="beyond the"):
                read()


def test_sums_are_added_up_in_slices(made, opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "SUM_VALUES", 1)
    genes = np.arange(made["Xr-Xc"].n_var)
    total = opened["Xr-Xc"].sum_X_columns(genes)
    np.testing.assert_allclose(total, made["Xr-Xc"].X.sum(axis=1, dtype=np.float64), rtol=1e-12)


def test_a_single_dataset_without_a_title_is_called_as_its_folder(tmp_path: Path, storage: Storage) -> None:
    truth = cxgs.build(tmp_path / "cells.cxg", "0.0-dense")
    with closing(open_dataset(storage, str(truth.path), "")) as dataset:
        assert dataset.title == "cells"


def test_what_is_not_there(opened, storage: Storage, tmp_path: Path) -> None:
    dataset = opened["Xr-Xc"]
    for read in (
        lambda: dataset.read_column("obs", "nope"),
        lambda: dataset.read_column("var", "nope"),
        lambda: dataset.read_embedding("nope"),
    ):
        with pytest.raises(UnknownColumn, match="nope"):
            read()
    with pytest.raises(DatasetNotFound):
        open_dataset(storage, str(tmp_path / "nope.cxg"), "nope.cxg")


class Bomb:
    """Running its pickle creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def put_meta(path: Path, **values: Any) -> None:
    with tiledb.open(str(path), "w") as array:
        for key, value in values.items():
            array.meta[key] = value


def test_pickles_are_never_run(tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "ran"))
    truth = cxgs.build(tmp_path / "a.cxg", uns=bomb)
    put_meta(truth.path / "cxg_group_metadata", cxg_properties=bomb, cxg_category_colors=bomb, corpora=bomb)
    put_meta(truth.path / "obs", genesets=bomb, cxg_schema=bomb)
    monkeypatch.setattr(pickle, "loads", lambda *_: pytest.fail("something was unpickled"))
    with closing(open_dataset(storage, str(truth.path), "a.cxg")) as dataset:
        assert dataset.title == "a"
        assert dataset.colors == {}
        assert dataset.genesets == []
        assert sum("never read" in warning for warning in dataset.warnings) == 5
    assert not (tmp_path / "ran").exists()


def rewrite_hint(truth: cxgs.Truth, axis: str, column: str, **hint: Any) -> None:
    with tiledb.open(str(truth.path / axis)) as array:
        hints = json.loads(array.meta["cxg_schema"])
    hints[column] |= hint
    put_meta(truth.path / axis, cxg_schema=json.dumps(hints))


def replace_array(path: Path, columns: dict[str, np.ndarray]) -> None:
    shutil.rmtree(path)
    cxgs.write_dense(path, columns)


# What is done to a CXG, and the sentence about it: an error if it begins with "!", else a warning.
DAMAGE: dict[str, tuple[Callable[[cxgs.Truth], Any], str]] = {
    "no obs": (lambda t: shutil.rmtree(t.path / "obs"), "!it has no obs array"),
    "no var": (lambda t: shutil.rmtree(t.path / "var"), "!it has no var array"),
    "obs is a group": (
        lambda t: (shutil.rmtree(t.path / "obs"), tiledb.group_create(str(t.path / "obs"))),
        "!it has no obs array",
    ),
    "obs is a matrix": (
        lambda t: replace_array(t.path / "obs", {"": np.zeros((3, 3))}),
        "!not a one-dimensional dense array",
    ),
    "obs without names": (lambda t: replace_array(t.path / "obs", {"a": np.zeros(30)}), "!no column of names"),
    "metadata without hints": (lambda t: put_meta(t.path / "obs", cxg_schema="{"), "is not JSON"),
    "hints are a list": (lambda t: put_meta(t.path / "var", cxg_schema="[]"), ""),
    "deep metadata": (lambda t: put_meta(t.path / "cxg_group_metadata", corpora="[" * 200_000), "is not JSON"),
    "number as metadata": (lambda t: put_meta(t.path / "cxg_group_metadata", cxg_properties=7), "is not JSON"),
    "unknown version": (lambda t: put_meta(t.path / "cxg_group_metadata", cxg_version="9.9"), "9.9"),
    "no emb": (lambda t: shutil.rmtree(t.path / "emb"), "no embedding"),
    "emb is a file": (lambda t: (shutil.rmtree(t.path / "emb"), (t.path / "emb").write_text("x")), "no embedding"),
    "one-dimensional embedding": (
        lambda t: replace_array(t.path / "emb" / "umap", {"": np.zeros(30)}),
        "'umap' is left out",
    ),
    "narrow embedding": (
        lambda t: replace_array(t.path / "emb" / "umap", {"": np.zeros((30, 1))}),
        "'umap' is left out",
    ),
    "a link to nowhere": (lambda t: (t.path / "note").symlink_to("/no/such/file"), ""),
    "a link in circles": (lambda t: (t.path / "note").symlink_to(t.path / "note"), ""),
    "datetimes": (
        lambda t: replace_array(
            t.path / "obs",
            {"name_0": np.array([f"c{i}" for i in range(30)]), "when": np.zeros(30, "datetime64[s]")},
        ),
        "'when' of obs is left out",
    ),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_told(tmp_path: Path, storage: Storage, what: str) -> None:
    truth = cxgs.build(tmp_path / "a.cxg")
    damage, sentence = DAMAGE[what]
    damage(truth)
    if sentence.startswith("!"):
        with pytest.raises(DatasetInvalid) as told:
            open_dataset(storage, str(truth.path), "a.cxg")
        assert sentence[1:] in str(told.value)
        assert str(tmp_path) not in str(told.value)
        return
    with closing(open_dataset(storage, str(truth.path), "a.cxg")) as dataset:
        assert any(sentence in text for text in (*dataset.warnings, dataset.view_problem or "")) or not sentence
        assert dataset.read_X_columns(np.array([1])).shape == (30, 1)


# Files of an array that may be cut short or emptied, and what is then said when it is read.
def read_everything(storage: Storage, path: Path) -> None:
    with closing(open_dataset(storage, str(path), "a.cxg")) as dataset:
        for axis in ("obs", "var"):
            for column in dataset.annotations(axis).columns:
                dataset.read_column(axis, column.name)
        for name in dataset.embeddings:
            dataset.read_embedding(name)
        dataset.read_X_columns(np.array([0, 3]))


@pytest.mark.parametrize(
    "part, file, sentence",
    [
        ("obs", "__fragment_metadata.tdb", "Obs cannot be read"),
        ("obs", "a0_var.tdb", "Column 'name_0' of obs cannot be read"),
        ("var", "a1.tdb", "Column 'number' of var cannot be read"),
        ("emb/pca", "a0.tdb", "Embedding 'pca' cannot be read"),
        ("Xc", "a0.tdb", "The expression matrix cannot be read"),
        ("Xc", "d0.tdb", "The expression matrix cannot be read"),
    ],
)
def test_a_file_cut_short(tmp_path: Path, storage: Storage, part: str, file: str, sentence: str) -> None:
    # The name is one of the words by which trouble with a network is told.
    truth = cxgs.build(tmp_path / "network connection timeout.cxg")
    for path in (truth.path / part).rglob(file):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DatasetInvalid) as told:
        read_everything(storage, truth.path)
    assert str(told.value).startswith(sentence)
    assert str(tmp_path) not in str(told.value)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have(tmp_path: Path, storage: Storage, constant: str) -> None:
    truth = cxgs.build(tmp_path / "a.cxg")
    put_meta(
        truth.path / "cxg_group_metadata",
        cxg_properties=f'{{"title": "T", "about": {constant}}}',
        corpora=f'{{"a": [{constant}]}}',
    )
    with closing(open_dataset(storage, str(truth.path), "a.cxg")) as dataset:
        assert (dataset.title, dataset.about, dataset.corpora) == ("T", None, {"a": [None]})


def test_label_texts(opened) -> None:
    dataset = opened["Xr-Xc"]
    for column in dataset.obs.columns:
        texts = label_texts(dataset.read_column("obs", column.name))
        assert len(texts) == 30
        assert all(isinstance(text, str) for text in texts)
    assert "nan" in label_texts(dataset.read_column("obs", "missing"))


def test_what_open_datasets_keep_is_bounded(tmp_path: Path) -> None:
    """Many datasets stay open, but only the matrices used last; the others are opened again when asked for."""
    storage = Storage(default())
    storage.open_objects = BoundedCache(300_000)
    truths = [cxgs.build(tmp_path / f"{i}.cxg", seed=i, totals=True) for i in range(6)]
    datasets = [open_dataset(storage, str(truth.path), truth.path.name) for truth in truths]
    arrays = []
    for _ in range(2):
        for truth, dataset in zip(truths, datasets, strict=True):
            genes = np.arange(len(truth.genes))
            np.testing.assert_array_equal(dataset.read_X_columns(genes), truth.X)
            assert dataset.gene_positions.find(truth.genes[3]) == [3]
            assert dataset.totals is not None
            arrays += [
                weakref.ref(handle.open()) for handle in (dataset.expression().columns, dataset.expression().rows)
            ]
            assert 0 < storage.open_objects.used_bytes <= 300_000
    assert sum(array() is not None for array in arrays) <= 4
    for dataset in datasets:
        dataset.close()
    assert storage.open_objects.used_bytes == 0
    assert all(array() is None for array in arrays)


@pytest.mark.parametrize("kind", ["Xr/Xc", "0.3.0-sparse", "0.3.0-dense"])
def test_a_matrix_opened_after_the_dataset_was_replaced_is_not_read(
    tmp_path: Path, storage: Storage, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it had been open before, and made room for another."""
    fill = cxgs.fill_x
    old = cxgs.build(tmp_path / "a.cxg", kind, seed=1)
    genes = np.arange(len(old.genes))
    with closing(open_dataset(storage, str(old.path), "a.cxg")) as dataset:
        np.testing.assert_array_equal(dataset.read_X_columns(genes), old.X)
        for handle in (dataset.expression().columns, dataset.expression().rows):
            storage.open_objects.drop(handle)
        shutil.rmtree(old.path)
        monkeypatch.setattr(cxgs, "fill_x", lambda *args, **kw: fill(*args, **kw | {"timestamp": 5000}))
        cxgs.build(old.path, kind, seed=2)
        with pytest.raises(DatasetInvalid, match="not the one that was here"):
            dataset.read_X_columns(genes)
        with pytest.raises(DatasetInvalid, match="not the one that was here"):
            list(dataset.iter_X_rows(np.arange(3)))


def test_fragments_opened_apart_take_the_room_of_one_array(tmp_path: Path) -> None:
    """Else the generations of a large matrix would push each other out at every request."""
    storage = Storage(default())
    truth = cxgs.build(tmp_path / "a.cxg", generations=2)
    with closing(open_dataset(storage, str(truth.path), "a.cxg")) as dataset:
        columns = dataset.expression().columns
        dataset.read_X_columns(np.arange(3))
        apart = storage.open_objects.used_bytes
        storage.open_objects.drop(columns)
        columns.open()
        assert apart == storage.open_objects.used_bytes
