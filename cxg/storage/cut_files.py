"""Checks the files of an array before TileDB reads them, since TileDB crashes the process when a file was cut short.

TileDB believes the lengths that a file gives and writes past its own memory; and where a tile ends beyond the end of
its file, one thread writes memory that another has freed. The process crashes some time later. TileDB's files state
their own lengths, so a few bytes of each schema, metadata and fragment file tell whether all files are whole. Formats:
https://github.com/TileDB-Inc/TileDB/blob/main/format_spec/FORMAT.md (generic tile, fragment metadata).
"""

from __future__ import annotations

import itertools
import os
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

_SCHEMAS, _META, FRAGMENTS, _COMMITS = "__schema", "__meta", "__fragments", "__commits"
_OLD_SCHEMA, ABOUT_FRAGMENT = "__array_schema.tdb", "__fragment_metadata.tdb"
# Version, length of what follows the header, length unpacked, type, cell size, encryption, length of the filters.
GENERIC_TILE = struct.Struct("<IQQBQBI")
_LENGTH = struct.Struct("<Q")
# Version of the format, length of the name of the schema, which follows.
_FOOTER = struct.Struct("<IQ")
_KINDS = ("", "_var", "_validity")
_DIMENSION = re.compile(r"d\d+\.tdb")
# From this format on the footer names the schema.
_NAMED_FORMAT = 10
# A footer has some 90 bytes for each attribute: this much is read at once, and no more than that is believed.
_USUAL_FOOTER, _MOST_FOOTER = 4 << 10, 1 << 20


class CutFile(OSError):
    """A file of an array is missing, or shorter than it was written; `path` says which."""

    def __init__(self, path: str) -> None:
        super().__init__(f"'{path}' is not whole")
        self.path = path


def _local_size(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116  (a Path for each takes longer)
    except FileNotFoundError:
        return -1


class DataFiles:
    """Files with the values of an open array, and how long each must be at least.

    Parameters
    ----------
    fields : mapping of str to str
        Stem of the file names of each attribute, by its name.
    least : mapping of str to int
        Least sizes in bytes, by path.
    size_of : callable
        Returns the size that a file has now, or -1; by default that of a file of this machine.
    """

    def __init__(
        self, fields: Mapping[str, str], least: Mapping[str, int], size_of: Callable[[str], int] = _local_size
    ) -> None:
        self.least, self._size_of = least, size_of
        # Every read of a sparse array looks at coordinates.
        self._always = [(path, size) for path, size in least.items() if "/a" not in path[path.rindex("/") :]]
        self._of: dict[str, list[tuple[str, int]]] = {}
        for name, field in fields.items():
            ends = tuple(f"/{field}{kind}.tdb" for kind in _KINDS)
            self._of[name] = [(path, size) for path, size in least.items() if path.endswith(ends)]

    def check(self, names: Iterable[str]) -> None:
        """Check that the files of some attributes are still as long as when they were written.

        Raises
        ------
        CutFile
            A file is shorter, or missing.
        """
        for path, size in itertools.chain(self._always, *(self._of.get(name, ()) for name in names)):
            if self._size_of(path) < size:
                raise CutFile(path)


class Folder(Protocol):
    """The files of one array, wherever they are.

    Attributes
    ----------
    uri : str
        Where they are, without a slash at the end.
    files : mapping of str to int
        Size of each file in bytes, by its path below `uri`.
    """

    uri: str
    files: Mapping[str, int]

    def read(self, path: str, start: int, size: int) -> bytes:
        """Read a part of a file, shorter where the file ends; raises OSError or tiledb.TileDBError."""

    def announce(self, parts: Sequence[tuple[str, int, int]]) -> None:
        """Prepare to read these parts: path, start and size of each."""


class LocalFolder:
    """The files of an array in a folder of this machine."""

    def __init__(self, folder: str) -> None:
        self.uri = folder
        self.files: Mapping[str, int] = dict(_files_below(folder, ""))

    def read(self, path: str, start: int, size: int) -> bytes:
        """Read a part of a file."""
        with open(f"{self.uri}/{path}", "rb", buffering=0) as file:  # noqa: PTH123  (a Path for each takes longer)
            file.seek(start)
            return file.read(size)

    def announce(self, parts: Sequence[tuple[str, int, int]]) -> None:
        """Do nothing: to read here takes no time."""


def _files_below(folder: str, below: str) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(f"{folder}/{below}") as items:
            for item in items:
                if item.is_dir():
                    yield from _files_below(folder, f"{below}{item.name}/")
                elif item.is_file():
                    yield below + item.name, item.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return


def check_files(folder: Folder) -> dict[str, int]:
    """Check the schema, metadata and fragment files of an array.

    Parameters
    ----------
    folder : Folder

    Returns
    -------
    {path: size}
        Sizes that the data files had when they were written; known from format 10 on.

    Raises
    ------
    CutFile
        One of these files is not whole.
    OSError, tiledb.TileDBError
        One cannot be read.
    """
    schemas = _directly_in(folder, _SCHEMAS)
    tiles = [f"{_SCHEMAS}/{name}" for name in schemas] + [f"{_META}/{name}" for name in _directly_in(folder, _META)]
    # A .vac file lists vacuumed fragments and has another form.
    tiles = [path for path in tiles if not path.endswith(".vac")] + [_OLD_SCHEMA] * (_OLD_SCHEMA in folder.files)
    fragments = list(_committed(folder))
    ends = [f"{below}{ABOUT_FRAGMENT}" for below in fragments if f"{below}{ABOUT_FRAGMENT}" in folder.files]
    folder.announce([(path, 0, GENERIC_TILE.size) for path in tiles] + [(path, *_end(folder, path)) for path in ends])
    for path in tiles:
        if not _is_whole_tile(folder, path):
            raise CutFile(f"{folder.uri}/{path}")
    least: dict[str, int] = {}
    for below in fragments:
        least |= _check_fragment(folder, below, set(schemas))
    return least


def _directly_in(folder: Folder, name: str) -> list[str]:
    """Names of the files directly in a part of the array."""
    begin = f"{name}/"
    return [path[len(begin) :] for path in folder.files if path.startswith(begin) and "/" not in path[len(begin) :]]


def _committed(folder: Folder) -> Iterator[str]:
    """Yield the fragments that TileDB reads, with a slash; others may be half written."""
    parents = {path.rpartition("/")[0] for path in folder.files}
    for name in sorted(parents):
        # Before format 12 a fragment lies directly in the array, and a file beside it says that it is complete.
        if name.startswith("__") and "/" not in name and f"{name}.ok" in folder.files:
            yield f"{name}/"
    commits = set(_directly_in(folder, _COMMITS))
    are_together = any(name.endswith(".con") for name in commits)
    for below in sorted(parents) if commits else ():
        part, _, name = below.partition("/")
        if part == FRAGMENTS and name and "/" not in name and (are_together or f"{name}.wrt" in commits):
            yield f"{below}/"


def _check_fragment(folder: Folder, below: str, schemas: set[str]) -> dict[str, int]:
    version = below.rstrip("/").rpartition("_")[2]
    if not version.isdigit() or int(version) < _NAMED_FORMAT:
        return {}
    names = _directly_in(folder, below.rstrip("/"))
    if ABOUT_FRAGMENT not in names:  # TileDB reports it
        return {}
    footer = _read_footer(folder, f"{below}{ABOUT_FRAGMENT}", int(version), schemas)
    if footer is None:
        raise CutFile(f"{folder.uri}/{below}{ABOUT_FRAGMENT}")
    n_dimensions = sum(_DIMENSION.fullmatch(name) is not None for name in names)
    sizes = _data_sizes(footer, int(version), n_dimensions)
    return {f"{folder.uri}/{below}{name}": size for name, size in sizes.items() if size}


def _is_whole_tile(folder: Folder, path: str) -> bool:
    header = folder.read(path, 0, GENERIC_TILE.size)
    if len(header) < GENERIC_TILE.size:
        return False
    _, stored, _, _, _, _, filters = GENERIC_TILE.unpack(header)
    return bool(GENERIC_TILE.size + filters + stored == folder.files[path])


def _end(folder: Folder, path: str) -> tuple[int, int]:
    """Start and size of the last part of a file, which usually holds the footer."""
    size = folder.files[path]
    start = max(0, size - _USUAL_FOOTER)
    return start, size - start


def _read_footer(folder: Folder, path: str, version: int, schemas: set[str]) -> bytes | None:
    """What follows the name of the schema in the footer of a file about a fragment; None when it has no footer."""
    size = folder.files[path]
    end = folder.read(path, *_end(folder, path))
    if len(end) < min(size, _USUAL_FOOTER) or size < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(end, len(end) - _LENGTH.size)
    if not _FOOTER.size < length <= size - _LENGTH.size:
        return None
    if length + _LENGTH.size > len(end):
        if length > _MOST_FOOTER:
            return None
        end = folder.read(path, size - _LENGTH.size - length, length + _LENGTH.size)
    footer = end[len(end) - _LENGTH.size - length : len(end) - _LENGTH.size]
    found, name_length = _FOOTER.unpack_from(footer)
    name = footer[_FOOTER.size : _FOOTER.size + name_length].decode("utf-8", "replace")
    return footer[_FOOTER.size + name_length :] if found == version and name in schemas else None


def _data_sizes(footer: bytes, version: int, n_dimensions: int) -> dict[str, int]:
    """Read the sizes of the data files of a fragment, by name; empty when the form of the footer is unknown.

    Its parts: whether it is dense, whether it has a domain, the domain (lowest and highest of each dimension), two
    numbers of tiles and cells, up to two flags, three lists of sizes with a number for each field, and positions of
    what else is in the file, of which each field has four (format 10) or eight. Fields are the attributes, one that
    is not used, the dimensions, and those that the flags tell of: times of writing, and two about deletion.
    """
    n_flags = 0 if version < 14 else 1 if version < 15 else 2
    others = 8 if version < 11 else 16 if version < 16 else 24
    for_each = 8 * (3 + (4 if version < 11 else 8))
    # The domain takes less than what a field takes.
    n_fields, domain = divmod(len(footer) - (2 + 16 + n_flags + others), for_each)
    start = 2 + domain + 16 + n_flags
    flags = footer[start - n_flags : start]
    extra = ["t"] * any(flags[:1]) + ["dt", "dci"] * any(flags[1:])
    n_attributes = n_fields - 1 - n_dimensions - len(extra)
    if n_attributes < 0:
        return {}
    sizes = struct.unpack_from(f"<{3 * n_fields}Q", footer, start)
    # The unused field is empty, unless a dimension has lost its file and all sizes are shifted by one.
    unused = f"d{n_dimensions}"
    fields = [f"a{i}" for i in range(n_attributes)] + [unused] + [f"d{i}" for i in range(n_dimensions)] + extra
    return {
        f"{field}{kind}.tdb": sizes[row * n_fields + i]
        for row, kind in enumerate(_KINDS)
        for i, field in enumerate(fields)
    }
