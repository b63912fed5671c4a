"""Small h5ad files of every kind, written with h5py directly, so that old and odd encodings can be made too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tiledb
from scipy import sparse

TEXT = h5py.string_dtype("utf-8")


def mark(item: Any, kind: str, version: str = "0.2.0") -> Any:
    item.attrs["encoding-type"], item.attrs["encoding-version"] = kind, version
    return item


def write_array(group: Any, name: str, values: Any, **options: Any) -> Any:
    values = np.asarray(values)
    if values.dtype.kind in "UO":
        return mark(group.create_dataset(name, data=values.astype(object), dtype=TEXT, **options), "string-array")
    return mark(group.create_dataset(name, data=values, **options), "array")


def write_categorical(group: Any, name: str, codes: Any, labels: Any, ordered: bool = False) -> Any:
    item = mark(group.create_group(name), "categorical")
    item.attrs["ordered"] = ordered
    write_array(item, "codes", np.asarray(codes, dtype=np.int16))
    write_array(item, "categories", labels)
    return item


def write_nullable(group: Any, name: str, kind: str, values: Any, mask: Any) -> Any:
    item = mark(group.create_group(name), f"nullable-{kind}", "0.1.0")
    write_array(item, "values", values)
    write_array(item, "mask", mask)
    return item


def write_frame(root: Any, key: str, index: Any, columns: dict[str, Any] | None = None) -> Any:
    """Columns are arrays, or functions called with (group, name) that write one."""
    columns = columns or {}
    group = mark(root.create_group(key), "dataframe")
    group.attrs["_index"] = "_index"
    group.attrs["column-order"] = np.array(list(columns), dtype=object) if columns else np.empty(0, dtype="S1")
    write_array(group, "_index", index)
    for name, values in columns.items():
        if callable(values):
            values(group, name)
        else:
            write_array(group, name, values)
    return group


def write_sparse(root: Any, key: str, matrix: Any) -> Any:
    """Write a scipy CSR or CSC matrix exactly as it is, duplicates, zeros and disorder included."""
    group = mark(root.create_group(key), f"{matrix.format}_matrix", "0.1.0")
    group.attrs["shape"] = np.array(matrix.shape)
    for part in ("data", "indices", "indptr"):
        group.create_dataset(part, data=getattr(matrix, part))
    return group


def write_matrix(root: Any, key: str, matrix: Any) -> Any:
    return write_sparse(root, key, matrix) if sparse.issparse(matrix) else write_array(root, key, matrix)


def make_h5ad(path: Path, matrix: Any = None, **parts: Any) -> Path:
    """Write an h5ad.

    Parts: `obs`, `var` (columns), `obs_names`, `var_names`, `obsm`, `uns`, `layers` (name to array),
    `raw` (matrix), `raw_names`. A default has 6 cells, 4 genes and the embedding X_umap.
    """
    matrix = default_matrix() if matrix is None else matrix
    n_obs, n_var = matrix.shape
    with h5py.File(path, "w") as root:
        mark(root, "anndata", "0.1.0")
        write_matrix(root, "X", matrix)
        write_frame(root, "obs", parts.get("obs_names", [f"cell{i}" for i in range(n_obs)]), parts.get("obs"))
        write_frame(root, "var", parts.get("var_names", [f"gene{i}" for i in range(n_var)]), parts.get("var"))
        for key, default in (
            ("obsm", {"X_umap": np.arange(2.0 * n_obs).reshape(n_obs, 2)}),
            ("uns", {}),
            ("layers", {}),
        ):
            group = mark(root.create_group(key), "dict", "0.1.0")
            for name, values in parts.get(key, default).items():
                if callable(values):
                    values(group, name)
                elif isinstance(values, str):
                    mark(group.create_dataset(name, data=values, dtype=TEXT), "string")
                else:
                    write_matrix(group, name, values)
        if "raw" in parts:
            raw = root.create_group("raw")
            write_matrix(raw, "X", parts["raw"])
            write_frame(raw, "var", parts.get("raw_names", [f"raw{i}" for i in range(parts["raw"].shape[1])]))
    return path


def listed(folder: Path) -> list[str]:
    """Names of everything in a folder, hidden things included, sorted."""
    return sorted(item.name for item in folder.iterdir())


def default_matrix() -> np.ndarray:
    return np.array(
        [[0, 1.5, 0, 2], [3, 0, 0, 0], [0, 0, 0, 0], [0.5, 0, 0, 1], [0, 2, 0, 0], [1, 1, 0, 4]], dtype=np.float32
    )


def read_array(root: Path, name: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All attributes and metadata of a dense array."""
    with tiledb.open(str(root / name)) as array:
        values = array[:]
        return (values if isinstance(values, dict) else {"": values}), dict(array.meta)


def read_matrices(root: Path, shape: tuple[int, int]) -> list[np.ndarray]:
    """X as each of the arrays that hold it says, (n_obs, n_var) float32; entries must be unique and not zero."""
    found = []
    for name in ("Xr", "Xc"):
        if (root / name).is_dir():
            with tiledb.open(str(root / name)) as array:
                entries = array.query(order="U")[:]
            dense = np.zeros(shape, np.float32)
            key = entries["obs"].astype(np.int64) * shape[1] + entries["var"]
            assert np.unique(key).size == key.size
            assert np.count_nonzero(entries[""]) == key.size
            dense[entries["obs"], entries["var"]] = entries[""]
            found.append(dense)
    if (root / "X").is_dir():
        with tiledb.open(str(root / "X")) as array:
            found.append(array[:])
    return found
