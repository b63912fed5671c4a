"""`cxg inspect`: what it prints of good CXGs, and one clear sentence for everything that can be wrong with one."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tiledb

from cxg.cli import main
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
BROKEN = {"never-written", "obs-without-commit", "Xr-without-commit", "no-embedding"}


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
    "only Xr": (remove("Xc"), 1, "holds no expression matrix"),
    "no emb": (remove("emb"), 1, "no embedding"),
    "all embeddings lost": (remove("emb/*/__commits/*"), 1, "None of the 2 embeddings can be drawn"),
    "no group metadata": (remove("cxg_group_metadata"), 0, "no title, no colours"),
    "no group marker": (remove("__tiledb_group.tdb"), 0, "marker file of the group is missing"),
    "commits of obs lost": (remove("obs/__commits/*"), 1, "obs cannot be read because its commit files are missing"),
    "commits of var lost": (remove("var/__commits/*"), 1, "var cannot be read because its commit files are missing"),
    "commits of Xc lost": (remove("Xc/__commits/*"), 1, "its commit files are missing"),
    "commits of an embedding lost": (remove("emb/pca/__commits/*"), 0, "Embedding 'pca' is left out"),
    "commits of group metadata lost": (
        remove("cxg_group_metadata/__commits/*"), 0, "cxg_group_metadata: It cannot be read because its commit files",
    ),
    "data of obs lost": (remove("obs/__fragments/*/a*.tdb"), 1, "obs cannot be read because its data files are missing"),
    "data of one column lost": (remove("obs/__fragments/*/a3.tdb"), 1, "Column"),
    "data of Xr lost": (remove("Xr/__fragments/*/a*.tdb"), 1, "data files are missing"),
    "data of Xc overwritten": (overwritten("Xc/__fragments/*/a0.tdb"), 1, "X: "),
    "data of an embedding overwritten": (overwritten("emb/umap/__fragments/*/a0.tdb"), 1, "emb/umap: "),
    "schema of obs overwritten": (overwritten("obs/__schema/*"), 1, "Obs cannot be read"),
    "schema of an embedding overwritten": (overwritten("emb/umap/__schema/*"), 0, "Embedding 'umap' is left out"),
    "obs of two dimensions": (replaced("obs", np.ones((30, 2))), 1, "not a one-dimensional"),
    "var of another length": (replaced("Xc", np.ones(7)), 1, "X"),
    "embedding of another length": (replaced("emb/umap", np.ones((7, 2), np.float32)), 0, "7 rows for 30 cells"),
    "embedding of one dimension": (replaced("emb/umap", np.ones(30, np.float32)), 0, "Embedding 'umap' is left out"),
    "hints that are no JSON": (rewrite("obs", "cxg_schema", "{"), 0, "cxg_schema"),
    "colours that are no JSON": (rewrite("cxg_group_metadata", "cxg_category_colors", "["), 0, "cxg_category_colors"),
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


@pytest.mark.parametrize("what", DAMAGE)
def test_damage(tmp_path, capsys, what):
    damage, code, sentence = DAMAGE[what]
    root = build(tmp_path / "x.cxg", n_obs=30, n_var=20).path
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
