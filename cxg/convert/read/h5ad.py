"""An h5ad file, opened and checked: the tables, the matrix and the texts a CXG needs from it.

h5py reads the file directly. AnnData's own reader would hold whole tables and, for some
encodings, the whole matrix in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from cxg.convert.options import Options
from cxg.convert.read.column import as_str
from cxg.convert.read.filters import named_filters
from cxg.convert.read.matrix import MatrixSource, open_source
from cxg.convert.read.open_file import broken_link, open_file
from cxg.convert.read.table import Frame, open_frame
from cxg.errors import ConversionError

_CORPORA_KEYS = (
    "X_normalization",
    "default_embedding",
    "X_approximate_distribution",
    "batch_condition",
    "publication_doi",
)


class H5ad:
    """The parts of an h5ad that a conversion with these options uses; make it with `open_h5ad`."""

    def __init__(self, root: Any, options: Options) -> None:
        self.root = root
        where, item = _choose_matrix(root, options)
        self.matrix_name = where
        self.matrix: MatrixSource = open_source(item, where)
        self.obs: Frame = open_frame(root, "obs", "obs")
        self.var: Frame = open_frame(root, _raw_key(root, "var") if options.raw else "var", "var")
        if self.matrix.shape != (self.obs.n, self.var.n):
            raise ConversionError(
                f"{where} has the shape {self.matrix.shape}, but there are {self.obs.n} cells and {self.var.n} genes: "
                "the file is damaged."
            )

    @property
    def has_raw(self) -> bool:
        """Tell whether there is a second, raw matrix."""
        return self.root.get("raw/X") is not None or self.root.get("raw.X") is not None

    @property
    def layers(self) -> list[str]:
        """Return the names of the layers."""
        return _layers(self.root)

    def uns_text(self, key: str) -> str | None:
        """Read a single text in `uns`, or None."""
        item = self.root.get(f"uns/{key}")
        if isinstance(item, h5py.Dataset) and item.shape in ((), (1,)):
            value = np.asarray(item[()]).ravel()[0]
            if isinstance(value, bytes):
                return value.decode("utf-8", "replace")
            return value if isinstance(value, str) else None
        return None

    def corpora(self) -> dict[str, Any] | None:
        """Read the metadata of the data portal's schema; None for files of other origin."""
        version, title = self.uns_text("schema_version"), self.uns_text("title")
        if version is None or title is None:
            return None
        out: dict[str, Any] = {"schema_version": version, "title": title}
        for key in _CORPORA_KEYS:
            item = self.root.get(f"uns/{key}")
            if (text := self.uns_text(key)) is not None:
                out[key] = [text] if key == "batch_condition" else text
            elif isinstance(item, h5py.Dataset) and item.ndim == 1 and item.dtype.kind in "OS":
                out[key] = [
                    value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in item[:]
                ]
        return out


@contextmanager
def open_h5ad(path: Path, options: Options) -> Iterator[H5ad]:
    """Open an h5ad and check that a conversion can begin.

    Raises
    ------
    ConversionError
        It cannot be read, is another kind of file, or lacks a part; one sentence says which.
    """
    with readable(path), open_file(path) as root, named_filters(root, path):
        yield H5ad(root, options)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn what h5py raises on a damaged file into one sentence."""
    try:
        yield
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise ConversionError(f"{path} cannot be read: a part is missing or damaged ({_first_line(error)}).") from error
    except OSError as error:
        # h5py raises OSError without an errno for damaged content; one with an errno is the disk's.
        if error.errno is not None:
            raise
        raise ConversionError(f"{path} cannot be read: {_first_line(error)}.") from error


def _layers(root: Any) -> list[str]:
    layers = root.get("layers")
    return [as_str(key) for key in layers] if isinstance(layers, h5py.Group) else []


def _raw_key(root: Any, part: str) -> str:
    return f"raw/{part}" if root.get(f"raw/{part}") is not None else f"raw.{part}"


def _choose_matrix(root: Any, options: Options) -> tuple[str, Any]:
    if options.raw:
        key = _raw_key(root, "X")
        if root.get(key) is None:
            raise ConversionError("--raw: the file has no raw matrix.")
        return key, root[key]
    if options.layer is not None:
        if options.layer not in _layers(root):
            raise ConversionError(
                f"--layer: the file has no layer {options.layer!r}; it has {', '.join(_layers(root)) or 'none'}."
            )
        return f"layers/{options.layer}", root[f"layers/{options.layer}"]
    item = root.get("X")
    if (
        item is None
        or (isinstance(item, h5py.Dataset) and item.shape is None)
        or item.attrs.get("encoding-type") == "null"
    ):
        raise ConversionError(_no_x(root))
    return "X", item


def _no_x(root: Any) -> str:
    if (problem := broken_link(root, "X")) is not None:
        return f"{root.filename} {problem}."
    ways = [f"--layer {name}" for name in _layers(root)]
    if root.get(_raw_key(root, "X")) is not None:
        ways.append("--raw")
    return f"The file has no X: {'use ' + ' or '.join(ways) if ways else 'there is no expression matrix to convert'}."


def _first_line(error: BaseException) -> str:
    text = str(error.args[0] if isinstance(error, KeyError) and error.args else error).strip()
    return text.splitlines()[0].rstrip(".") if text else type(error).__name__
