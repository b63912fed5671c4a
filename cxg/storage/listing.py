"""The files in a folder or below an S3 prefix, from one recursive listing.

Everything the server needs to know about a dataset's files comes from here: which
arrays exist, whether their fragments are complete, and a fingerprint that changes when
any file does. On S3 one listing is one request for a usual CXG (up to 1,000 objects),
where asking TileDB about each array would be dozens.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

MAX_ENTRIES = 50_000
# A link that leads nowhere or round in circles, or a file that was removed since its folder was read.
_GONE = frozenset({errno.ENOENT, errno.ELOOP})
# Stands for the size of a named pipe, a socket or a device.
_ODD = -1


@dataclass(frozen=True, order=True)
class FileEntry:
    """One file: its path below the listed folder, size in bytes, and two stamps.

    The stamp is the modification time in nanoseconds on a file system and 0 on S3, where
    a TileDB file is never rewritten under the same name. `changed` is the time at which the
    file system last noted a change of any kind (ctime); no program can set it back.
    """

    path: str
    size: int
    stamp: int = 0
    changed: int = 0


@dataclass(frozen=True)
class Listing:
    """All files of one dataset, sorted by path; `truncated` when there were too many to read.

    `odd` are the paths of pipes, sockets and devices; reading one of them may never end.
    """

    entries: tuple[FileEntry, ...]
    truncated: bool = False
    odd: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """Return 32 hex digits that change when a file is added, removed or rewritten; equal copies have the same."""
        digest = hashlib.blake2b(digest_size=16)
        for entry in self.entries:
            digest.update(f"{entry.path}\0{entry.size}\0{entry.stamp}\n".encode("utf-8", "surrogateescape"))
        for path in self.odd:
            digest.update(f"{path}\0odd\n".encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def identity(self, place: str) -> str:
        """Return 32 hex digits that name this machine's copies of these files at one place; other files have others.

        Copies of a dataset may differ in values although sizes and modification times are equal.
        """
        digest = hashlib.blake2b(f"{place}\0{self.fingerprint}".encode("utf-8", "surrogateescape"), digest_size=16)
        digest.update("".join(f"\0{entry.changed}" for entry in self.entries).encode())
        return digest.hexdigest()

    @cached_property
    def paths(self) -> frozenset[str]:
        """Return every file path, for membership tests."""
        return frozenset(entry.path for entry in self.entries)

    @cached_property
    def total_bytes(self) -> int:
        """Return the size of all files together, in bytes."""
        return sum(entry.size for entry in self.entries)

    def below(self, folder: str) -> Listing:
        """Return the part of the listing below `folder`, with paths relative to it."""
        prefix = folder.rstrip("/") + "/"
        return Listing(
            tuple(replace(e, path=e.path[len(prefix) :]) for e in self.entries if e.path.startswith(prefix)),
            self.truncated,
            tuple(path[len(prefix) :] for path in self.odd if path.startswith(prefix)),
        )

    def children(self) -> tuple[str, ...]:
        """Return the names of the folders directly inside, sorted."""
        paths = (*(entry.path for entry in self.entries), *self.odd)
        return tuple(sorted({path.split("/", 1)[0] for path in paths if "/" in path}))


def is_s3(uri: str) -> bool:
    """Tell whether a URI names an S3 object store rather than a folder."""
    return uri.startswith("s3://")


def list_folder(path: str) -> Listing:
    """List a folder of a file system recursively, without following links out of it.

    Raises
    ------
    OSError
        The folder cannot be read.
    """
    return _collect(_walk(path, ""))


def from_pairs(pairs: Iterable[tuple[str, int]]) -> Listing:
    """Make a listing from `(path, size)` pairs, as an object store gives them."""
    return _collect(FileEntry(path, size) for path, size in pairs)


def _collect(entries: Iterable[FileEntry]) -> Listing:
    kept: list[FileEntry] = []
    odd: list[str] = []
    is_truncated = False
    for entry in entries:
        is_truncated = len(kept) + len(odd) == MAX_ENTRIES
        if is_truncated:
            break
        if entry.size == _ODD:
            odd.append(entry.path)
        else:
            kept.append(entry)
    return Listing(tuple(sorted(kept)), is_truncated, tuple(sorted(odd)))


def _walk(path: str, prefix: str) -> Iterator[FileEntry]:
    with os.scandir(path) as items:
        for item in items:
            try:
                if item.is_dir(follow_symlinks=False):
                    yield from _walk(item.path, f"{prefix}{item.name}/")
                else:
                    status = item.stat()
                    is_plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
                    size = status.st_size if is_plain else _ODD
                    yield FileEntry(prefix + item.name, size, status.st_mtime_ns, status.st_ctime_ns)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
