"""Where a dataset's name leads: the only place that says so.

A name that would lead anywhere outside the dataroot is not found.
"""

from __future__ import annotations

from pathlib import Path

from cxg.errors import DatasetNotFound
from cxg.listing import is_s3
from cxg.storage import Storage

RESERVED_NAMES = frozenset({"static", "health", "api"})
_MARKS = frozenset({"obs", "__tiledb_group.tdb"})
_NAME_LIMIT = 255
_NOT_HERE = "There is no dataset of that name here."


class Dataroot:
    """The one place datasets are served from: resolves names, strictly inside itself."""

    def __init__(self, storage: Storage, uri: str) -> None:
        self.storage = storage
        self.uri = uri.rstrip("/") or "/"

    def dataset_uri(self, name: str) -> str:
        """URI of the dataset called `name`; on a file system it exists.

        Raises
        ------
        DatasetNotFound
            The name is not that of a folder directly inside the dataroot.
        """
        if not is_dataset_name(name):
            raise DatasetNotFound(_NOT_HERE)
        if is_s3(self.uri):
            return f"{self.uri}/{name}"
        try:
            root = Path(self.uri).resolve()
            target = (root / name).resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            raise DatasetNotFound(_NOT_HERE) from None
        # Whole components are compared: a link that leads out of the dataroot, or to a sibling
        # whose name merely starts alike, is not a dataset.
        if (target.parent != root and root not in target.parents) or not target.is_dir():
            raise DatasetNotFound(_NOT_HERE)
        return str(target)

    def names(self) -> tuple[str, ...]:
        """Names of the datasets now in the dataroot, sorted without regard to case.

        A folder counts when it is called ``*.cxg``, holds an `obs` array or is marked as a TileDB group.

        Raises
        ------
        StorageUnavailable
            The dataroot cannot be listed.
        """
        found = (name for name in self.storage.children(self.uri) if is_dataset_name(name))
        return tuple(sorted((name for name in found if self._looks_like_cxg(name)), key=str.casefold))

    def check(self) -> None:
        """List the dataroot once.

        Raises
        ------
        StorageUnavailable
            It cannot be listed.
        """
        self.storage.children(self.uri)

    def _looks_like_cxg(self, name: str) -> bool:
        if name.endswith(".cxg"):
            return True
        if is_s3(self.uri):
            return not _MARKS.isdisjoint(self.storage.children(f"{self.uri}/{name}"))
        return any((Path(self.uri) / name / mark).exists() for mark in _MARKS)


class SingleDataset:
    """A root that holds one dataset, served under the empty name."""

    def __init__(self, storage: Storage, uri: str) -> None:
        self.storage = storage
        self.uri = uri.rstrip("/")

    def dataset_uri(self, name: str) -> str:
        """URI of the one dataset.

        Raises
        ------
        DatasetNotFound
            Any name but the empty one was asked for.
        """
        if name:
            raise DatasetNotFound(_NOT_HERE)
        return self.uri

    def names(self) -> tuple[str, ...]:
        """The one name there is."""
        return ("",)

    def check(self) -> None:
        """List the dataset once.

        Raises
        ------
        StorageUnavailable
            It cannot be listed; on a file system, also when there is nothing.
        """
        self.storage.children(self.uri)


def is_dataset_name(name: str) -> bool:
    """Tell whether `name` can be a dataset: one visible path component, not one of our own routes."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:  # a folder whose name is not UTF-8, which no URL can spell
        return False
    return (
        0 < length <= _NAME_LIMIT
        and not name.startswith(".")
        and name not in RESERVED_NAMES
        and not any(char in "/\\" or ord(char) < 32 or ord(char) == 127 for char in name)
        and "://" not in name
    )
