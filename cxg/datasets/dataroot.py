"""Where a dataset's name leads: the only place that says so.

A name that would lead anywhere outside the dataroot is not found. When the dataroot itself is away, be it
renamed, not mounted or silent, no name is missing: that is told apart, and all is well when it returns.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from cxg.errors import DatasetNotFound, StorageUnavailable
from cxg.storage.beside import ENDINGS
from cxg.storage.faults import is_storage_fault
from cxg.storage.listing import is_s3
from cxg.storage.storage import Storage
from cxg.timeouts.calls import timed_calls

RESERVED_NAMES = frozenset({"static", "health", "api"})
_MARKS = frozenset({"obs", "__tiledb_group.tdb"})
_NAME_LIMIT = 255
_NOT_HERE = "There is no dataset of that name here."
_ROOT_AWAY = "The dataroot cannot be reached now; try again soon."
_NOT_MOUNTED = "The dataroot is another folder than before and holds no dataset; is its file system mounted?"


class Dataroot:
    """The one place datasets are served from: resolves names, strictly inside itself."""

    def __init__(self, storage: Storage, uri: str) -> None:
        self.storage = storage
        self.uri = uri.rstrip("/") or "/"
        # Device and inode of the folder in which datasets were last seen.
        self._seen: tuple[int, int] | None = None

    def dataset_uri(self, name: str) -> str:
        """URI of the dataset called `name`; on a file system it exists.

        Raises
        ------
        DatasetNotFound
            The name is not that of a folder directly inside the dataroot.
        StorageUnavailable
            The dataroot is not there, or does not answer.
        """
        if not is_dataset_name(name):
            raise DatasetNotFound(_NOT_HERE)
        if is_s3(self.uri):
            return f"{self.uri}/{name}"
        return timed_calls.call(f"{self.uri}/{name}", partial(self._folder, name), opens=True)

    def _folder(self, name: str) -> str:
        try:
            root = Path(self.uri).resolve()
            target = (root / name).resolve(strict=True)
            is_folder = target.is_dir()
        except (OSError, ValueError, RuntimeError) as error:
            self._check_here(error)
            raise DatasetNotFound(_NOT_HERE) from None
        # Whole components are compared: a link that leads out of the dataroot, or to a sibling
        # whose name merely starts alike, is not a dataset.
        if (target.parent != root and root not in target.parents) or not is_folder:
            raise DatasetNotFound(_NOT_HERE)
        self._remember()
        return str(target)

    def names(self) -> tuple[str, ...]:
        """Names of the datasets now in the dataroot, sorted without regard to case.

        A folder counts when it is called ``*.cxg``, holds an `obs` array or is marked as a TileDB group.

        Raises
        ------
        StorageUnavailable
            The dataroot cannot be listed.
        """
        return timed_calls.call(self.uri, self._names)

    def check(self) -> None:
        """List the dataroot once.

        Raises
        ------
        StorageUnavailable
            It cannot be listed.
        """
        timed_calls.call(self.uri, self._check)

    def _check(self) -> None:
        self.storage.children(self.uri)
        if not is_s3(self.uri) and self._seen is not None and self._identity() != self._seen:
            self._names()

    def _names(self) -> tuple[str, ...]:
        names = self._list()
        if names:
            self._remember()
        elif not is_s3(self.uri):
            self._check_same()
        return names

    def _list(self) -> tuple[str, ...]:
        found = (name for name in self.storage.children(self.uri) if is_dataset_name(name))
        return tuple(sorted((name for name in found if self._looks_like_cxg(name)), key=str.casefold))

    def _check_here(self, error: Exception) -> None:
        """Raise StorageUnavailable if a name was not found because the dataroot is away."""
        if is_storage_fault(error):
            raise StorageUnavailable(_ROOT_AWAY) from error
        try:
            # With the dot, which a Path would take away: whether it is a folder that may be entered.
            os.stat(f"{self.uri}/.")  # noqa: PTH116
        except OSError as away:
            raise StorageUnavailable(_ROOT_AWAY) from away
        self._check_same()

    def _check_same(self) -> None:
        """Raise StorageUnavailable if another folder, in which there is no dataset, is in the place of the dataroot.

        A mount point without its file system is such a folder.
        """
        if self._seen is not None and self._identity() != self._seen and not self._list():
            raise StorageUnavailable(_NOT_MOUNTED)

    def _identity(self) -> tuple[int, int]:
        try:
            status = Path(self.uri).stat()
        except OSError as error:
            raise StorageUnavailable(_ROOT_AWAY) from error
        return status.st_dev, status.st_ino

    def _remember(self) -> None:
        if not is_s3(self.uri):
            self._seen = self._identity()

    def _looks_like_cxg(self, name: str) -> bool:
        if name.endswith(".cxg"):
            return True
        if is_s3(self.uri):
            # A listing does not tell objects from folders, and one more for each description would cost requests.
            if name.lower().endswith(ENDINGS):
                return False
            return not _MARKS.isdisjoint(self.storage.children(f"{self.uri}/{name}"))
        # No error where a folder may not be entered.
        return any(os.path.exists(f"{self.uri}/{name}/{mark}") for mark in _MARKS)  # noqa: PTH110


class SingleRoot:
    """A root that holds one dataset, served under the empty name."""

    def __init__(self, storage: Storage, uri: str) -> None:
        self.storage = storage
        self.uri = uri.rstrip("/")
        # Whether anything was in its folder before.
        self._seen = False

    def dataset_uri(self, name: str) -> str:
        """URI of the one dataset.

        Raises
        ------
        DatasetNotFound
            Any name but the empty one was asked for.
        StorageUnavailable
            It is not there now, or does not answer.
        """
        if name:
            raise DatasetNotFound(_NOT_HERE)
        if not is_s3(self.uri):
            # Empty from the start it is damaged, as whoever opens it says.
            if self._seen:
                self.check()
            self._seen = bool(self.storage.children(self.uri))
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
        if not self.storage.children(self.uri) and not is_s3(self.uri):
            raise StorageUnavailable("The folder of the dataset is empty; is its file system mounted?")


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
