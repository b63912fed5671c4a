"""Builders of tiny CXGs of every kind found in the wild; no binary fixture is kept.

`build` writes one and returns the truth to compare with. Nothing here uses the package under test:
the arrays are made with TileDB directly, as the various writers of CXGs made them.
"""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tiledb
from numpy.typing import NDArray

from tests.cxg_columns import ODD_COLUMNS, ODD_GENES, Kind, Stored, TruthColumn, obs_columns, var_columns

__all__ = ["ALL_KINDS", "KINDS", "ODD_COLUMNS", "ODD_GENES", "PICKLE", "Kind", "Truth", "TruthColumn", "build"]

Array = NDArray[Any]

# Datasets written by this process, by their options; `build` copies them. The folder goes with the process.
_store = tempfile.TemporaryDirectory(prefix="cxgs-")
_written: dict[str, Truth] = {}
_MOST_COPIED = 100_000  # values

_KINDS = {
    "0.0-dense": Kind(None, "dense", coded=False, hints="few"),
    "0.1-dense": Kind("0.1", "dense", coded=False, hints="more"),
    "0.1-codes": Kind("0.1", "dense", coded=True, hints="all"),
    "0.1-Xr/Xc": Kind("0.1", "Xr/Xc", coded=True, hints="all"),
    "0.2.0-dense": Kind("0.2.0", "dense", coded=False, hints="all"),
    "0.2.0-sparse": Kind("0.2.0", "sparse", coded=False, hints="all"),
    "0.2.0-shift": Kind("0.2.0", "shift", coded=False, hints="all"),
    "0.3.0-dense": Kind("0.3.0", "dense", coded=True, hints="all"),
    "0.3.0-sparse": Kind("0.3.0", "sparse", coded=True, hints="all"),
    "Xr/Xc": Kind("0.3.0", "Xr/Xc", coded=True, hints="all"),
}
ALL_KINDS = tuple(_KINDS)
"""Values of `kind`, for parametrisation; `KINDS` below adds odd and damaged files."""


@dataclass
class Truth:
    """What reading a CXG must give; see `build`."""

    path: Path
    kind: str
    version: str
    x_kind: str
    X: NDArray[np.float32]
    obs: dict[str, TruthColumn] = field(default_factory=dict)
    var: dict[str, TruthColumn] = field(default_factory=dict)
    obs_index: str = "name_0"
    var_index: str = "name_0"
    embeddings: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    default_embedding: str | None = None
    title: str | None = None
    about: str | None = None
    colors: dict[str, dict[str, str]] = field(default_factory=dict)
    genesets: list[dict[str, Any]] = field(default_factory=list)

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return int(self.X.shape[0])

    @property
    def n_var(self) -> int:
        """Number of genes."""
        return int(self.X.shape[1])

    @property
    def genes(self) -> list[str]:
        """Values of the var index."""
        return self.var[self.var_index].values


def build(
    path: Path | str,
    kind: str = "Xr/Xc",
    n_obs: int = 30,
    n_var: int = 40,
    seed: int = 0,
    *,
    nan: bool = False,
    counts: bool = False,
    x_written: bool = True,
    generations: int = 1,
    totals: bool = False,
    embeddings: tuple[str, ...] = ("umap", "pca"),
    default_embedding: str | None = "X_umap",
    colors: Mapping[str, Mapping[str, str]] | None = None,
    genesets: bool = False,
    feature_name: bool = False,
    title: str | None = "A title",
    uns: str | bytes | None = None,
    missing_commit: str | None = None,
    foreign: bool = False,
) -> Truth:
    """Write a CXG.

    Parameters
    ----------
    path : path
        Folder to make; what is there already is replaced.
    kind : str
        One of `ALL_KINDS`.
    n_obs, n_var : int
        Cells and genes; genes are called gene0, gene1, ..., the last ones oddly if there are over 20.
    seed : int
        Every value depends on it.
    nan : bool
        Put NaN into X.
    counts : bool
        X holds large whole numbers rather than logarithms.
    x_written : bool
        False leaves `Xr`, `Xc` or `X` as schemas without any data, so that X is all zero.
    generations : int
        Times a sparse X is written, each time with other values; the last is the truth.
    totals : bool
        Store sums over all cells, as our converter does.
    embeddings : tuple of str
        ``pca`` is float64 with 5 dimensions, ``spatial`` int64, any other float32 with a NaN row.
    default_embedding : str or None
        As the portal's metadata name it; may name one that is absent.
    colors : mapping or None
        Colour tables; None gives a complete one for the column ``label``.
    genesets : bool
        Keep two gene sets in the metadata of obs.
    feature_name : bool
        Gene names stand in that column, and other identifiers in ``name_0``.
    title : str or None
        In the file's properties.
    uns : str, bytes or None
        Value of ``spatial`` in `uns`; bytes should be a pickle, as old files have.
    missing_commit : str or None
        Array that loses its commit file, which makes its data invisible.
    foreign : bool
        Add files that are no part of a CXG: user annotations, a nested CXG, a stray text.

    Returns
    -------
    Truth
    """
    options = {name: value for name, value in locals().items() if name != "path"}
    root = Path(path)
    if root.exists():
        shutil.rmtree(root)
    root.parent.mkdir(parents=True, exist_ok=True)
    if n_obs * n_var > _MOST_COPIED:
        return _write(root, **options)
    # Writing takes a tenth of a second, copying a hundredth, and most tests ask for what others had before.
    written = _written.get(repr(options))
    if written is None:
        written = _written[repr(options)] = _write(Path(tempfile.mkdtemp(dir=_store.name)) / "x.cxg", **options)
    shutil.copytree(written.path, root, copy_function=shutil.copyfile)
    return replace(copy.deepcopy(written), path=root)


def _write(
    root: Path,
    kind: str,
    n_obs: int,
    n_var: int,
    seed: int,
    *,
    nan: bool,
    counts: bool,
    x_written: bool,
    generations: int,
    totals: bool,
    embeddings: tuple[str, ...],
    default_embedding: str | None,
    colors: Mapping[str, Mapping[str, str]] | None,
    genesets: bool,
    feature_name: bool,
    title: str | None,
    uns: str | bytes | None,
    missing_commit: str | None,
    foreign: bool,
) -> Truth:
    layout = _KINDS[kind]
    rng = np.random.default_rng(seed)
    x = _expression(rng, n_obs, n_var, nan=nan, counts=counts)
    truth = Truth(root, kind, layout.version or "0.0", {"shift": "sparse"}.get(layout.x, layout.x), x)
    tiledb.group_create(str(root))
    obs_meta = _write_genesets_meta(truth) if genesets else {}
    _write_annotations(root / "obs", obs_columns(rng, n_obs, layout), "name_0", layout, truth.obs, obs_meta)
    truth.var_index = "feature_name" if feature_name else "name_0"
    columns = var_columns(n_var, layout, feature_name=feature_name)
    _write_annotations(root / "var", columns, truth.var_index, layout, truth.var, {})
    _write_embeddings(rng, truth, embeddings)
    _write_x(rng, truth, layout.x, written=x_written, generations=generations)
    if totals:
        _write_totals(truth, log1p=counts)
    if layout.version is not None:
        _write_group_metadata(truth, layout.version, title, default_embedding, colors)
    if uns is not None or foreign:
        _write_metadata_array(root / "uns", {"spatial": "{}" if uns is None else uns})
    if foreign:
        _write_foreign(root, n_obs)
    if missing_commit is not None:
        for file in (root / missing_commit / "__commits").glob("*.wrt"):
            file.unlink()
    return truth


def _expression(rng: np.random.Generator, n_obs: int, n_var: int, *, nan: bool, counts: bool) -> NDArray[np.float32]:
    raw = rng.poisson(rng.gamma(0.5, 2.0, n_var), (n_obs, n_var)) * rng.integers(1, 30 if counts else 3, (n_obs, n_var))
    x: NDArray[np.float32] = (raw if counts else np.log1p(raw)).astype(np.float32)
    if nan:
        x[rng.random(x.shape) < 0.05] = np.nan
        x[0, 0] = np.nan
    return x


# Annotations


def _write_annotations(
    uri: Path,
    columns: list[Stored],
    index: str,
    layout: Kind,
    truth: dict[str, TruthColumn],
    meta: dict[str, str],
) -> None:
    hinted = {"few": ("string", "categorical"), "more": ("string", "categorical", "boolean"), "all": None}[layout.hints]
    schema: dict[str, Any] = {
        column.name: column.hint for column in columns if hinted is None or column.hint["type"] in hinted
    }
    schema["index"] = index
    write_dense(uri, {column.name: column.array for column in columns})
    write_meta(uri, {"cxg_schema": json.dumps(schema), **meta})
    truth.update({column.name: column.truth for column in columns})


def _write_genesets_meta(truth: Truth) -> dict[str, str]:
    for name, genes in (("second set", ["gene1", "gene0"]), ("empty set", [])):
        symbols = [{"gene_symbol": gene, "gene_description": ""} for gene in genes]
        truth.genesets.append({"geneset_name": name, "geneset_description": "about it", "genes": symbols})
    return {"genesets": json.dumps({item["geneset_name"]: item for item in truth.genesets})}


# Arrays


def write_dense(uri: Path, columns: dict[str, Array]) -> None:
    """Write a dense array: 1-D with one attribute for each column, or 2-D with the attribute ''."""
    first = next(iter(columns.values()))
    names = ("__dim_0",) if first.ndim == 1 else ("obs", "var")
    dims = [
        tiledb.Dim(name=name, domain=(0, size - 1), tile=min(size, 1000), dtype=np.uint32)
        for name, size in zip(names, first.shape, strict=True)
    ]
    attrs = [tiledb.Attr(name=name, dtype="U" if a.dtype.kind == "U" else a.dtype) for name, a in columns.items()]
    tiledb.Array.create(str(uri), tiledb.ArraySchema(domain=tiledb.Domain(*dims), attrs=attrs))
    with tiledb.open(str(uri), "w") as array:
        array[:] = columns if list(columns) != [""] else first


def write_meta(uri: Path, meta: Mapping[str, str | bytes]) -> None:
    with tiledb.open(str(uri), "w") as array:
        for key, value in meta.items():
            array.meta[key] = value


def _write_metadata_array(uri: Path, meta: Mapping[str, str | bytes]) -> None:
    tiledb.from_numpy(str(uri), np.zeros(1)).close()
    write_meta(uri, meta)


def _write_x(rng: np.random.Generator, truth: Truth, form: str, *, written: bool, generations: int) -> None:
    root = truth.path
    if form == "shift":
        shift = rng.normal(0, 0.5, truth.n_var)
        write_dense(root / "X_col_shift", {"": shift})
        stored, truth.X = truth.X, truth.X + shift.astype(np.float32)
    else:
        stored = truth.X
    if not written:
        truth.X = np.zeros_like(truth.X)
    names = {"Xr/Xc": ("Xr", "Xc"), "dense": ("X",)}.get(form, ("X",))
    for name in names:
        _create_x(root / name, name, stored.shape, sparse=form != "dense")
        for generation in range(generations if written else 0):
            # Earlier generations differ, so that reading them as well gives a wrong answer.
            values = stored * np.float32(generations - generation)
            fill_x(root / name, name, values, sparse=form != "dense", timestamp=1000 * (generation + 1))


def _create_x(uri: Path, name: str, shape: tuple[int, ...], *, sparse: bool) -> None:
    dims = [
        tiledb.Dim(name=axis, domain=(0, size - 1), tile=min(size, 256), dtype=np.uint32)
        for axis, size in zip(("obs", "var"), shape, strict=True)
        if name == "X" or {"Xr": "obs", "Xc": "var"}[name] == axis
    ]
    attrs = [tiledb.Attr(name="", dtype=np.float32)]
    if name != "X":
        attrs.append(tiledb.Attr(name="var" if name == "Xr" else "obs", dtype=np.uint32))
    schema = tiledb.ArraySchema(domain=tiledb.Domain(*dims), attrs=attrs, sparse=sparse, allows_duplicates=sparse)
    tiledb.Array.create(str(uri), schema)


def fill_x(uri: Path, name: str, values: NDArray[np.float32], *, sparse: bool, timestamp: int) -> None:
    with tiledb.open(str(uri), "w", timestamp=timestamp) as array:
        if not sparse:
            array[:] = values
            return
        obs, var = (axis.astype(np.uint32) for axis in np.nonzero(values))
        found = values[obs, var]
        if name == "Xr":
            array[obs] = {"": found, "var": var}
        elif name == "Xc":
            array[var] = {"": found, "obs": obs}
        else:
            array[obs, var] = found


def _write_totals(truth: Truth, *, log1p: bool) -> None:
    values = np.log1p(truth.X.astype(np.float64)) if log1p else truth.X.astype(np.float64)
    write_dense(truth.path / "X_totals", {"sum": values.sum(axis=0), "sum_squares": (values**2).sum(axis=0)})
    finite = truth.X[np.isfinite(truth.X)]
    with tiledb.open(str(truth.path / "X_totals"), "w") as array:
        array.meta["transform"] = "log1p" if log1p else "none"
        array.meta["min"], array.meta["max"] = float(finite.min()), float(finite.max())


def _write_embeddings(rng: np.random.Generator, truth: Truth, names: tuple[str, ...]) -> None:
    tiledb.group_create(str(truth.path / "emb"))
    for name in names:
        values: Array = rng.normal(0, 10, (truth.n_obs, 5 if name == "pca" else 2))
        if name == "spatial":
            values = (values * 1000).astype(np.int64)
        elif name != "pca":
            values = values.astype(np.float32)
            values[truth.n_obs // 3] = np.nan
        write_dense(truth.path / "emb" / name, {"": values})
        truth.embeddings[name] = values[:, :2].astype(np.float32)


# Metadata and strangers


def _write_group_metadata(
    truth: Truth,
    version: str,
    title: str | None,
    default_embedding: str | None,
    colors: Mapping[str, Mapping[str, str]] | None,
) -> None:
    if colors is None:
        labels = truth.obs["label"].categories or []
        colors = {"label": {label: f"#{40 * i:02x}80c0" for i, label in enumerate(labels)}}
    truth.colors = {column: dict(table) for column, table in colors.items()}
    truth.title, truth.about = title, "https://example.org/about"
    meta = {
        "cxg_version": version,
        "cxg_properties": json.dumps({"title": title, "about": truth.about}),
        "cxg_category_colors": json.dumps(truth.colors),
    }
    if version >= "0.2" and default_embedding is not None:
        bare = default_embedding.removeprefix("X_")
        truth.default_embedding = bare if bare in truth.embeddings else None
        truth.title = "A corpora title"
        corpora = {"schema_version": "3.0.0", "title": truth.title, "default_embedding": default_embedding}
        meta["corpora"] = json.dumps(corpora)
    _write_metadata_array(truth.path / "cxg_group_metadata", meta)


def _write_foreign(root: Path, n_obs: int) -> None:
    """Add what other software leaves in a CXG's folder and a reader must pass over."""
    user = root / "some-user"
    tiledb.group_create(str(user))
    column = user / "My%20column"
    dim = tiledb.Dim(name="obs_idx", domain=(0, n_obs - 1), tile=n_obs, dtype=np.int64)
    attr = tiledb.Attr(name="value", dtype=np.int32)
    tiledb.Array.create(str(column), tiledb.ArraySchema(domain=tiledb.Domain(dim), attrs=[attr]))
    with tiledb.open(str(column), "w") as array:
        array[:] = np.zeros(n_obs, np.int32)
        array.meta["categories"] = json.dumps(["a"])
    (user / "genesets.json").write_text("[]")
    (root / "notes.txt").write_text("not part of the dataset")
    build(root / "inner(fix).cxg", n_obs=3, n_var=2)


PICKLE = pickle.dumps({"library": {"image": list(range(4))}})
"""What `uns` of early spatial files holds; a reader must leave it alone."""

KINDS: dict[str, Callable[[Path], Truth]] = {
    **{kind.replace("/", "-"): partial(build, kind=kind) for kind in ALL_KINDS},
    "nan": partial(build, nan=True),
    "nan-sparse": partial(build, kind="0.2.0-sparse", nan=True),
    "counts": partial(build, counts=True),
    "totals": partial(build, totals=True),
    "feature-name": partial(build, feature_name=True),
    "two-genes": partial(build, n_var=2),
    "one-cell": partial(build, n_obs=1),
    "spatial": partial(build, embeddings=("spatial", "umap"), default_embedding="X_absent", uns='{"is_single": true}'),
    "pickled-uns": partial(build, uns=PICKLE),
    "genesets": partial(build, genesets=True),
    "no-embedding": partial(build, embeddings=()),
    "no-title": partial(build, title=None, default_embedding=None),
    "never-written": partial(build, x_written=False),
    "two-generations": partial(build, generations=2),
    "two-generations-sparse": partial(build, kind="0.3.0-sparse", generations=2),
    "obs-without-commit": partial(build, missing_commit="obs"),
    "Xr-without-commit": partial(build, missing_commit="Xr"),
    "umap-without-commit": partial(build, missing_commit="emb/umap"),
    "foreign-files": partial(build, foreign=True),
}
"""Every kind, trait and damage by a name that can be a file name: call one with the folder to make."""
