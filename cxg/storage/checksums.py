"""Copies on disk whose damage is detected: the size of each file, and a checksum of each block, are stored.

A copy is a folder of files and a manifest, which is written last. All of them are synced before the
folder gets its name. A reader compares each block with its checksum the first time, so that
opening a large copy costs no more than opening a small one.

Manifest: a line of JSON (the name of the copy, the size of each file), the checksums of all blocks as
little-endian uint32, and the checksum of all that.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from isal.isal_zlib import crc32
from numpy.typing import NDArray

# A random cell lies in one or two blocks; a million cells have some 300,000 blocks.
BLOCK_BYTES = 32 << 10
MANIFEST = "manifest"
BLOCKS_AT_A_TIME = 128
# Linux reads no more than 2 GB at once.
MOST_AT_ONCE = 1 << 30
_MOST_HEAD_BYTES = 1 << 10
_SUM = np.dtype("<u4")
# This process lacks file handles or memory; the copy is intact.
_NO_DAMAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})

IndexArray = NDArray[np.int64]
Stamp = tuple[int, ...]
"""Inode, size and times of a file; they differ for another file, and after a write."""


class CopyDamaged(Exception):
    """A copy differs from what was written; the reader uses the CXG instead."""


class SummedFile:
    """A file that is written from start to end, and the checksums of its blocks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._filled, self._sum = 0, 0
        self._sums: list[int] = []

    @property
    def size(self) -> int:
        """Return the number of bytes written so far."""
        return len(self._sums) * BLOCK_BYTES + self._filled

    def write(self, data: Any) -> int:
        """Append bytes, or the items of a contiguous array."""
        view = memoryview(data)
        if not view.nbytes:
            return 0
        view, at = view.cast("B"), 0
        self._file.write(view)
        while at < len(view):
            part = view[at : at + BLOCK_BYTES - self._filled]
            self._sum = crc32(part, self._sum)
            self._filled += len(part)
            at += len(part)
            if self._filled == BLOCK_BYTES:
                self._sums.append(self._sum)
                self._filled = self._sum = 0
        return len(view)

    def sums(self) -> NDArray[np.uint32]:
        """Return the checksums of all blocks; the last block may be short."""
        return np.array([*self._sums, self._sum] if self._filled else self._sums, _SUM)


class CopyWriter:
    """Writes one copy into an empty folder; it is a copy once `finish` was called. A full disk raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files: dict[str, tuple[int, NDArray[np.uint32]]] = {}

    @contextmanager
    def open(self, name: str) -> Iterator[SummedFile]:
        """Open a new file for writing; it is synced when closed."""
        with (self.folder / name).open("wb") as raw:
            file = SummedFile(raw)
            yield file
            raw.flush()
            os.fsync(raw.fileno())
        self._files[name] = file.size, file.sums()

    def save(self, name: str, values: NDArray[Any]) -> None:
        """Write an array as a `.npy` file."""
        with self.open(name) as file:
            np.lib.format.write_array(file, values, (1, 0), allow_pickle=False)

    def finish(self, copy: str) -> None:
        """Write the manifest of the copy that will be called `copy`."""
        head = {"copy": copy, "files": {name: size for name, (size, _) in self._files.items()}}
        data = json.dumps(head).encode() + b"\n" + b"".join(sums.tobytes() for _, sums in self._files.values())
        with (self.folder / MANIFEST).open("wb") as file:
            file.write(data + crc32(data).to_bytes(4, "little"))
            file.flush()
            os.fsync(file.fileno())
        sync_folder(self.folder)


@dataclass(frozen=True)
class Manifest:
    """Sizes and block checksums of a copy, {file: (size, checksums)}; `stamp` tells it from other copies."""

    stamp: Stamp
    files: dict[str, tuple[int, NDArray[np.uint32]]]

    @property
    def nbytes(self) -> int:
        """Return the memory that it takes, in bytes."""
        return sum(sums.nbytes for _, sums in self.files.values())


def read_manifest(folder: Path, copy: str) -> Manifest:
    """Read the manifest of the copy called `copy`.

    Raises
    ------
    FileNotFoundError
        The folder does not exist.
    CopyDamaged
        The folder exists, but is not a copy of that name.
    """
    if not os.path.lexists(folder):
        raise FileNotFoundError(folder)
    with os.fdopen(open_regular(folder / MANIFEST), "rb") as file:
        stamp = stamp_of(os.fstat(file.fileno()))
        try:
            data = file.read()
        except OSError as error:
            raise CopyDamaged(f"{MANIFEST} cannot be read ({error.strerror})") from error
    if len(data) < 4 or crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise CopyDamaged(f"{MANIFEST} is not what was written")
    line, _, rest = data[:-4].partition(b"\n")
    head = json.loads(line)
    if head["copy"] != copy:
        raise CopyDamaged("it belongs to another dataset")
    sums, at, files = np.frombuffer(rest, _SUM), 0, {}
    for name, size in head["files"].items():
        count = -(-size // BLOCK_BYTES)
        files[name] = size, sums[at : at + count]
        at += count
    return Manifest(stamp, files)


class CheckedFile:
    """A file of a copy, open as long as this object lives.

    Raises
    ------
    CopyDamaged
        The file is missing, cannot be read, or has another size than was written.
    """

    def __init__(self, folder: Path, manifest: Manifest, name: str) -> None:
        self.name = name
        self.size, self._sums = manifest.files[name]
        self._file = open_regular(folder / name)
        weakref.finalize(self, os.close, self._file)
        status = os.fstat(self._file)
        if status.st_size != self.size:
            raise CopyDamaged(f"{name} has {status.st_size} of {self.size} bytes")
        self.stamp = stamp_of(status)
        self._sound = np.zeros(len(self._sums), np.bool_)

    def is_unchanged(self) -> bool:
        """Tell whether nobody has written to it, or removed it, since it was opened."""
        return stamp_of(os.fstat(self._file)) == self.stamp

    def check(self, starts: IndexArray, stops: IndexArray) -> None:
        """Compare the blocks in some non-empty ranges of bytes with their checksums; skip blocks compared before.

        Raises
        ------
        CopyDamaged
            A block differs.
        """
        first, last = starts // BLOCK_BYTES, (stops - 1) // BLOCK_BYTES
        if len(first) == 1:
            blocks = np.arange(first[0], last[0] + 1)
        else:
            edges = np.zeros(len(self._sums) + 1, np.int64)
            np.add.at(edges, first, 1)
            np.add.at(edges, last + 1, -1)
            blocks = np.flatnonzero(np.cumsum(edges[:-1]))
        todo = blocks[~self._sound[blocks]]
        for run in np.split(todo, np.flatnonzero(np.diff(todo) != 1) + 1):
            for start in range(0, len(run), BLOCKS_AT_A_TIME):
                self._check_run(run[start : start + BLOCKS_AT_A_TIME])

    def check_all(self) -> None:
        """Compare every block of the file."""
        if self.size:
            self.check(np.zeros(1, np.int64), np.array([self.size]))

    def _check_run(self, blocks: IndexArray) -> None:
        start, stop = int(blocks[0]) * BLOCK_BYTES, min(self.size, (int(blocks[-1]) + 1) * BLOCK_BYTES)
        room = memoryview(bytearray(stop - start))
        self.read_into([room], [start])
        for number, expected in enumerate(self._sums[blocks].tolist()):
            if crc32(room[number * BLOCK_BYTES : (number + 1) * BLOCK_BYTES]) != expected:
                raise CopyDamaged(
                    f"{self.name} is not what was written, at byte {start + number * BLOCK_BYTES} or after"
                )
        self._sound[blocks] = True

    def read_into(self, rooms: Sequence[memoryview], places: Sequence[int]) -> None:
        """Fill each room with the bytes that begin at its place; raises CopyDamaged where the file is too short."""
        file, preadv = self._file, os.preadv
        try:
            for room, place in zip(rooms, places, strict=True):
                if preadv(file, [room], place) != len(room):
                    raise CopyDamaged(f"{self.name} was cut short")
        except OSError as error:
            raise CopyDamaged(f"{self.name} cannot be read ({error.strerror})") from error


def load_array(file: CheckedFile) -> NDArray[Any]:
    """Load a whole `.npy` file, which was checked.

    Raises
    ------
    CopyDamaged
        The file was cut short since, or is not an array.
    """
    data = np.empty(file.size, np.uint8)
    places = list(range(0, file.size, MOST_AT_ONCE))
    file.read_into([data.data[place : place + MOST_AT_ONCE] for place in places], places)
    head = io.BytesIO(data[:_MOST_HEAD_BYTES].tobytes())
    try:
        np.lib.format.read_magic(head)
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(head)
    except ValueError as error:
        raise CopyDamaged(f"{file.name} is not an array") from error
    return np.ndarray(shape, dtype, data, head.tell(), order="F" if fortran else "C")


def open_regular(path: Path) -> int:
    """Open a file for reading; it follows no link and does not wait.

    Raises
    ------
    CopyDamaged
        The path is missing, cannot be opened, or is not a regular file.
    OSError
        This process has too many files open, or too little memory.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NO_DAMAGE:
            raise
        raise CopyDamaged(f"{path.name} cannot be opened ({error.strerror})") from error
    if stat.S_ISREG(os.fstat(file).st_mode):
        return file
    os.close(file)
    raise CopyDamaged(f"{path.name} is not a file")


def manifest_stamp(folder: Path) -> Stamp:
    """Return the stamp of the manifest in a folder; empty where there is none."""
    try:
        return stamp_of((folder / MANIFEST).lstat())
    except OSError:
        return ()


def stamp_of(status: os.stat_result) -> Stamp:
    """Return inode, size and times, which differ for another file and after a write."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def sync_folder(folder: Path) -> None:
    """Sync the names in a folder to disk."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
