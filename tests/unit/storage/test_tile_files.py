"""Tiles that are read from their files give what TileDB gives; whatever is not plain or not sound is left to TileDB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiledb

from cxg.convert.write.arrays import SparseWriter, writing_context
from cxg.storage.tile_files import TileFiles, open_tile_files
from cxg.storage.tile_parts import UnknownForm
from tests.unit.storage.tile_arrays import LINES, matrix, write

DELTA, SHUFFLE, ZSTD = tiledb.DeltaFilter(), tiledb.ByteShuffleFilter(), tiledb.ZstdFilter(3)
CHOSEN = {
    "one": [700],
    "some": [0, 1, 2, 400, 1199],
    "next to each other": list(range(300, 500)),
    "every second": list(range(0, LINES, 2)),
    "all": list(range(LINES)),
    "without values": [5],
}


def tiles_of(path: Path) -> TileFiles | None:
    (fragment,) = (path / "__fragments").iterdir()
    with tiledb.open(str(path)) as array:
        return open_tile_files(array, str(path), fragment.name)


def read(tiles: TileFiles, lines: Sequence[int], names: Sequence[str] = ("var", "")) -> dict[str, Any]:
    is_wanted = np.zeros(LINES, np.bool_)
    is_wanted[list(lines)] = True
    return tiles.read(tiles.find(np.array(lines)), "obs", is_wanted, names)


def check(path: Path, tiles: TileFiles | None) -> None:
    assert tiles is not None
    with tiledb.open(str(path)) as array:
        for lines in CHOSEN.values():
            expected, found = array.multi_index[list(lines)], read(tiles, lines, ["obs", "var", ""])
            order, found_order = (np.lexsort((each["var"], each["obs"])) for each in (expected, found))
            for name in ("obs", "var", ""):
                np.testing.assert_array_equal(found[name][found_order], expected[name][order])
                assert found[name].dtype == expected[name].dtype


# Of 20,000 values, a tile of several chunks, a few tiles, many that each have part of some lines.
@pytest.mark.parametrize("capacity", [100_000, 6_000, 30])
def test_an_array_of_the_converter_is_read_as_by_tiledb(tmp_path: Path, capacity: int, monkeypatch: Any) -> None:
    monkeypatch.setattr("cxg.convert.write.arrays.ROW_CAPACITY", capacity)
    path = tmp_path / "Xr"
    with SparseWriter(str(path), "obs", "var", LINES, matrix().nnz, writing_context()) as writer:
        writer.write(0, matrix())
    check(path, tiles_of(path))


@pytest.mark.parametrize("dim", [[ZSTD], [SHUFFLE, ZSTD], [DELTA, ZSTD], [DELTA, SHUFFLE, ZSTD]])
@pytest.mark.parametrize("other", [[], [ZSTD], [SHUFFLE, ZSTD], [DELTA, SHUFFLE, ZSTD]])
@pytest.mark.parametrize("types", [("u4", "u4", "f4"), ("i8", "u8", "f8"), ("u4", "i4", "i8")])
def test_arrays_of_others_are_read_as_by_tiledb(tmp_path: Path, dim: Any, other: Any, types: tuple[str, ...]) -> None:
    path = write(tmp_path / "Xr", types, dim, other)
    check(path, tiles_of(path))


@pytest.mark.parametrize(
    "options",
    [
        {"other": [tiledb.GzipFilter()]},
        {"other": [tiledb.BitWidthReductionFilter(), ZSTD]},
        {"other": [SHUFFLE, DELTA, ZSTD]},
        {"other": [ZSTD, SHUFFLE]},
        {"dim": [tiledb.DoubleDeltaFilter(), ZSTD]},
        {"nullable": True},
        {"types": ("u4", "u2", "f4")},
        {"n_dims": 2},
    ],
    ids=str,
)
def test_other_forms_are_left_to_tiledb(tmp_path: Path, options: dict[str, Any]) -> None:
    assert tiles_of(write(tmp_path / "Xr", **options)) is None


@pytest.mark.parametrize("name", ["a0.tdb", "a1.tdb", "d0.tdb"])
@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "zeros", "ones", "claims a long chunk"])
def test_damaged_files_are_left_to_tiledb(tmp_path: Path, name: str, damage: str) -> None:
    path = write(tmp_path / "Xr")
    tiles = tiles_of(path)
    assert tiles is not None
    (file,) = path.glob(f"__fragments/*/{name}")
    whole = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        middle = len(whole) // 2
        file.write_bytes(
            {
                "cut": whole[:middle],
                "empty": b"",
                "zeros": b"\0" * len(whole),
                "ones": b"\xff" * len(whole),
                "claims a long chunk": whole[:8] + b"\xff\xff\xff\x7f" + whole[12:],
            }[damage]
        )
    with pytest.raises((UnknownForm, OSError)):
        read(tiles, range(LINES))


def test_any_byte_of_what_tells_of_the_tiles_may_be_wrong(tmp_path: Path) -> None:
    path = write(tmp_path / "Xr")
    (file,) = path.glob("__fragments/*/__fragment_metadata.tdb")
    (fragment,) = (path / "__fragments").iterdir()
    whole, n_left = file.read_bytes(), 0
    with tiledb.open(str(path)) as array:
        for place in range(0, 600, 3):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            n_left += open_tile_files(array, str(path), fragment.name) is None
        file.write_bytes(whole[:200])
        assert open_tile_files(array, str(path), fragment.name) is None
    assert n_left > 100


def test_a_line_beyond_the_wanted_ones_is_left_to_tiledb(tmp_path: Path) -> None:
    tiles = tiles_of(write(tmp_path / "Xr"))
    assert tiles is not None
    with pytest.raises(UnknownForm):
        tiles.read(tiles.find(np.arange(LINES)), "obs", np.ones(LINES // 2, np.bool_), ["var"])
