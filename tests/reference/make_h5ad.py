"""Write h5ad files with every kind of column, matrix and name that the published server accepts.

Runs inside the reference environment (it needs anndata): ``python make_h5ad.py FOLDER REAL.h5ad``.
The dtypes are those that the client's binary format tells apart.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

N_OBS = 311
N_VAR = 163
ODD_GENES = ["g,1", "g:2", "g 3", "g%4", "g&5", "é6", "g/7", "g=8", "g+9", "g%2C10", "g#11", 'g"12', "<b>13", "基因14"]


def obs_columns(random: np.random.Generator) -> dict[str, object]:
    """Every dtype of an annotation column, by a name that says what it is."""
    n = N_OBS
    whole = random.integers(-100, 100, n)
    reals = random.normal(size=n)
    holes = random.random(n) < 0.1
    labels = random.choice(["T cell", "B cell", "NK, cell", "μ-glia"], n)
    infinite = np.where(holes, np.nan, reals).astype(np.float32)
    infinite[:2] = [np.inf, -np.inf]

    def category(values: object, **options: object) -> pd.Categorical:
        return pd.Categorical(values, **options)

    return {
        "bool": reals > 0,
        "bool_nullable": pd.array(reals > 0, dtype="boolean"),
        "bool_all_true": np.ones(n, bool),
        "bool_all_false": np.zeros(n, bool),
        **{dtype: whole.astype(dtype) for dtype in ("int8", "int16", "int32", "int64")},
        **{dtype: np.abs(whole).astype(dtype) for dtype in ("uint8", "uint16", "uint32", "uint64")},
        "int32_ends": np.where(holes, np.iinfo(np.int32).min, np.iinfo(np.int32).max).astype(np.int64),
        **{dtype: reals.astype(dtype) for dtype in ("float16", "float32", "float64")},
        "float32_nan": np.where(holes, np.nan, reals).astype(np.float32),
        "float32_inf": infinite,
        "float64_nan": np.where(holes, np.nan, reals * 1e30),
        "constant": np.full(n, 7, np.int32),
        "category_text": category(labels),
        "category_ordered": category(labels, categories=["μ-glia", "B cell", "T cell", "NK, cell"], ordered=True),
        "category_unused": category(labels, categories=["never", *sorted(set(labels))]),
        "category_one": category(["only"] * n),
        "category_missing": category(np.where(holes, None, labels)),
        "category_many": category([f"label {i}" for i in random.integers(0, 200, n)]),
        "category_int": category(np.abs(whole) % 7),
        "category_int_missing": category(np.where(holes, np.nan, 0), categories=[0]).add_categories([5]),
        "category_float": category(np.round(reals, 1)),
        "category_float_missing": category(np.where(holes, np.nan, np.round(reals))),
        "category_bool": category(reals > 0.5),
        "category_unique": category([f"donor {i}" for i in range(n)]),
        "text_repeated": labels.astype(object),
        "text_unique": [f"cell number {i}" for i in range(n)],
        "odd name, with: every/thing & %25 é": category(labels),
        "triple": category(labels),
        "byte triple": category(labels),
    }


def embeddings(random: np.random.Generator) -> dict[str, np.ndarray]:
    """Embeddings of several dtypes, and two that neither server offers."""
    holes = random.normal(size=(N_OBS, 2))
    holes[::5] = np.nan
    infinite = random.normal(size=(N_OBS, 2))
    infinite[0, 0] = np.inf
    return {
        "X_umap": (random.normal(size=(N_OBS, 2)) * [3, 1]).astype(np.float32),
        "X_pca": random.normal(size=(N_OBS, 9)),
        "X_with_holes": holes,
        "X_whole": random.integers(-50, 50, (N_OBS, 3)),
        "X_infinite": infinite,
        "not_prefixed": random.normal(size=(N_OBS, 2)),
    }


def expression(random: np.random.Generator) -> np.ndarray:
    """Skewed values, most of them 0, with a few genes that are high in the first 60 cells."""
    X = random.gamma(0.4, 1.5, (N_OBS, N_VAR)).astype(np.float32)
    X[random.random(X.shape) < 0.6] = 0
    X[:60, 20:26] += 3
    return X


def dtypes() -> anndata.AnnData:
    """Every dtype of a column, in obs and var; X is CSR."""
    random = np.random.default_rng(20240229)
    X = expression(random)
    genes = ODD_GENES + [f"GENE{i}" for i in range(N_VAR - len(ODD_GENES))]
    cells = ["cell,0", "cell é1", "cell%202", *(f"cell-{i}" for i in range(3, N_OBS))]
    var = {
        "n_cells": (X > 0).sum(0),
        "mean": X.mean(0, dtype=np.float64),
        "flag": X.mean(0) > 0.2,
        "kind": pd.Categorical(np.where(np.arange(N_VAR) % 2, "odd", "even")),
        "long name": [f"long name of {gene}" for gene in genes],
    }
    data = anndata.AnnData(
        X=sparse.csr_matrix(X), obs=pd.DataFrame(obs_columns(random), index=cells), var=pd.DataFrame(var, index=genes)
    )
    data.obsm.update(embeddings(random))
    data.uns["category_text_colors"] = np.array(["red", "#00FF7f", "RebeccaPurple", "#123456"])
    data.uns["category_bool_colors"] = np.array(["#000000", "#ffffff"])
    data.uns["no such column_colors"] = np.array(["red"])
    return data


def colors() -> anndata.AnnData:
    """Colours as triples and one that nobody can read: the published server then refuses all of them."""
    data = dtypes()
    data.uns["triple_colors"] = np.linspace(0, 1, 12).reshape(4, 3)
    data.uns["byte triple_colors"] = np.arange(12).reshape(4, 3) * 20
    data.uns["category_ordered_colors"] = np.array(["red", "no colour at all", "blue", "green"])
    return data


def flags() -> anndata.AnnData:
    """Colours of a flag: the published server then answers 500."""
    data = dense()
    data.obs["flag"] = np.arange(N_OBS) % 3 == 0
    data.uns["flag_colors"] = np.array(["#000080", "#ffff00"])
    return data


def small(X: object, random: np.random.Generator) -> anndata.AnnData:
    """One category and one embedding around the matrix `X`."""
    n_obs, n_var = X.shape  # type: ignore[attr-defined]
    obs = pd.DataFrame(
        {"group": pd.Categorical(random.choice(["a", "b", "c"], n_obs))}, index=np.arange(n_obs).astype(str)
    )
    data = anndata.AnnData(X=X, obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(n_var)]))
    data.obsm["X_umap"] = random.normal(size=(n_obs, 2))
    return data


def counts() -> anndata.AnnData:
    """Whole counts over a wide range, as float32 CSC: differential expression takes their logarithm."""
    random = np.random.default_rng(3)
    X = random.negative_binomial(0.5, 0.02, (N_OBS, N_VAR)).astype(np.float32)
    X[:100, :10] *= 4
    return small(sparse.csc_matrix(X), random)


def whole() -> anndata.AnnData:
    """Whole numbers of a small range, stored as int64 CSR."""
    random = np.random.default_rng(5)
    return small(sparse.csr_matrix(random.poisson(1.0, (N_OBS, N_VAR)).astype(np.int64)), random)


def wide() -> anndata.AnnData:
    """A column of whole numbers beyond 32 bits, for which the published server refuses the whole file."""
    data = dense()
    data.obs["barcode"] = np.arange(N_OBS) + 2**40
    data.obs["reads"] = np.arange(N_OBS) // 2 * 2**33
    return data


def dense() -> anndata.AnnData:
    """A dense float64 matrix with negative values."""
    random = np.random.default_rng(4)
    X = random.normal(size=(N_OBS, N_VAR))
    X[:100, :10] += 1
    return small(X, random)


def unscaled(real: str) -> anndata.AnnData:
    """The real file with the log-normalised expression of its raw in place of the z-scores in X."""
    data = anndata.read_h5ad(real)
    data.X = data.raw[:, data.var_names].X.toarray()
    return data


def main(folder: str, real: str) -> None:
    """Write one file for each kind into `folder`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in (dtypes, colors, flags, counts, dense, whole, wide):
            kind().write_h5ad(Path(folder) / f"{kind.__name__}.h5ad", convert_strings_to_categoricals=False)
        unscaled(real).write_h5ad(Path(folder) / "pbmc68k.h5ad")


if __name__ == "__main__":
    main(*sys.argv[1:])
