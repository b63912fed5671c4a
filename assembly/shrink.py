"""Cut debug information off shared libraries, for an image without binutils: ``python shrink.py FILE...``.

The wheel of hdf5plugin carries 160 MB of it. A library is loaded by its segments, which come first in
the file; what lies behind the last of them is for linkers and debuggers.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from pathlib import Path

_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, least significant byte first: x86-64 and arm64
_LOAD = 1


def shrink(path: Path) -> int:
    """Cut a library behind its last segment; answers the number of bytes that went.

    Raises
    ------
    ValueError
        It is not a 64-bit ELF library.
    """
    data = bytearray(path.read_bytes())
    if not data.startswith(_MAGIC):
        raise ValueError(f"{path} is not a 64-bit ELF library.")
    table: int = struct.unpack_from("<Q", data, 0x20)[0]
    entry_size, entries = struct.unpack_from("<HH", data, 0x36)
    end: int = table + entry_size * entries
    for start in range(table, end, entry_size):
        kind, _, offset, _, _, size = struct.unpack_from("<IIQQQQ", data, start)
        if kind == _LOAD:
            end = max(end, offset + size)
    struct.pack_into("<Q", data, 0x28, 0)  # where the table of sections was
    struct.pack_into("<HH", data, 0x3C, 0, 0)  # its length, and the section of names
    path.write_bytes(data[:end])
    return len(data) - end


def main(arguments: Sequence[str]) -> int:
    """Shrink the files; 0 when all were."""
    saved = sum(shrink(Path(name)) for name in arguments)
    sys.stdout.write(f"shrink: {saved / 1e6:,.0f} MB less in {len(arguments)} files\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
