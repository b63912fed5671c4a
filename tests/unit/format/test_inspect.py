"""`cxg inspect`: what it prints of good CXGs, and one clear sentence for everything that can be wrong with one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiledb

from cxg.cli.main import main
from tests.cxgs import KINDS, PICKLE, build

# What is wrong in the ready-made kinds; all others must be without an error.
EXPECTED = {
    "two-generations": "fragments overlap",
    "two-generations-sparse": "fragments overlap",
    "never-written": "never written",
    "no-embedding": "no embedding",
    "pickled-uns": "could run code",
    "spatial": "'X_absent' is not among them",
    "obs-without-commit": "its commit files are missing",
    "Xr-without-commit": "its commit files are missing",
    "umap-without-commit": "its commit files are missing",
    "0.0-dense": "cxg_group_metadata: It is missing",
}
BROKEN = {"never-written", "obs-without-commit", "Xr-without-commit", "umap-without-commit", "no-embedding"}


def look(capsys, path):
    code = main(["inspect", str(path), "--json"])
    return code, json.loads(capsys.readouterr().out)


def said(report):
    return "\n".join(f"{finding['subject']}: {finding['text']}" for finding in report["findings"])


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_kinds(tmp_path, capsys, kind):
    truth = KINDS[kind](tmp_path / "x.cxg")
    code, report = look(capsys, truth.path)
    assert EXPECTED.get(kind, "") in said(report)
    assert code == (1 if kind in BROKEN else 0)
    assert report["ok"] is (kind not in BROKEN)
    if kind != "obs-without-commit":
        assert (report["n_obs"], report["n_var"]) == (truth.n_obs, truth.n_var)
        assert report["version"] == truth.version
        assert report["title"] == (truth.title or "x")
        assert len(report["obs_columns"]) == len(truth.obs)
    if kind == "foreign-files":
        assert report["other"] == ["inner(fix).cxg", "some-user"]


def remove(*names):
    def damage(root):
        for name in names:
            for path in root.glob(name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def rewrite(name, key, value):
    def damage(root):
        with tiledb.open(str(root / name), "w") as array:
            array.meta[key] = value

    return damage


def replaced(name, values, **options):
    def damage(root):
        shutil.rmtree(root / name)
        tiledb.from_numpy(str(root / name), values, **options).close()

    return damage


def overwritten(pattern):
    """The bytes of data files replaced by others."""

    def damage(root):
        for path in filter(Path.is_file, root.glob(pattern)):
            path.write_bytes(b"\xff" * path.stat().st_size)

    return damage


# What is done to a good CXG -> (exit code, what is said).
DAMAGE = {
    "no obs": (remove("obs"), 1, "obs: The array is missing"),
    "no var": (remove("var"), 1, "var: The array is missing"),
    "no X": (remove("Xr", "Xc"), 1, "holds no expression matrix"),
    "only Xr": (remove("Xc"), 1, "Xr is there, but Xc is missing"),
    "no emb": (remove("emb"), 1, "no embedding"),
    "all embeddings lost": (remove("emb/*/__commits/*"), 1, "None of the 2 embeddings can be drawn"),
    "no group metadata": (remove("cxg_group_metadata"), 1, "there is no title, no link, no colours"),
    "no group marker": (remove("__tiledb_group.tdb"), 0, "marker file of the group is missing"),
    "commits of obs lost": (remove("obs/__commits/*"), 1, "obs cannot be read because its commit files are missing"),
    "commits of var lost": (remove("var/__commits/*"), 1, "var cannot be read because its commit files are missing"),
    "commits of Xc lost": (remove("Xc/__commits/*"), 1, "its commit files are missing"),
    "commits of an embedding lost": (remove("emb/pca/__commits/*"), 1, "Embedding 'pca' is left out"),
    "commits of group metadata lost": (
        remove("cxg_group_metadata/__commits/*"), 1, "cxg_group_metadata: It cannot be read because its commit files",
    ),
    "data of obs lost": (remove("obs/__fragments/*/a*.tdb"), 1, "obs cannot be read because its data files are missing"),
    "data of one column lost": (remove("obs/__fragments/*/a3.tdb"), 1, "Column"),
    "data of Xr lost": (remove("Xr/__fragments/*/a*.tdb"), 1, "data files are missing"),
    "data of Xc overwritten": (overwritten("Xc/__fragments/*/a0.tdb"), 1, "X: "),
    "data of an embedding overwritten": (overwritten("emb/umap/__fragments/*/a0.tdb"), 1, "emb/umap: "),
    "schema of obs overwritten": (overwritten("obs/__schema/*"), 1, "Obs cannot be read"),
    "schema of an embedding overwritten": (overwritten("emb/umap/__schema/*"), 1, "Embedding 'umap' is left out"),
    "obs of two dimensions": (replaced("obs", np.ones((30, 2))), 1, "not a one-dimensional"),
    "var of another length": (replaced("Xc", np.ones(7)), 1, "X"),
    "embedding of another length": (replaced("emb/umap", np.ones((7, 2), np.float32)), 1, "7 rows for 30 cells"),
    "embedding of one dimension": (replaced("emb/umap", np.ones(30, np.float32)), 1, "Embedding 'umap' is left out"),
    "hints that are no JSON": (rewrite("obs", "cxg_schema", "{"), 1, "cxg_schema"),
    "colours that are no JSON": (rewrite("cxg_group_metadata", "cxg_category_colors", "["), 1, "cxg_category_colors"),
    "colours of no column": (
        rewrite("cxg_group_metadata", "cxg_category_colors", '{"nowhere": {"a": "#000000"}}'), 0, "obs does not have",
    ),
    "colours incomplete": (
        rewrite("cxg_group_metadata", "cxg_category_colors", '{"label": {}}'), 0, "labels have no colour",
    ),
    "unknown version": (rewrite("cxg_group_metadata", "cxg_version", "9.9"), 0, "'9.9' is unknown"),
    "pickle in uns": (
        lambda root: (tiledb.from_numpy(str(root / "uns"), np.zeros(1)).close(), rewrite("uns", "spatial", PICKLE)(root)),
        0, "spatial is in a binary form",
    ),
    "totals of another length": (
        lambda root: tiledb.from_numpy(str(root / "X_totals"), np.zeros(3)).close(), 1, "X_totals: It is not the sums",
    ),
    "two generations of schemas": (
        lambda root: (root / "obs" / "__array_schema.tdb").touch(), 1, "two versions of the array are mixed",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A good CXG, which tests copy."""
    return build(tmp_path_factory.mktemp("sound") / "x.cxg", n_obs=30, n_var=20).path


@pytest.fixture(scope="module")
def sound_with_totals(tmp_path_factory):
    """The same with sums of X and with uns."""
    root = build(tmp_path_factory.mktemp("sound") / "x.cxg", n_obs=30, n_var=20, totals=True, uns="{}").path
    assert main(["inspect", str(root)]) == 0
    return root


def copy_of(root, tmp_path):
    return shutil.copytree(root, tmp_path / "x.cxg")


@pytest.mark.parametrize("what", DAMAGE)
def test_damage(tmp_path, capsys, sound, what):
    damage, code, sentence = DAMAGE[what]
    root = copy_of(sound, tmp_path)
    damage(root)
    found, report = look(capsys, root)
    assert sentence in said(report)
    assert found == code
    assert "Traceback" not in said(report)


@pytest.mark.parametrize(
    "name,sentence",
    [("none.cxg", "There is nothing at"), ("in.h5ad", "make a CXG of it: cxg convert"), ("text", "is a file")],
)
def test_nothing_to_inspect(tmp_path, capsys, name, sentence):
    (tmp_path / "in.h5ad").touch()
    (tmp_path / "text").touch()
    assert main(["inspect", str(tmp_path / name)]) == 2
    assert sentence in capsys.readouterr().err


def test_folder_that_is_no_cxg(tmp_path, capsys):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "notes.txt").write_text("mine")
    code, report = look(capsys, tmp_path / "x")
    assert code == 1
    assert "This is not a CXG" in said(report)


def test_text_form(tmp_path, capsys):
    build(tmp_path / "x.cxg")
    assert main(["inspect", str(tmp_path / "x.cxg")]) == 0
    text = capsys.readouterr().out
    assert "Nothing is wrong." in text
    assert "label: categorical" in text
    build(tmp_path / "x.cxg", missing_commit="Xr", embeddings=())
    assert main(["inspect", str(tmp_path / "x.cxg")]) == 1
    text = capsys.readouterr().out
    assert "Wrong:" in text
    assert "Odd:" in text


def test_what_the_converter_writes_is_without_fault(tmp_path, capsys):
    from tests.unit.convert.h5ads import make_h5ad

    assert main(["convert", str(make_h5ad(tmp_path / "in.h5ad"))]) == 0
    capsys.readouterr()
    code, report = look(capsys, tmp_path / "in.cxg")
    assert (code, report["findings"], report["totals"], report["non_zeros"]) == (0, [], True, 9)


def test_real_datasets(shared_data, capsys):
    for path in sorted(shared_data.glob("*.cxg")):
        code, report = look(capsys, path)
        assert code == (1 if path.name == "pbmc3k_without_X.cxg" else 0), said(report)
        if code:
            assert "expression data is missing" in said(report)


def rewritten(name, factor):
    """All values of a sparse array multiplied."""

    def damage(root):
        uri = str(root / name)
        with tiledb.open(uri) as array:
            found = array[:]
            timestamp = array.timestamp_range[1]
        schema = tiledb.ArraySchema.load(uri)
        shutil.rmtree(uri)
        tiledb.Array.create(uri, schema)
        place = found.pop(schema.domain.dim(0).name)
        found[""] = found[""] * np.float32(factor)
        with tiledb.open(uri, "w", timestamp=timestamp) as array:
            array[place] = found

    return damage


def half_written(name):
    def damage(root):
        shutil.rmtree(root / name)
        dim = tiledb.Dim(name="__dim_0", domain=(0, 29), tile=5, dtype=np.uint64)
        attrs = [tiledb.Attr(name="name_0", dtype="ascii", var=True), tiledb.Attr(name="n", dtype=np.float32)]
        tiledb.Array.create(str(root / name), tiledb.ArraySchema(domain=tiledb.Domain(dim), attrs=attrs))
        with tiledb.open(str(root / name), "w") as array:
            array[0:15] = {"name_0": np.array([f"c{i}" for i in range(15)], "O"), "n": np.zeros(15, np.float32)}

    return damage


def cut_in_the_middle(pattern):
    def damage(root):
        for path in filter(Path.is_file, root.glob(pattern)):
            half = path.stat().st_size // 2
            path.write_bytes(path.read_bytes()[:half] + b"\xff" * (path.stat().st_size - half))

    return damage


MORE_DAMAGE = {
    "second half of Xr": (cut_in_the_middle("Xr/__fragments/*/a0.tdb"), "Xr: "),
    "second half of the genes in Xr": (cut_in_the_middle("Xr/__fragments/*/a1.tdb"), "Xr: "),
    "second half of Xc": (cut_in_the_middle("Xc/__fragments/*/a0.tdb"), "Xc: "),
    "other values in Xc": (rewritten("Xc", 2), "are not those of Xr"),
    "sums of another matrix": (
        lambda root: [rewritten(name, 3)(root) for name in ("Xr", "Xc")], "genes are not those of X; remove the folder X_totals",
    ),
    "sums that cannot be read": (cut_in_the_middle("X_totals/__fragments/*/a0.tdb"), "X_totals"),
    "half of obs": (half_written("obs"), "only rows 0 to 14 of 0 to 29 were written"),
    "gene sets that are none": (rewrite("obs", "genesets", '"text"'), "gene sets cannot be understood"),
    "gene sets that are no JSON": (rewrite("obs", "genesets", "{"), "genesets is not JSON"),
    "pickled properties": (rewrite("cxg_group_metadata", "cxg_properties", PICKLE), "cxg_properties holds binary data"),
    "metadata of obs": (remove("obs/__meta/*"), "obs has no metadata cxg_schema"),
    "schema of an embedding": (remove("emb/pca/__schema/*"), "'pca' is left out: its schema is missing"),
    "schema of uns": (remove("uns/__schema/*"), "uns: It cannot be read because its schema is missing"),
    "schema of the metadata": (remove("cxg_group_metadata/__schema/*"), "its schema is missing"),
}  # fmt: skip


@pytest.mark.parametrize("what", MORE_DAMAGE)
def test_whatever_is_lost_is_an_error(tmp_path, capsys, sound_with_totals, what):
    damage, sentence = MORE_DAMAGE[what]
    root = copy_of(sound_with_totals, tmp_path)
    damage(root)
    code, report = look(capsys, root)
    assert sentence in said(report)
    assert (code, report["ok"]) == (1, False)
    assert "Traceback" not in said(report)


def test_one_commit_of_two_is_an_error(tmp_path, capsys):
    root = build(tmp_path / "x.cxg", generations=2).path
    next((root / "Xc" / "__commits").glob("*.wrt")).unlink()
    code, report = look(capsys, root)
    assert code == 1
    assert "Xc cannot be read because the commit files of 1 of its 2 fragments are missing" in said(report)


def test_a_quick_look_leaves_the_values_of_x_alone(tmp_path, capsys, sound):
    root = copy_of(sound, tmp_path)
    cut_in_the_middle("Xr/__fragments/*/a0.tdb")(root)
    assert main(["inspect", "--quick", str(root)]) == 0
    assert main(["inspect", str(root)]) == 1


@pytest.mark.parametrize("kind", ["two-generations", "two-generations-sparse"])
def test_counts_are_of_what_is_served(tmp_path, capsys, kind):
    truth = KINDS[kind](tmp_path / "x.cxg")
    assert look(capsys, truth.path)[1]["non_zeros"] == np.count_nonzero(truth.X)


def test_colours_that_are_not_served_are_not_counted(tmp_path, capsys):
    table = {"label": {"a": "#000000"}, "nowhere": {"a": "#000000"}}
    root = build(tmp_path / "x.cxg", colors=table).path
    assert look(capsys, root)[1]["colors"] == []


def other_cells(root):
    """The labels of obs in another order."""
    with tiledb.open(str(root / "obs")) as array:
        found = array[:]
        timestamp = array.timestamp_range[1]
    found["label"] = found["label"][::-1].copy()
    with tiledb.open(str(root / "obs"), "w", timestamp=timestamp + 1) as array:
        array[:] = found


def changed_sums(root):
    with tiledb.open(str(root / "X_label_sums"), "w") as array:
        array[0:1, 0:4] = {name: np.full((1, 4), 5.0) for name in ("sum", "sum_squares")}


LABEL_DAMAGE = {
    "other cells": (other_cells, "are of other cells than obs has; remove the folder X_label_sums"),
    "other sums": (changed_sums, "are not those of X for 4 genes; remove the folder X_label_sums"),
    "cut": (cut_in_the_middle("X_label_sums/__fragments/*/a0.tdb"), "X_label_sums"),
    "metadata": (remove("X_label_sums/__meta/*"), "X_label_sums is not the sums over labels of 6 cells for 4 genes"),
    "metadata that is no list": (rewrite("X_label_sums", "columns", "7"), "is not the sums over labels"),
    "counts of more cells": (
        rewrite("X_label_sums", "columns", '[{"name": "label", "counts": [3, 4], "codes_crc32": 1}]'),
        "is not the sums over labels",
    ),
    "commits": (remove("X_label_sums/__commits/*"), "its commit files are missing"),
    "schema": (remove("X_label_sums/__schema/*"), "X_label_sums: It cannot be read because its schema is missing"),
    "another array": (
        lambda root: (
            shutil.rmtree(root / "X_label_sums"),
            tiledb.from_numpy(str(root / "X_label_sums"), np.zeros(3)).close(),
        ),
        "is not the sums over labels",
    ),
}


@pytest.mark.parametrize("what", LABEL_DAMAGE)
def test_sums_of_labels_that_are_not_those_of_the_dataset(tmp_path, capsys, what):
    from tests.unit.convert.h5ads import make_h5ad, write_categorical

    def label(group, name):
        write_categorical(group, name, [0, 1, 0, 1, 1, 1], ["a", "b"])

    assert main(["convert", str(make_h5ad(tmp_path / "in.h5ad", obs={"label": label}))]) == 0
    root = tmp_path / "in.cxg"
    capsys.readouterr()
    assert look(capsys, root)[0] == 0
    damage, sentence = LABEL_DAMAGE[what]
    damage(root)
    code, report = look(capsys, root)
    assert sentence in said(report)
    assert (code, report["ok"]) == (1, False)
    assert "Traceback" not in said(report)
