"""Local copies of the files of a dataset: fetched once, bounded, whole or not there."""

from __future__ import annotations

import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cxg.storage.cache_folder import MARKER, CacheFolder
from cxg.storage.listing import FileEntry, Listing, list_folder
from cxg.storage.s3_copies import Copies
from tests.background import Clock

ROOM = 1 << 30


class Source:
    """A folder that stands for a bucket, and what was fetched from it."""

    def __init__(self, root: Path, files: dict[str, int]) -> None:
        self.root, self.fetched = root, list[str]()
        for name, size in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(name[:1].encode() * size)
        self.wait = threading.Event()
        self.wait.set()

    def fetch(self, uri: str, target: Path) -> None:
        assert self.wait.wait(30)
        self.fetched.append(uri.removeprefix(f"{self.root}/"))
        shutil.copyfile(uri, target)

    @property
    def listing(self) -> Listing:
        return list_folder(str(self.root))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(tmp_path / "source", {"obs/a0.tdb": 100, "obs/a1.tdb": 200, "obs/__commits/x.wrt": 0})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of this program, with its marker."""
    assert CacheFolder(tmp_path / "cache", ROOM).is_ready()
    return tmp_path / "cache"


def make(source: Source, folder: Path, room: int = ROOM) -> Copies:
    return Copies(source.fetch, CacheFolder(folder, room))


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir() if item.name != MARKER)


def test_files_are_fetched_once(source: Source, folder: Path) -> None:
    listing = source.listing
    copies = make(source, folder).for_dataset(str(source.root), listing.identity(""))
    assert copies.fetch(listing.entries)
    assert copies.fetch(listing.entries)
    # Empty files need no fetching.
    assert sorted(source.fetched) == ["obs/a0.tdb", "obs/a1.tdb"]
    assert (copies.root / "obs/a1.tdb").read_bytes() == b"o" * 200
    assert (copies.root / "obs/__commits/x.wrt").read_bytes() == b""
    assert names(folder) == [copies.root.parent.name]


def test_another_process_finds_them(source: Source, folder: Path) -> None:
    listing = source.listing
    assert make(source, folder).for_dataset(str(source.root), listing.identity("")).fetch(listing.entries)
    source.fetched.clear()
    assert make(source, folder).for_dataset(str(source.root), listing.identity("")).fetch(listing.entries)
    assert not source.fetched


def test_threads_that_want_the_same_wait_for_one_fetch(source: Source, folder: Path) -> None:
    joined = threading.Semaphore(0)

    class Watched(Copies):
        def start(self, *args: Any) -> Any:
            future = super().start(*args)
            joined.release()
            return future

    listing = source.listing
    # An empty file is there at once, and so not asked for by a thread that comes later.
    entries = [entry for entry in listing.entries if entry.size]
    copies = Watched(source.fetch, CacheFolder(folder, ROOM)).for_dataset(str(source.root), listing.identity(""))
    source.wait.clear()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(copies.fetch, entries) for _ in range(8)]
        for _ in range(8 * len(entries)):
            assert joined.acquire(timeout=30)
        source.wait.set()
        assert all(future.result() for future in asked)
    assert sorted(source.fetched) == ["obs/a0.tdb", "obs/a1.tdb"]


def test_a_removed_copy_is_fetched_again(source: Source, folder: Path) -> None:
    listing = source.listing
    copies = make(source, folder).for_dataset(str(source.root), listing.identity(""))
    copies.fetch(listing.entries)
    shutil.rmtree(copies.root)
    assert copies.fetch(listing.entries)
    assert len(source.fetched) == 4


def test_other_files_have_other_copies(source: Source, folder: Path) -> None:
    before = source.listing
    first = make(source, folder).for_dataset(str(source.root), before.identity(""))
    first.fetch(before.entries)
    (source.root / "obs/a1.tdb").write_bytes(b"new")
    after = source.listing
    second = make(source, folder).for_dataset(str(source.root), after.identity(""))
    assert second.fetch(after.entries)
    assert (second.root / "obs/a1.tdb").read_bytes() == b"new"
    assert (first.root / "obs/a1.tdb").read_bytes() == b"o" * 200


def test_an_object_of_another_size_is_no_copy(source: Source, folder: Path) -> None:
    entry = FileEntry("obs/a0.tdb", 99)
    copies = make(source, folder).for_dataset(str(source.root), Listing((entry,)).identity(""))
    with pytest.raises(OSError, match="another size"):
        copies.fetch([entry])
    assert not (copies.root / entry.path).exists()
    assert not list(folder.glob("*.part"))


def test_a_failed_fetch_is_tried_again(source: Source, folder: Path) -> None:
    entry = FileEntry("obs/new", 3)
    copies = make(source, folder).for_dataset(str(source.root), Listing((entry,)).identity(""))
    with pytest.raises(FileNotFoundError):
        copies.fetch([entry])
    (source.root / "obs/new").write_bytes(b"new")
    assert copies.fetch([entry])


def test_no_more_than_there_is_room_for(source: Source, folder: Path) -> None:
    listing = source.listing
    copies = make(source, folder, 4 * 250).for_dataset(str(source.root), listing.identity(""))
    assert copies.fetch([entry for entry in listing.entries if entry.path.endswith("a1.tdb")])
    assert not copies.fetch(listing.entries)
    assert source.fetched == ["obs/a1.tdb"]


def test_processes_that_fetch_at_the_same_time_stay_within_the_room(source: Source, folder: Path) -> None:
    now_s = [100.0]

    def process() -> Copies:
        return Copies(source.fetch, CacheFolder(folder, 4 * 600), lambda: now_s[0], processes=2)

    first, second = process(), process()
    assert [one.reserve(200) for one in (first, second)] == [True, True]
    # Neither knows what the other has taken, so each has half.
    assert [one.reserve(200) for one in (first, second)] == [False, False]
    (folder / "s3-data").mkdir()
    (folder / "s3-data" / "files").write_bytes(bytes(400))
    for one in (first, second):
        one.release(200)
    now_s[0] += 1
    assert [first.reserve(size) for size in (101, 100, 1)] == [False, True, False]
    # What is on its way counts when a process looks again.
    now_s[0] += 1
    assert not first.reserve(1)
    first.release(100)
    now_s[0] += 1
    assert first.reserve(100)


def test_a_failed_fetch_keeps_no_room(source: Source, folder: Path) -> None:
    entry = FileEntry("obs/new", 200)
    copies = make(source, folder, 4 * 250).for_dataset(str(source.root), Listing((entry,)).identity(""))
    for _ in range(3):
        with pytest.raises(FileNotFoundError):
            copies.fetch([entry])
    (source.root / "obs/new").write_bytes(bytes(200))
    assert copies.fetch([entry])


def test_what_a_killed_process_was_fetching_is_removed(source: Source, folder: Path) -> None:
    for name, age_s in (("s3-dead.part", 5000.0), ("s3-running.part", 1.0), ("other.part", 5000.0)):
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age_s,) * 2)
    make(source, folder).for_dataset(str(source.root), source.listing.identity(""))
    assert names(folder) == ["other.part", "s3-running.part"]


def test_what_makes_room_is_gone_in_one_step(source: Source, folder: Path, monkeypatch) -> None:
    (folder / "s3-old").mkdir()
    (folder / "s3-old" / "file").write_bytes(bytes(800))
    os.utime(folder / "s3-old", (1, 1))
    removing, seen = shutil.rmtree, list[bool]()

    def rmtree(path: Path, **options: bool) -> None:
        seen.append((folder / "s3-old").exists())
        removing(path, **options)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    make(source, folder, 0).for_dataset(str(source.root), "new")
    assert seen == [False]
    assert names(folder) == []


def test_what_was_unused_for_longest_makes_room(source: Source, folder: Path) -> None:
    for name, age_s, size in (("s3-old", 9000.0, 800), ("s3-newer", 5000.0, 100), ("s3-used", 1.0, 800)):
        (folder / name).mkdir()
        (folder / name / "file").write_bytes(b"x" * size)
        os.utime(folder / name, (time.time() - age_s,) * 2)
    (folder / "decoded").mkdir()
    make(source, folder, 4 * 1300).for_dataset(str(source.root), source.listing.identity(""))
    assert names(folder) == ["decoded", "s3-newer", "s3-used"]
    make(source, folder, 4 * 100).for_dataset(str(source.root), source.listing.identity(""))
    # Another process may have it open.
    assert names(folder) == ["decoded", "s3-used"]


@pytest.mark.parametrize("path", ["obs/../../../theirs/a0.tdb", "/theirs", "obs//a0.tdb", "obs/./a0.tdb", ".."])
def test_an_object_of_an_odd_name_is_not_copied(source: Source, folder: Path, path: str) -> None:
    before = sorted(folder.parent.rglob("*"))
    copies = make(source, folder).for_dataset(str(source.root), source.listing.identity(""))
    assert not copies.fetch([FileEntry(path, 3)])
    assert (source.fetched, sorted(folder.parent.rglob("*"))) == ([], before)


@pytest.mark.parametrize("link", ["", "files", "files/obs"])
def test_no_link_is_followed(source: Source, folder: Path, link: str) -> None:
    theirs = folder.parent / "theirs"
    theirs.mkdir()
    copies = make(source, folder).for_dataset(str(source.root), source.listing.identity(""))
    base = copies.root.parent
    (base / link).parent.mkdir(parents=True, exist_ok=True)
    (base / link).symlink_to(theirs)
    os.utime(theirs, (1, 1))
    assert not copies.fetch(source.listing.entries)
    assert not list(theirs.iterdir())
    assert theirs.stat().st_mtime == 1
    for item in (base / link, theirs):
        os.utime(item, (1, 1), follow_symlinks=False)
    make(source, folder, 0).for_dataset(str(source.root), Listing(()).identity(""))
    assert theirs.is_dir()


def test_a_folder_that_is_gone_is_made_again(source: Source, folder: Path) -> None:
    copies = make(source, folder).for_dataset(str(source.root), source.listing.identity(""))
    assert copies.fetch(source.listing.entries)
    shutil.rmtree(folder)
    assert copies.fetch(source.listing.entries)
    assert CacheFolder(folder, ROOM).is_ready()


def test_nothing_is_written_into_a_folder_of_somebody_else(source: Source, folder: Path) -> None:
    copies = make(source, folder).for_dataset(str(source.root), source.listing.identity(""))
    shutil.rmtree(folder)
    (folder / "s3-theirs").mkdir(parents=True)
    (folder / "s3-theirs.part").touch()
    for item in folder.iterdir():
        os.utime(item, (1, 1))
    with pytest.raises(OSError, match="belongs to somebody else"):
        copies.fetch(source.listing.entries)
    make(source, folder, 0).for_dataset(str(source.root), source.listing.identity(""))
    assert names(folder) == ["s3-theirs", "s3-theirs.part"]


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + b"!")


def become_folder(path: Path) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


def become_link(path: Path) -> None:
    path.rename(path.parent / "elsewhere")
    path.symlink_to(path.parent / "elsewhere")


def become_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = [empty, cut, zeros, flip, Path.unlink, become_folder, become_link, become_fifo]


def contents(root: Path) -> dict[str, bytes]:
    return {path: (root / path).read_bytes() for path in ("obs/a0.tdb", "obs/a1.tdb")}


@pytest.mark.parametrize("running", [False, True], ids=["found", "running"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_copy_is_fetched_again(source: Source, folder: Path, caplog, damage, running: bool) -> None:
    listing = source.listing
    copies = make(source, folder).for_dataset(str(source.root), listing.identity(""))
    assert copies.fetch(listing.entries)
    damage(copies.root / "obs/a1.tdb")
    source.fetched.clear()
    if not running:
        copies = make(source, folder).for_dataset(str(source.root), listing.identity(""))
    assert copies.fetch(listing.entries)
    assert copies.fetch(listing.entries)
    assert source.fetched == ["obs/a1.tdb"]
    assert contents(copies.root) == contents(source.root)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == (0 if damage is Path.unlink else 1)
    assert all("obs/a1.tdb" in line and str(source.root) in line for line in lines)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checksums_cost_a_fetch(source: Source, folder: Path, damage) -> None:
    listing = source.listing
    copies = make(source, folder).for_dataset(str(source.root), listing.identity(""))
    assert copies.fetch(listing.entries)
    damage(copies.root.parent / "sums")
    copies = make(source, folder).for_dataset(str(source.root), listing.identity(""))
    assert copies.fetch(listing.entries)
    assert contents(copies.root) == contents(source.root)
    source.fetched.clear()
    copies = make(source, folder).for_dataset(str(source.root), listing.identity(""))
    assert copies.fetch(listing.entries)
    assert not source.fetched


def test_copies_in_each_others_place(source: Source, folder: Path) -> None:
    (source.root / "obs/a0.tdb").write_bytes(b"z" * 200)
    listing = source.listing
    copies = make(source, folder).for_dataset(str(source.root), listing.identity(""))
    assert copies.fetch(listing.entries)
    (copies.root / "obs/a0.tdb").rename(folder / "aside")
    (copies.root / "obs/a1.tdb").rename(copies.root / "obs/a0.tdb")
    (folder / "aside").rename(copies.root / "obs/a1.tdb")
    assert copies.fetch(listing.entries)
    assert contents(copies.root) == contents(source.root)


def test_a_damaged_copy_that_stays_is_not_used(source: Source, folder: Path, caplog, monkeypatch) -> None:
    """It is neither read nor told again and again."""
    listing = source.listing
    copies = make(source, folder).for_dataset(str(source.root), listing.identity(""))
    assert copies.fetch(listing.entries)
    zeros(copies.root / "obs/a1.tdb")
    source.fetched.clear()
    monkeypatch.setattr("cxg.storage.s3_copies.remove", lambda path: None)
    assert [copies.fetch(listing.entries) for _ in range(3)] == [False] * 3
    assert not source.fetched
    assert len(caplog.records) == 1


def test_after_a_failure_of_the_disk_nothing_is_fetched_for_a_while(source: Source, folder: Path) -> None:
    listing, clock = source.listing, Clock()
    copies = Copies(source.fetch, CacheFolder(folder, ROOM), clock).for_dataset(str(source.root), listing.identity(""))
    first = [entry for entry in listing.entries if entry.path == "obs/a0.tdb"]
    assert copies.fetch(first)
    copies.rest()
    assert copies.fetch(first)
    assert not copies.fetch(listing.entries)
    assert source.fetched == ["obs/a0.tdb"]
    clock.now += 61
    assert copies.fetch(listing.entries)


def test_an_object_fetched_wrongly_is_no_copy(source: Source, folder: Path) -> None:
    """What lies on disk in the end is compared, not what was received."""
    listing = source.listing
    copies = make(source, folder).for_dataset(str(source.root), listing.identity(""))
    real = Path.replace

    def replace(path: Path, target: Path) -> Path:
        if target.name == "a1.tdb":
            zeros(path)
        return real(path, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        assert not copies.fetch(listing.entries)
    assert copies.fetch(listing.entries)
    assert contents(copies.root) == contents(source.root)


def test_many_damaged_copies_are_told_in_one_line(source: Source, folder: Path, caplog) -> None:
    listing = source.listing
    copies = make(source, folder).for_dataset(str(source.root), listing.identity(""))
    assert copies.fetch(listing.entries)
    for path in ("obs/a0.tdb", "obs/a1.tdb"):
        zeros(copies.root / path)
    for entry in listing.entries:
        assert copies.fetch([entry])
    assert contents(copies.root) == contents(source.root)
    (line,) = (record.getMessage() for record in caplog.records)
    assert "obs/a0.tdb" in line
