"""Listings: what lies in a folder, and a fingerprint that changes when any file does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cxg.storage import listing
from cxg.storage.listing import FileEntry, Listing, from_pairs, list_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    top = tmp_path / "a.cxg"
    for path, text in (
        ("obs/__schema/s", "schema"),
        ("obs/data", "12345"),
        ("emb/b/x", ""),
        ("emb/a/x", "1"),
        ("note", "n"),
    ):
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    return top


def test_everything_is_listed_sorted(folder: Path) -> None:
    found = list_folder(str(folder))
    assert [(entry.path, entry.size) for entry in found.entries] == [
        ("emb/a/x", 1),
        ("emb/b/x", 0),
        ("note", 1),
        ("obs/__schema/s", 6),
        ("obs/data", 5),
    ]
    assert found.paths == {entry.path for entry in found.entries}
    assert found.total_bytes == 13
    assert not found.truncated


def test_parts_and_children(folder: Path) -> None:
    found = list_folder(str(folder))
    assert found.children() == ("emb", "obs")
    assert found.below("emb").children() == ("a", "b")
    assert [entry.path for entry in found.below("obs").entries] == ["__schema/s", "data"]
    assert found.below("em").entries == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda top: (top / "new").write_text(""),
        lambda top: (top / "note").unlink(),
        lambda top: (top / "note").write_text("longer"),
        lambda top: (top / "note").rename(top / "other"),
        lambda top: os.utime(top / "note", ns=(1, 1)),
    ],
    ids=["added", "removed", "size", "renamed", "rewritten"],
)
def test_the_fingerprint_changes_with_any_file(folder: Path, change) -> None:
    before = list_folder(str(folder)).fingerprint
    assert len(before) == 32
    assert list_folder(str(folder)).fingerprint == before
    change(folder)
    assert list_folder(str(folder)).fingerprint != before


def test_the_order_in_which_a_store_lists_does_not_matter() -> None:
    pairs = [("b", 2), ("a/x", 1), ("a.x", 0)]
    assert from_pairs(pairs) == from_pairs(reversed(pairs))
    assert from_pairs(pairs).fingerprint == from_pairs(reversed(pairs)).fingerprint
    assert from_pairs([("a", 12)]).fingerprint != from_pairs([("a1", 2)]).fingerprint


def test_links_that_lead_nowhere_are_passed_over_and_others_not_followed(folder: Path, tmp_path: Path) -> None:
    before = list_folder(str(folder))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (folder / "nowhere").symlink_to("/no/such/file")
    (folder / "circle").symlink_to(folder / "circle")
    assert list_folder(str(folder)).entries == before.entries
    (folder / "folder").symlink_to(outside)
    assert not any("secret" in entry.path for entry in list_folder(str(folder)).entries)


def test_a_name_that_is_not_utf8(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff")).write_text("x")
    assert len(list_folder(str(folder)).fingerprint) == 32


def test_too_many_files_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "MAX_ENTRIES", 3)
    assert from_pairs([("c", 1), ("a", 1), ("b", 1)]) == Listing(
        (FileEntry("a", 1), FileEntry("b", 1), FileEntry("c", 1))
    )
    cut = from_pairs((str(i), 1) for i in range(10**9))
    assert cut.truncated
    assert len(cut.entries) == 3
    assert cut.below("x").truncated


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list_folder(str(tmp_path / "nope"))


def test_identity_tells_apart_what_looks_alike(tmp_path):
    (tmp_path / "file").write_bytes(b"a")
    status = (tmp_path / "file").stat()
    before = list_folder(str(tmp_path))
    assert before.identity("here") == list_folder(str(tmp_path)).identity("here")
    assert before.identity("here") != before.identity("there")
    # The clock of the file system ticks every few milliseconds.
    while (tmp_path / "file").stat().st_ctime_ns == status.st_ctime_ns:
        os.utime(tmp_path / "file", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "file").write_bytes(b"b")
    os.utime(tmp_path / "file", ns=(status.st_atime_ns, status.st_mtime_ns))
    after = list_folder(str(tmp_path))
    assert after.fingerprint == before.fingerprint
    assert after.identity("here") != before.identity("here")
    # No place may look like the end of another and the first file.
    assert Listing(()).identity("a") != Listing(()).identity("a\0")
