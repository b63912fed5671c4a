"""Comparisons with stored sums of labels, against the same comparison of a CXG without them and against the matrix."""

import argparse
import json
import shutil
from functools import partial

import numpy as np
import pytest
import tiledb
from scipy import sparse

from cxg.cli.convert import add_arguments, run
from cxg.compute.diffexp import Moments
from cxg.config import default
from cxg.datasets.catalog import Catalog
from cxg.datasets.dataroot import SingleRoot
from cxg.decoded.cache import DecodedCache
from cxg.format.dataset import open_dataset
from cxg.storage.storage import Storage
from cxg.web.routes.comparison import compare
from cxg.web.routes.moments import SetReader
from tests.unit.convert.h5ads import make_h5ad, write_categorical, write_nullable

N, GENES = 240, 12
RNG = np.random.default_rng(11)
CLUSTER = RNG.integers(0, 4, N)
DONOR = RNG.integers(0, 9, N)


def logs():
    x = RNG.gamma(1.0, 2.0, (N, GENES))
    x[RNG.random(x.shape) < 0.6] = 0
    x[:, 3] *= CLUSTER == 1  # some genes are in one cluster only
    x[:, 4] *= CLUSTER != 2
    return x.astype(np.float32)


def with_values(x, *values):
    x = x.copy()
    for i, value in enumerate(values):
        x[7 * i + 1, i] = value
    return x


MATRICES = {
    "logs": logs(),
    "counts": np.floor(logs() * 30),
    "counts with infinity": with_values(np.floor(logs() * 30), np.inf),
    "NaN": with_values(logs(), np.nan, np.nan),
    "infinities": with_values(logs(), np.inf, -np.inf),
    "negative": logs() - 1.5,
    "far from 0": logs() + np.float32(1000),
    "constant genes": np.where(np.arange(GENES) % 2, np.float32(1.7), logs()),
}
FORMS = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray, "dense X": np.asarray}


@pytest.fixture(scope="module")
def cxgs(tmp_path_factory):
    """Convert a matrix in a form; each once."""
    made = {}
    root = tmp_path_factory.mktemp("cxgs")

    def make(matrix, form):
        if (matrix, form) in made:
            return made[matrix, form]
        columns = {
            "cluster": partial(write_categorical, codes=CLUSTER, labels=[f"c{i}" for i in range(5)]),
            "donor": partial(write_categorical, codes=np.where(DONOR == 8, -1, DONOR), labels=list("abcdefgh")),
            "flag": partial(write_nullable, kind="boolean", values=DONOR % 2 == 0, mask=DONOR == 3),
        }
        source = make_h5ad(root / f"{len(made)}.h5ad", FORMS[form](MATRICES[matrix]), obs=columns)
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        target = root / f"{len(made)}.cxg"
        options = ["--sparse-threshold", "0"] if form == "dense X" else []
        assert run(parser.parse_args([str(source), str(target), *options])) == 0
        assert (target / "X_label_sums").is_dir()
        made[matrix, form] = target
        return target

    return make


class Opened:
    """An open dataset without decoded copies, which counts the cells of X that are read."""

    def __init__(self, path):
        storage = Storage(default())
        self.dataset = open_dataset(storage, str(path), path.name)
        self.copies = DecodedCache(Catalog(storage, SingleRoot(storage, str(path)), 1), None)
        self.expression = self.copies.expression(self.dataset)
        self.read = 0
        iter_rows = self.dataset.iter_X_rows

        def counted(cells):
            self.read += len(cells)
            return iter_rows(cells)

        self.dataset.iter_X_rows = counted

    def moments(self, cells):
        return self.sets().moments(cells)

    def sets(self):
        return SetReader(self.dataset.n_var, self.expression, self.dataset.looks_like_counts, lambda: False)

    def compare(self, first, second):
        return json.loads(compare(self.dataset, self.expression, first, second, GENES, 0.0).json())


def label(code, codes=CLUSTER):
    return np.flatnonzero(codes == code)


def rest(cells):
    return np.setdiff1d(np.arange(N), cells)


SETS = {
    "a label": label(1),
    "a label and 3 cells": np.union1d(label(1), label(2)[:3]),
    "a label but 3 cells": label(1)[3:],
    "two labels": np.flatnonzero(CLUSTER >= 2),
    "two labels and a cell, but 2 cells": np.union1d(np.flatnonzero(CLUSTER >= 2)[2:], label(0)[:1]),
    "the missing label": label(8, DONOR),
    "all but a label": rest(label(1)),
    "all cells": np.arange(N),
    "all but a cell": np.arange(1, N),
    "a cell": np.array([5]),
    "any cells": np.flatnonzero(RNG.random(N) < 0.3),
}
PAIRS = [
    *((name, "two labels") for name in SETS),
    ("a label", "all but a label"),
    ("a label but 3 cells", "any cells"),
    ("all cells", "a label and 3 cells"),
]


def direct(opened, cells):
    """Moments from the matrix that is stored."""
    moments = Moments(GENES, len(cells), opened.dataset.looks_like_counts)
    for block in opened.dataset.iter_X_rows(cells):
        moments.add_dense(block.values) if hasattr(block, "values") else moments.add_sparse(block.var, block.value)
    return moments


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("matrix", MATRICES)
def test_moments_are_those_of_the_cells(cxgs, matrix, form):
    opened = Opened(cxgs(matrix, form))
    for cells in SETS.values():
        found, truth = opened.moments(cells), direct(opened, cells)
        assert (found.n, found.log1p) == (truth.n, truth.log1p)
        np.testing.assert_allclose(found.total, truth.total, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(found.total_squares, truth.total_squares, rtol=1e-9, atol=1e-9)
        for part, expected in zip(found.mean_and_variance(), truth.mean_and_variance(), strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-9, atol=1e-12)
    opened.dataset.close()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("matrix", MATRICES)
def test_answers_are_those_without_sums_of_labels(cxgs, tmp_path, matrix, form):
    root = cxgs(matrix, form)
    shutil.copytree(root, tmp_path / "x.cxg")
    shutil.rmtree(tmp_path / "x.cxg" / "X_label_sums")
    with_sums, without = Opened(root), Opened(tmp_path / "x.cxg")
    for first, second in PAIRS:
        found = with_sums.compare(SETS[first], SETS[second])
        truth = without.compare(SETS[first], SETS[second])
        for side in ("positive", "negative"):
            assert [row[0] for row in found[side]] == [row[0] for row in truth[side]], (first, second)
            np.testing.assert_allclose(found[side], truth[side], rtol=1e-8, atol=1e-12)
    assert with_sums.read < without.read
    with_sums.dataset.close()
    without.dataset.close()


@pytest.mark.parametrize(
    "name, read",
    [
        ("a label", 0), ("two labels", 0), ("the missing label", 0), ("all but a label", 0), ("all cells", 0),
        ("a label and 3 cells", 3), ("a label but 3 cells", 3), ("all but a cell", 1),
        ("two labels and a cell, but 2 cells", 3), ("a cell", 1),
    ],
)  # fmt: skip
def test_only_what_differs_from_labels_is_read(cxgs, name, read):
    opened = Opened(cxgs("logs", "csr"))
    opened.moments(SETS[name])
    assert opened.read == read
    opened.dataset.close()


@pytest.mark.parametrize("matrix", ["NaN", "infinities", "counts with infinity", "far from 0", "constant genes"])
def test_nothing_is_subtracted_where_digits_would_be_lost(cxgs, matrix):
    opened = Opened(cxgs(matrix, "csr"))
    cells = label(int(CLUSTER[1]))[3:]
    opened.moments(cells)
    assert opened.read >= len(cells) * 0.9
    opened.dataset.close()


def test_a_label_of_huge_values_is_not_subtracted(tmp_path):
    """What is left after 1e6 is taken from 1e6 + 0.1 would be rounding."""
    x = RNG.random((N, GENES)).astype(np.float32)
    x[label(1)[:3]] = -1e6
    labels = {"cluster": partial(write_categorical, codes=CLUSTER, labels=list("abcd"))}
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    source = make_h5ad(tmp_path / "in.h5ad", sparse.csr_matrix(x), obs=labels)
    assert run(parser.parse_args([str(source), str(tmp_path / "in.cxg")])) == 0
    opened = Opened(tmp_path / "in.cxg")
    cells = label(1)[3:]
    found, truth = opened.moments(cells), direct(opened, cells)
    np.testing.assert_allclose(found.mean_and_variance(), truth.mean_and_variance(), rtol=1e-12)
    opened.dataset.close()


def other_labels(root):
    """Another obs beside the same X: as many cells of each label, but other cells."""
    with tiledb.open(str(root / "obs")) as array:
        found = array[:]
    for name in ("cluster", "donor", "flag"):
        found[name] = found[name][::-1].copy()
    with tiledb.open(str(root / "obs"), "w") as array:
        array[:] = found


def cut(root):
    for path in root.glob("X_label_sums/__fragments/*/a*.tdb"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(root):
    for path in root.glob("X_label_sums/__fragments/*/a*.tdb"):
        data = bytearray(path.read_bytes())
        data[60::40] = bytes(value ^ 1 for value in data[60::40])
        path.write_bytes(data)


def other_shape(root):
    shutil.rmtree(root / "X_label_sums")
    tiledb.from_numpy(str(root / "X_label_sums"), np.zeros((3, GENES))).close()


def rewritten(key, value):
    def change(root):
        with tiledb.open(str(root / "X_label_sums"), "w") as array:
            array.meta[key] = value

    return change


DAMAGE = {
    "other labels in obs": other_labels,
    "cut short": cut,
    "flipped bits": flipped,
    "another shape": other_shape,
    "no commits": lambda root: [path.unlink() for path in root.glob("X_label_sums/__commits/*")],
    "no metadata": lambda root: [path.unlink() for path in root.glob("X_label_sums/__meta/*")],
    "no schema": lambda root: shutil.rmtree(root / "X_label_sums" / "__schema"),
    "another function": rewritten("transform", "log1p"),
    "no list": rewritten("columns", "{"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_sums_that_are_not_those_of_the_dataset_are_never_used(cxgs, tmp_path, what):
    root = tmp_path / "x.cxg"
    shutil.copytree(cxgs("logs", "csr"), root)
    DAMAGE[what](root)
    opened = Opened(root)
    for _ in range(2):
        opened.read = 0
        found, truth = opened.moments(label(1)), direct(opened, label(1))
        assert opened.read == 2 * len(label(1))
        # Threads add up in another order.
        np.testing.assert_allclose(found.total, truth.total, rtol=1e-13)
        np.testing.assert_allclose(found.total_squares, truth.total_squares, rtol=1e-13)
    opened.dataset.close()
