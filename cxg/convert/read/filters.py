"""Compression of HDF5 datasets beside gzip and lzf: the filters that are read, and messages for the rest.

Importing `hdf5plugin` makes h5py read zstd, blosc, lz4, bitshuffle and a dozen more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  (registers its filters)

from cxg.errors import ConversionError

_PARTS = ("X", "obs", "var", "obsm", "layers", "raw", "raw.X", "raw.var", "uns")
_ABOUT_FILTERS = re.compile(r"filter|plugin", re.IGNORECASE)


@contextmanager
def named_filters(root: Any, path: Path) -> Iterator[None]:
    """Name the filter that HDF5 lacks when reading fails for it; HDF5 itself speaks of a folder for plugins.

    Raises
    ------
    ConversionError
        In place of the error of HDF5.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        found = _missing(root) if _ABOUT_FILTERS.search(str(error)) else None
        if found is None:
            raise
        where, code, name = found
        called = f" ({name})" if name else ""
        raise ConversionError(
            f"{path} cannot be read: {where} is compressed with the HDF5 filter {code}{called}, which is not installed "
            "here; write the file again where it can be read (in Python: "
            "anndata.read_h5ad(...).write_h5ad('new.h5ad', compression='gzip'))."
        ) from error


def _missing(root: Any) -> tuple[str, int, str] | None:
    """The first dataset that needs a filter HDF5 does not have, the filter's number and what the file calls it."""
    found: list[tuple[str, int, str]] = []

    def look(name: str, item: Any) -> bool | None:
        if isinstance(item, h5py.Dataset):
            filters = item.id.get_create_plist()
            for i in range(filters.get_nfilters()):
                code, _, _, text = filters.get_filter(i)
                if not h5py.h5z.filter_avail(code):
                    found.append((item.name.lstrip("/"), code, text.decode("utf-8", "replace")))
                    return True
        return None

    for part in _PARTS:
        item = root.get(part)
        if item is not None and look(part, item) is None and isinstance(item, h5py.Group):
            item.visititems(look)
        if found:
            return found[0]
    return None
