"""Lists and copies objects of a store through TileDB without holding Python's global lock.

TileDB-Py lists recursively and reads files with the lock held: while S3 is slow or does
not answer, no other thread of the process can run. The listing
therefore calls TileDB's C interface, which its Python package brings, by ctypes; copying is
one of the calls of TileDB-Py that release the lock.
"""

from __future__ import annotations

import ctypes
import re
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import tiledb
from tiledb import libtiledb

_OK, _READ = 0, 0
_AT_ONCE = 8
_NOT_THERE = re.compile(r"not found|no such (key|object|file)|HTTP response code: 404", re.IGNORECASE)
_TAKE = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64, ctypes.c_void_p)


class Objects:
    """The objects that one TileDB context reaches; safe to share between threads.

    Attributes
    ----------
    ctx : tiledb.Ctx
    """

    def __init__(self, ctx: tiledb.Ctx) -> None:
        self.ctx = ctx
        self._vfs = tiledb.VFS(ctx=ctx)
        self._native = _Native.find(ctx)

    def below(self, prefix: str, most: int) -> list[tuple[str, int]]:
        """List paths and sizes of all objects below `prefix`, relative to it; little more than `most` of them.

        Parameters
        ----------
        prefix : str
            URI that ends with a slash.

        Raises
        ------
        tiledb.TileDBError
            The store did not answer, or refused.
        """
        pairs: list[tuple[str, int]] = []

        def take(path: str, size: int) -> bool:
            if path.startswith(prefix) and not path.endswith("/"):
                pairs.append((path[len(prefix) :], size))
            return len(pairs) <= most  # go on

        if self._native is None:
            self._vfs.ls_recursive(prefix, take)
        else:
            self._native.list_below(prefix, take)
        return pairs

    def folder(self, uri: str, most: int) -> ObjectFolder:
        """List the objects of one array, to read parts of them; raises as `below`."""
        return ObjectFolder(uri.rstrip("/"), dict(self.below(f"{uri.rstrip('/')}/", most)), self)

    def read(self, uri: str, start: int, size: int) -> bytes:
        """Read a part of an object that is at least so long.

        Raises
        ------
        tiledb.TileDBError
            The object does not exist or is shorter, or the store did not answer.
        """
        if size <= 0:
            return b""
        if self._native is not None:
            return self._native.read(uri, start, size)
        with self._vfs.open(uri, "rb") as file:
            file.seek(start)
            return bytes(file.read(size))

    def children(self, prefix: str) -> list[str]:
        """List the URIs directly below `prefix`.

        Raises
        ------
        tiledb.TileDBError
            The store did not answer, or refused.
        """
        return list(self._vfs.ls(prefix))

    def size(self, uri: str) -> int | None:
        """Return the size of an object in bytes; None when there is no such object.

        Raises
        ------
        tiledb.TileDBError
            The store did not answer, or refused.
        """
        try:
            return int(self._vfs.file_size(uri)) if self._native is None else self._native.size(uri)
        except tiledb.TileDBError as error:
            if _NOT_THERE.search(str(error)):
                return None
            raise

    def copy(self, uri: str, target: Path) -> None:
        """Copy an object to a file of this machine.

        Raises
        ------
        tiledb.TileDBError
            The object does not exist, the store did not answer, or the file cannot be written.
        """
        self._vfs.copy_file(uri, str(target))


class ObjectFolder:
    """The objects of one array; see `cxg.storage.cut_files.Folder`."""

    def __init__(self, uri: str, files: Mapping[str, int], objects: Objects) -> None:
        self.uri, self.files, self._objects = uri, files, objects

        self._parts: dict[tuple[str, int, int], bytes] = {}

    def announce(self, parts: Sequence[tuple[str, int, int]]) -> None:
        """Read these parts, path, start and size of each, all at the same time."""
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            self._parts.update(zip(parts, threads.map(lambda part: self.read(*part), parts), strict=True))

    def read(self, path: str, start: int, size: int) -> bytes:
        """Read a part of an object, shorter where it ended when it was listed."""
        if (path, start, size) in self._parts:
            return self._parts[path, start, size]
        return self._objects.read(f"{self.uri}/{path}", start, min(size, self.files[path] - start))


class _Native:
    """TileDB's own recursive listing (`tiledb_vfs_ls_recursive` of its C interface)."""

    def __init__(self, library: ctypes.CDLL, ctx: tiledb.Ctx, pointer: int, vfs: ctypes.c_void_p) -> None:
        self._library, self._ctx, self._vfs = library, ctypes.c_void_p(pointer), vfs
        weakref.finalize(self, _free, library, vfs, ctx)

    @classmethod
    def find(cls, ctx: tiledb.Ctx) -> _Native | None:
        """Make one for a context; None where this TileDB-Py lacks the symbols."""
        vfs = ctypes.c_void_p()
        try:
            library = ctypes.CDLL(libtiledb.__file__)
            pointer = _pointer(ctx)
            if library.tiledb_vfs_alloc(ctypes.c_void_p(pointer), None, ctypes.byref(vfs)) != _OK:
                return None
            library.tiledb_vfs_ls_recursive.argtypes = (
                *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p, _TAKE),
                ctypes.c_void_p,
            )
        except (OSError, AttributeError, ValueError):
            return None
        return cls(library, ctx, pointer, vfs)

    def list_below(self, prefix: str, take: Any) -> None:
        def receive(path: int, length: int, size: int, _: Any) -> int:
            return int(take(ctypes.string_at(path, length).decode("utf-8", "surrogateescape"), size))

        status = self._library.tiledb_vfs_ls_recursive(
            self._ctx, self._vfs, prefix.encode("utf-8", "surrogateescape"), _TAKE(receive), None
        )
        if status != _OK:
            raise tiledb.TileDBError(self._last_error())

    def read(self, uri: str, start: int, size: int) -> bytes:
        """Read a part of an object."""
        library, context, handle = self._library, self._ctx, ctypes.c_void_p()
        path = uri.encode("utf-8", "surrogateescape")
        if library.tiledb_vfs_open(context, self._vfs, path, _READ, ctypes.byref(handle)) != _OK:
            raise tiledb.TileDBError(self._last_error())
        try:
            room = ctypes.create_string_buffer(size)
            if library.tiledb_vfs_read(context, handle, ctypes.c_uint64(start), room, ctypes.c_uint64(size)) != _OK:
                raise tiledb.TileDBError(self._last_error())
            return room.raw
        finally:
            library.tiledb_vfs_close(context, handle)
            library.tiledb_vfs_fh_free(ctypes.byref(handle))

    def size(self, uri: str) -> int:
        size = ctypes.c_uint64()
        encoded = uri.encode("utf-8", "surrogateescape")
        if self._library.tiledb_vfs_file_size(self._ctx, self._vfs, encoded, ctypes.byref(size)) != _OK:
            raise tiledb.TileDBError(self._last_error())
        return size.value

    def _last_error(self) -> str:
        error, text = ctypes.c_void_p(), ctypes.c_char_p()
        self._library.tiledb_ctx_get_last_error(self._ctx, ctypes.byref(error))
        if not error:
            return "the store did not say why"
        self._library.tiledb_error_message(error, ctypes.byref(text))
        message = (text.value or b"").decode("utf-8", "replace")
        self._library.tiledb_error_free(ctypes.byref(error))
        return message


def _free(library: ctypes.CDLL, vfs: ctypes.c_void_p, _: tiledb.Ctx) -> None:
    """Free a VFS while its context is still there."""
    library.tiledb_vfs_free(ctypes.byref(vfs))


def _pointer(ctx: tiledb.Ctx) -> int:
    unpack = ctypes.pythonapi.PyCapsule_GetPointer
    unpack.restype, unpack.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    found = unpack(ctx.__capsule__(), b"ctx")
    if not found:
        raise ValueError("the context has no address")
    return int(found)
