"""Takes apart the bytes of TileDB's tiles, and of what a fragment says of its tiles.

Formats: https://github.com/TileDB-Inc/TileDB/blob/main/format_spec/FORMAT.md (generic tile, tile, fragment metadata).
"""

from __future__ import annotations

import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from numpy.typing import NDArray

from cxg.storage.cut_files import GENERIC_TILE

Numbers = NDArray[np.int64]
_CHUNKS, _CHUNK, _PARTS, _PART = (struct.Struct(form) for form in ("<Q", "<III", "<II", "<II"))
# Values come in chunks of 64 kB, what is known of all tiles in one; what a damaged file claims is not allocated.
_MOST_CHUNK = 8 << 20
# A packed tile that is larger is left to TileDB, which reads within its own bounds.
_MOST_TILE = 8 << 20
_local = threading.local()


class UnknownForm(Exception):
    """A file is damaged or of a form that is not known here; TileDB can tell which."""


def chunks(tile: bytes) -> list[tuple[int, bytes, bytes]]:
    """Return size when unpacked, notes of the filters and packed bytes of each chunk; or raise UnknownForm."""
    try:
        (n,), at, found = _CHUNKS.unpack_from(tile), _CHUNKS.size, []
        for _ in range(n):
            size, packed, noted = _CHUNK.unpack_from(tile, at)
            begin = at + _CHUNK.size + noted
            at = begin + packed
            if at > len(tile) or size > _MOST_CHUNK:
                raise UnknownForm
            found.append((size, tile[begin - noted : begin], tile[begin:at]))
    except struct.error as error:
        raise UnknownForm from error
    if at != len(tile):
        raise UnknownForm
    return found


def unpacked(meta: bytes, data: bytes) -> bytes:
    """Unpack the values of a chunk, before which the notes of other filters are packed; or raise UnknownForm."""
    try:
        n_notes, n_bodies = _PARTS.unpack_from(meta)
        if n_bodies != 1:
            raise UnknownForm
        begin = sum(_PART.unpack_from(meta, _PARTS.size + _PART.size * i)[1] for i in range(n_notes))
        size, packed = _PART.unpack_from(meta, _PARTS.size + _PART.size * n_notes)
        if begin + packed != len(data) or size > _MOST_CHUNK:
            raise UnknownForm
        if not hasattr(_local, "unpacker"):
            _local.unpacker = zstandard.ZstdDecompressor()
        body: bytes = _local.unpacker.decompress(data[begin:], max_output_size=size)
    except (struct.error, zstandard.ZstdError) as error:
        raise UnknownForm from error
    return body


def generic_tiles(path: Path, n: int) -> list[bytes]:
    """Read the first `n` generic tiles of a file; or raise UnknownForm, OSError."""
    data, at, found = path.read_bytes(), 0, []
    for _ in range(n):
        try:
            _, stored, size, _, _, encryption, filters = GENERIC_TILE.unpack_from(data, at)
        except struct.error as error:
            raise UnknownForm from error
        begin = at + GENERIC_TILE.size + filters
        at = begin + stored
        if encryption or at > len(data):
            raise UnknownForm
        body = b"".join(_inflated(meta, part) for _, meta, part in chunks(data[begin:at]))
        if len(body) != size:
            raise UnknownForm
        found.append(body)
    return found


def _inflated(meta: bytes, data: bytes) -> bytes:
    if len(meta) != _PARTS.size + _PART.size or _PARTS.unpack_from(meta) != (0, 1):
        raise UnknownForm
    unpacker = zlib.decompressobj()
    try:
        return unpacker.decompress(data, _MOST_CHUNK)
    except zlib.error as error:
        raise UnknownForm from error


def leaves(tree: bytes, dtype: Any) -> tuple[Numbers, Numbers]:
    """Return the least and greatest coordinate of each tile, the last level of the tree; or raise UnknownForm."""
    try:
        _, levels = _PARTS.unpack_from(tree)
        at, n, size = _PARTS.size, 0, 2 * np.dtype(dtype).itemsize
        for _ in range(levels):
            at += n * size
            (n,) = _CHUNKS.unpack_from(tree, at)
            at += _CHUNKS.size
    except struct.error as error:
        raise UnknownForm from error
    if not n or at + n * size != len(tree):
        raise UnknownForm
    pairs = np.frombuffer(tree, dtype, 2 * n, at).astype(np.int64).reshape(n, 2)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def starts(body: bytes, file_size: int, n_tiles: int) -> Numbers:
    """Return where each tile begins in its file, and where the last one ends; or raise UnknownForm."""
    if len(body) != 8 * (n_tiles + 1) or _CHUNKS.unpack_from(body)[0] != n_tiles:
        raise UnknownForm
    found = np.append(np.frombuffer(body, np.int64, n_tiles, 8), file_size)
    sizes = np.diff(found)
    if found[0] != 0 or sizes.min() <= 0 or sizes.max() > _MOST_TILE:
        raise UnknownForm
    return found
