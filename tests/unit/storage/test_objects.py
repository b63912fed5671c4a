"""Listing and copying through TileDB, here of a folder; integration tests do the same with S3."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest
import tiledb

from cxg.storage.objects import Objects


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.txt", "inside/b.txt", "inside/deep/é c#%.txt"):
        path = tmp_path / "top" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * len(name))
    return tmp_path / "top"


FILES = [("a.txt", 5), ("inside/b.txt", 12), ("inside/deep/é c#%.txt", 21)]


def prefix(folder: Path) -> str:
    return f"file://{folder}/"


def test_files_below_a_prefix(folder: Path) -> None:
    found = Objects(tiledb.Ctx()).below(prefix(folder), 100)
    assert sorted(pair for pair in found if "." in pair[0]) == FILES


def test_tiledbs_own_listing_is_used_where_it_can_be(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects, through_python = Objects(tiledb.Ctx()), list[str]()
    listing = tiledb.VFS.ls_recursive
    monkeypatch.setattr(
        tiledb.VFS, "ls_recursive", lambda vfs, uri, *rest: (through_python.append(uri), listing(vfs, uri, *rest))[1]
    )
    found = sorted(objects.below(prefix(folder), 100))
    assert not through_python

    def no_library(name: str) -> None:
        raise OSError(f"{name} cannot be loaded")

    monkeypatch.setattr(ctypes, "CDLL", no_library)
    assert sorted(Objects(tiledb.Ctx()).below(prefix(folder), 100)) == found
    assert through_python == [prefix(folder)]


def test_it_stops_soon_after_the_limit(folder: Path) -> None:
    assert len(Objects(tiledb.Ctx()).below(prefix(folder), 1)) == 2


def test_a_refusal_says_why() -> None:
    with pytest.raises(tiledb.TileDBError, match="Unsupported URI scheme"):
        Objects(tiledb.Ctx()).below("no-such-scheme://x/", 10)


def test_children_and_copy(folder: Path, tmp_path: Path) -> None:
    objects = Objects(tiledb.Ctx())
    assert sorted(uri.rsplit("/", 1)[1] for uri in objects.children(prefix(folder))) == ["a.txt", "inside"]
    objects.copy(prefix(folder) + "inside/b.txt", tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "x" * 12
    with pytest.raises(tiledb.TileDBError):
        objects.copy(prefix(folder) + "gone", tmp_path / "copy2")
