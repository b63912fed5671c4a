"""What is taken for counts when a CXG is made, and what a comparison of cells then says."""

import json

import numpy as np
import pytest
from scipy import sparse, stats

from cxg.config import default
from cxg.datasets.catalog import Catalog
from cxg.datasets.dataroot import SingleRoot
from cxg.decoded.cache import DecodedCache
from cxg.format.dataset import open_dataset
from cxg.storage.storage import Storage
from cxg.web.routes.comparison import compare
from tests.unit.convert.conftest import codes_of
from tests.unit.convert.h5ads import make_h5ad, read_array

N = 60
FORMS = {"csr": sparse.csr_matrix, "csc": sparse.csc_matrix, "dense": np.asarray}


def scaled():
    """z-scores, one of them far out; the first gene differs between the two halves of the cells."""
    x = np.random.default_rng(0).normal(0, 1, (N, 8))
    x[: N // 2, 0] += 1.5
    x[5, 7] = 28
    return x


def counts_with(value):
    x = np.random.default_rng(1).poisson(5.0, (N, 8)).astype(float) * 8
    x[-1, -1] = value
    return x


@pytest.mark.parametrize(
    "form, options", [("csr", []), ("csc", []), ("dense", []), ("csr", ["--sparse-threshold", "0"])]
)
@pytest.mark.parametrize(
    "x, transform",
    [
        (scaled(), "none"),
        (counts_with(8), "log1p"),
        (counts_with(np.nan), "log1p"),
        (counts_with(np.inf), "log1p"),
        (counts_with(-0.0), "log1p"),
        (counts_with(-1), "none"),
        (counts_with(-1e-9), "none"),
        (counts_with(-np.inf), "none"),
        (counts_with(-1).astype(np.int32), "none"),
        (counts_with(8).astype(np.uint16), "log1p"),
    ],
)
def test_negative_values_are_never_counts(tmp_path, converted, form, options, x, transform):
    root, report = converted(make_h5ad(tmp_path / "in.h5ad", FORMS[form](x)), *options)
    values, meta = read_array(root, "X_totals")
    assert meta["transform"] == transform
    f = x.astype(np.float32).astype(np.float64)
    np.testing.assert_allclose(values["sum"], (np.log1p(f) if transform == "log1p" else f).sum(axis=0), rtol=1e-9)
    assert bool({"x_counts", "x_wide"} & codes_of(report)) is (transform == "log1p")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("whole", [True, False])
def test_the_comparison_of_z_scores_is_a_plain_t_test(tmp_path, converted, form, whole):
    """Once with all other cells, for which the stored sums are used, and once with some of them."""
    x = scaled().astype(np.float32)
    root, _ = converted(make_h5ad(tmp_path / "in.h5ad", FORMS[form](x)))
    first, second = np.arange(N // 2), np.arange(N // 2, N)
    if not whole:
        first, second = first[:-3], second[:-3]
    storage = Storage(default())
    dataset = open_dataset(storage, str(root), "out.cxg")
    without_copies = DecodedCache(Catalog(storage, SingleRoot(storage, str(root)), 1), None)
    found = json.loads(compare(dataset, without_copies.expression(dataset), first, second, 8, 0.0).json())
    dataset.close()
    genes = {gene: (difference, p) for side in found.values() for gene, difference, p, _ in side}
    truth = stats.ttest_ind(x[first].astype(float), x[second].astype(float), equal_var=False)
    assert len(genes) == 8
    for gene, (difference, p) in genes.items():
        assert difference == pytest.approx(x[first, gene].mean(dtype=float) - x[second, gene].mean(dtype=float))
        assert p == pytest.approx(truth.pvalue[gene], rel=1e-6)
    assert found["positive"][0][0] == 0
    assert found["positive"][0][2] < 1e-4


def test_counts_with_a_negative_value_are_told(tmp_path, converted):
    x = counts_with(-1e-9)
    x[:, :4] = 0
    _, report = converted(make_h5ad(tmp_path / "in.h5ad", x))
    (note,) = [note for note in report["notes"] if note["code"] == "x_negative"]
    assert note["level"] == "warning"
    assert "compares them as they are" in note["text"]
