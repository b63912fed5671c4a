"""Copies that can be told from damaged ones, down to a block."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from cxg.storage import checksums
from cxg.storage.checksums import CheckedFile, CopyDamaged, CopyWriter, load_array, read_manifest


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "BLOCK_BYTES", 8)
    monkeypatch.setattr(checksums, "BLOCKS_AT_A_TIME", 2)


def write(folder: Path, pieces: list[bytes]) -> CheckedFile:
    folder.mkdir()
    copy = CopyWriter(folder)
    with copy.open("file") as file:
        for piece in pieces:
            file.write(piece)
    with copy.open("other") as file:
        file.write(b"another")
    copy.finish("a copy")
    return CheckedFile(folder, read_manifest(folder, "a copy"), "file")


def damage(folder: Path, place: int) -> None:
    with (folder / "file").open("r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))


def check(file: CheckedFile, *ranges: tuple[int, int]) -> None:
    starts, stops = np.array(ranges).T
    file.check(starts, stops)


@pytest.mark.parametrize("sizes", [[], [0], [1], [8], [3, 5], [3, 6, 40, 0, 7], [64]])
def test_any_pieces_give_the_same_checksums(tmp_path: Path, sizes: list[int]) -> None:
    data = bytes(range(1, sum(sizes) + 1))
    ends = np.cumsum([0, *sizes]).tolist()
    file = write(tmp_path / "copy", [data[start:stop] for start, stop in itertools.pairwise(ends)])
    assert file.size == len(data)
    file.check_all()
    for place in range(len(data)):
        damage(tmp_path / "copy", place)
        with pytest.raises(CopyDamaged, match=f"at byte {place // 8 * 8} "):
            write_again(tmp_path / "copy").check_all()
        damage(tmp_path / "copy", place)


def write_again(folder: Path) -> CheckedFile:
    """The file as another process opens it."""
    return CheckedFile(folder, read_manifest(folder, "a copy"), "file")


def test_only_what_is_asked_for_is_compared_and_only_once(tmp_path: Path) -> None:
    file = write(tmp_path / "copy", [bytes(64)])
    damage(tmp_path / "copy", 33)
    check(file, (0, 32), (40, 64))
    check(file, (0, 1), (63, 64))
    with pytest.raises(CopyDamaged, match="at byte 32 "):
        check(file, (31, 33))
    with pytest.raises(CopyDamaged, match="at byte 32 "):
        check(file, (0, 3), (4, 40), (38, 64))
    damage(tmp_path / "copy", 5)
    # The blocks before were compared already; that the file was written to since is told by its stamp.
    check(file, (0, 32))
    assert not file.is_unchanged()


@pytest.mark.parametrize("place", [0, 1, 30, -30, -5, -1])
def test_each_byte_of_the_manifest_counts(tmp_path: Path, place: int) -> None:
    write(tmp_path / "copy", [bytes(64)])
    path = tmp_path / "copy" / "manifest"
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(CopyDamaged, match="manifest is not what was written"):
        read_manifest(tmp_path / "copy", "a copy")


def test_a_copy_under_another_name_is_none(tmp_path: Path) -> None:
    write(tmp_path / "copy", [b"1"])
    with pytest.raises(CopyDamaged, match="another dataset"):
        read_manifest(tmp_path / "copy", "another copy")


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(0,), (5,), (5, 2), (40, 3)])
def test_arrays_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], order) -> None:
    monkeypatch.setattr(checksums, "MOST_AT_ONCE", 50)
    copy = CopyWriter(tmp_path)
    values = np.asarray(np.random.default_rng(0).random(shape), np.float32, order=order)
    copy.save("values.npy", values)
    copy.finish("a copy")
    assert np.load(tmp_path / "values.npy").tobytes() == values.tobytes()
    file = CheckedFile(tmp_path, read_manifest(tmp_path, "a copy"), "values.npy")
    file.check_all()
    loaded = load_array(file)
    assert (loaded.dtype, loaded.shape, loaded.tobytes("A")) == (values.dtype, shape, values.tobytes("A"))
    assert loaded.flags.f_contiguous == values.flags.f_contiguous
    assert loaded.flags.writeable
