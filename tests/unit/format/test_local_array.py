"""Arrays read through copies give what they give in place; a folder stands for the bucket."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiledb

from cxg.config import load
from cxg.errors import DatasetInvalid
from cxg.format import local_array as nearby
from cxg.format.annotations import Annotations
from cxg.format.local_array import LocalArray, open_nearby
from cxg.format.structure import array_layout
from cxg.storage.cache_folder import CacheFolder
from cxg.storage.faults import is_storage_fault
from cxg.storage.listing import Listing, from_pairs, list_folder
from cxg.storage.s3_copies import Copies, DatasetCopies
from cxg.storage.storage import Storage
from tests import cxgs


class Case:
    """A CXG, and copies of it in another folder."""

    def __init__(self, tmp_path: Path, kind: str = "Xr/Xc", room: int = 1 << 30, **options: Any) -> None:
        self.truth = cxgs.build(tmp_path / "d.cxg", kind, **options)
        self.storage, self.fetched = Storage(load("", {}).config), list[str]()
        self.fault: Exception | None = None
        self.listing = list_folder(str(self.truth.path))
        copies = Copies(self.fetch, CacheFolder(tmp_path / "cache", room))
        self.copies: DatasetCopies = copies.for_dataset(str(self.truth.path), self.listing.identity(""))

    def fetch(self, uri: str, target: Path) -> None:
        if self.fault is not None:
            raise self.fault
        self.fetched.append(uri.removeprefix(f"{self.truth.path}/"))
        shutil.copyfile(uri, target)

    def open(self, part: str) -> Any:
        uri = str(self.truth.path / part)
        return open_nearby(self.storage, uri, part, self.copies, array_layout(self.listing, part))


@pytest.mark.parametrize("kind", cxgs.ALL_KINDS)
def test_columns_are_equal(tmp_path: Path, kind: str) -> None:
    case = Case(tmp_path, kind)
    for axis in ("obs", "var"):
        near = case.open(axis)
        assert isinstance(near, LocalArray)
        far = tiledb.open(str(case.truth.path / axis))
        assert dict(near.meta) == dict(far.meta)
        copied, direct = Annotations(near, axis), Annotations(far, axis)
        assert copied.columns == direct.columns
        for column in direct.columns:
            mine, theirs = copied.read(column.name), direct.read(column.name)
            assert type(mine) is type(theirs)
            for field in ("values", "codes", "categories", "data", "offsets"):
                np.testing.assert_array_equal(getattr(mine, field, None), getattr(theirs, field, None))
        near.close()
        far.close()


def test_values_are_fetched_when_they_are_asked_for(tmp_path: Path) -> None:
    case = Case(tmp_path)
    near = case.open("obs")
    assert case.fetched
    assert not [path for path in case.fetched if "/a" in path]
    opening = len(case.fetched)
    Annotations(near, "obs").read("name_0")
    assert {path.rsplit("/", 1)[1] for path in case.fetched[opening:]} == {"a0.tdb", "a0_var.tdb"}
    Annotations(near, "obs").read("name_0")
    assert len(case.fetched) == opening + 2


def test_copies_that_were_removed_do_not_matter(tmp_path: Path) -> None:
    case = Case(tmp_path)
    near = case.open("obs")
    expected = Annotations(near, "obs").read("name_0").strings()
    shutil.rmtree(case.copies.root)
    assert Annotations(near, "obs").read("name_0").strings() == expected


def test_without_room_arrays_are_read_in_place(tmp_path: Path) -> None:
    case = Case(tmp_path, room=0)
    assert isinstance(case.open("obs"), tiledb.Array)
    assert not case.fetched


def test_large_values_are_read_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(tmp_path)
    near = case.open("obs")
    opening = len(case.fetched)
    monkeypatch.setattr(nearby, "MOST_BYTES", 10)
    assert Annotations(near, "obs").read("name_0").strings() == case.truth.obs["name_0"].values
    assert len(case.fetched) == opening
    near.close()


def test_a_full_disk_is_no_damage(tmp_path: Path) -> None:
    case = Case(tmp_path)
    near = case.open("obs")
    case.fault = tiledb.TileDBError("PosixVFS: Cannot write to file; No space left on device")
    assert Annotations(near, "obs").read("name_0").strings() == case.truth.obs["name_0"].values


def test_a_store_that_is_away_is_not_asked_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(tmp_path)
    near = case.open("obs")
    case.fault = tiledb.TileDBError("S3: curlCode: 28, Timeout was reached")
    monkeypatch.setattr(Storage, "open_array", lambda *_: pytest.fail("it was opened in place"))
    with pytest.raises(tiledb.TileDBError) as caught:
        near.read(["name_0"], lambda array: array)
    assert is_storage_fault(caught.value)


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(bytes(file.stat().st_size)), Path.unlink])
def test_damaged_copies_give_what_is_in_place(tmp_path: Path, damage) -> None:
    case = Case(tmp_path)
    Annotations(case.open("obs"), "obs").read("name_0")
    files = [file for file in case.copies.root.rglob("*") if file.is_file()]
    assert len(files) > 4
    for file in files:
        damage(file)
    near = case.open("obs")
    assert isinstance(near, LocalArray)
    assert Annotations(near, "obs").read("name_0").strings() == case.truth.obs["name_0"].values


@pytest.mark.parametrize("fails", ["open", "read"])
def test_copies_that_tiledb_cannot_read_are_read_in_place(tmp_path: Path, monkeypatch, fails: str) -> None:
    """They are sound, but the disk fails when they are needed."""
    case = Case(tmp_path)
    if fails == "open":
        real = Storage.open_array

        def open_array(storage: Storage, uri: str, *rest: Any) -> Any:
            if uri.startswith(str(case.copies.root)):
                raise DatasetInvalid("obs cannot be read")
            return real(storage, uri, *rest)

        monkeypatch.setattr(Storage, "open_array", open_array)
        assert isinstance(case.open("obs"), tiledb.Array)
        return
    near = case.open("obs")

    def is_copy(array: Any) -> bool:
        return str(case.copies.root) in array.uri

    def read(array: Any) -> Any:
        if is_copy(array):
            raise tiledb.TileDBError("PosixVFS: Cannot read from file; Input/output error")
        return array[:]["count"].tolist()

    assert near.read(["count"], read) == case.truth.obs["count"].values
    fetched = len(case.fetched)
    assert near.read(["count"], is_copy)
    assert len(case.fetched) == fetched


def test_embeddings_of_many_dimensions(tmp_path: Path) -> None:
    case = Case(tmp_path, embeddings=("umap", "pca"))
    for name, expected in case.truth.embeddings.items():
        near = case.open(f"emb/{name}")
        assert isinstance(near, LocalArray)
        np.testing.assert_array_equal(near.read([""], lambda array: array[:, 0:2]).astype(np.float32), expected)


FRAGMENT = "obs/__fragments/__1_1_0123456789abcdef0123456789abcdef_22"
PLAIN = ("obs/__schema/__1_1_a", "obs/__commits/x.wrt", f"{FRAGMENT}/__fragment_metadata.tdb", f"{FRAGMENT}/a0.tdb")


def listed(*paths: str) -> Listing:
    return from_pairs((path, 10) for path in paths)


def test_parts_of_an_array() -> None:
    parts = array_layout(listed(*PLAIN, f"{FRAGMENT}/a0_var.tdb", f"{FRAGMENT}/a10.tdb", "var/__schema/s"), "obs")
    assert parts is not None
    assert {entry.path for entry in parts.opening} == set(PLAIN[:3])
    assert {entry.path for entry in parts.data([0])} == {f"{FRAGMENT}/a0.tdb", f"{FRAGMENT}/a0_var.tdb"}
    assert len(parts.files) == 6


@pytest.mark.parametrize(
    "paths",
    [
        (*PLAIN, "obs/__schema/__2_2_b"),
        ("obs/__array_schema.tdb", "obs/__1_1_0123_4/__fragment_metadata.tdb", "obs/__1_1_0123_4/name_0.tdb"),
        (*PLAIN, *(f"obs/__commits/{number}.wrt" for number in range(80))),
        (*PLAIN[:2], "obs/__fragments/__1_1_0123_8/__fragment_metadata.tdb"),
        (),
    ],
    ids=["two schemas", "old format", "many files", "format 8", "nothing"],
)
def test_unusual_arrays_are_not_copied(paths: tuple[str, ...]) -> None:
    assert array_layout(listed(*paths), "obs") is None
