"""The files beside datasets: listed, and read up to a bound."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import tiledb

from cxg.errors import StorageUnavailable
from cxg.storage.faults import is_storage_fault
from cxg.storage.listing import is_s3
from cxg.storage.storage import Storage
from cxg.timeouts.calls import timed_calls

T = TypeVar("T")

ENDINGS = (".yaml", ".yml", ".csv", ".gmt")
"""Of the files that may describe a dataset: descriptions, those under a wrong name, and gene sets."""

Stamp = tuple[int, int, int]
"""Size in bytes, time of the last change of the content, and of any change, both in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder or an S3 prefix that holds datasets, and the files beside them.

    Parameters
    ----------
    storage : Storage
    uri : str
        Without a final slash.
    """

    storage: Storage
    uri: str

    def list_files(self) -> dict[str, Stamp | None]:
        """List the files that may describe datasets, by name; on S3, where a listing tells no times, without stamps.

        Raises
        ------
        StorageUnavailable
            The store did not answer.
        """
        if is_s3(self.uri):
            names = self.storage.children(self.uri)
            return {name: None for name in names if name.lower().endswith(ENDINGS)}
        return self._call(self._list_local)

    def find(self, name: str) -> int | None:
        """Return the size of a file in bytes; None when there is none.

        Raises
        ------
        StorageUnavailable
            The store did not answer.
        """
        return self._call(partial(self._size, name))

    def read(self, name: str, most_bytes: int) -> bytes | None:
        """Read a file; of a longer one only a byte more than `most_bytes`. None when there is none.

        Raises
        ------
        StorageUnavailable
            The store did not answer.
        OSError
            The file may not be read.
        """
        return self._call(partial(self._read, name, most_bytes))

    def _call(self, function: Callable[[], T]) -> T:
        try:
            return timed_calls.call(self.uri, function)
        except (OSError, tiledb.TileDBError) as error:
            if is_s3(self.uri) or is_storage_fault(error):
                raise StorageUnavailable("The storage did not answer while reading a description.") from error
            raise

    def _list_local(self) -> dict[str, Stamp | None]:
        found: dict[str, Stamp | None] = {}
        with os.scandir(self.uri) as items:
            for item in items:
                if item.name.lower().endswith(ENDINGS) and (stamp := _stamp(item.path)) is not None:
                    found[item.name] = stamp
        return found

    def _size(self, name: str) -> int | None:
        if is_s3(self.uri):
            return self.storage.objects.size(f"{self.uri}/{name}")
        stamp = _stamp(f"{self.uri}/{name}")
        return None if stamp is None else stamp[0]

    def _read(self, name: str, most_bytes: int) -> bytes | None:
        if is_s3(self.uri):
            return self._read_object(name, most_bytes)
        root = Path(self.uri).resolve()
        try:
            path = (root / name).resolve(strict=True)
            # As with datasets, no link leads out of the folder.
            if root not in path.parents:
                return None
            # A named pipe would never end.
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError, RuntimeError):
            return None
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            return None
        with os.fdopen(file, "rb") as opened:
            return opened.read(most_bytes + 1)

    def _read_object(self, name: str, most_bytes: int) -> bytes | None:
        uri = f"{self.uri}/{name}"
        size = self.storage.objects.size(uri)
        if size is None:
            return None
        if size > most_bytes:
            return b" " * (most_bytes + 1)
        with tempfile.TemporaryDirectory(prefix="cxg-") as folder:
            target = Path(folder) / "file"
            self.storage.objects.copy(uri, target)
            return target.read_bytes()


def _stamp(path: str) -> Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116  (a listing's own path, many times)
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns) if stat.S_ISREG(status.st_mode) else None
