"""The folder that caches on disk are kept in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from cxg.config.runtime import Runtime
from cxg.errors import ConfigError
from cxg.storage import cache_folder as cachefolder
from cxg.storage.cache_folder import MARKER, OWN_NAME, CacheFolder, cache_folder, folder_bytes, remove

Mount = Callable[[str], None]


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mount:
    """Have the system say that the test's folder is on a file system of some kind."""

    def say(kind: str) -> None:
        device = tmp_path.stat().st_dev
        lines = (
            "22 28 0:20 / /sys rw,nosuid shared:7 - sysfs sysfs rw",
            "24 28 0:22 / /a\\040-\\040b rw shared:9 master:1 - tmpfs tmpfs rw,size=1g",
            f"31 28 {os.major(device)}:{os.minor(device)} / /tmp rw,noatime - {kind} some\xffthing rw",
        )
        (tmp_path / "mountinfo").write_bytes("\n".join(lines).encode("latin-1"))
        monkeypatch.setattr(cachefolder, "MOUNTS", tmp_path / "mountinfo")

    say("ext4")
    return say


def test_switched_off(tmp_path: Path) -> None:
    assert cache_folder(Runtime.of({"CXG_CACHE_DIR": str(tmp_path), "CXG_CACHE_MB": "0"})) is None
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_budget_in_megabytes(tmp_path: Path, mount: Mount, kind: str) -> None:
    mount(kind)
    folder = tmp_path / "new"
    found = cache_folder(Runtime.of({"CXG_CACHE_DIR": str(folder), "CXG_CACHE_MB": "7"}))
    assert found is not None
    assert (found.path, found.budget_bytes) == (folder / OWN_NAME, 7 << 20)


def test_without_a_budget_a_share_of_the_disk(tmp_path: Path, mount: Mount, caplog: pytest.LogCaptureFixture) -> None:
    found = cache_folder(Runtime.of({"CXG_CACHE_DIR": str(tmp_path)}))
    assert found is not None
    assert found.path == tmp_path / OWN_NAME
    assert found.budget_bytes > 0
    assert not caplog.records


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
@pytest.mark.parametrize("named", [True, False])
def test_without_a_budget_memory_is_not_used(
    tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind, named
) -> None:
    mount(kind)
    monkeypatch.setattr(cachefolder.tempfile, "tempdir", str(tmp_path))
    env = {"CXG_CACHE_DIR": str(tmp_path)} if named else {}
    assert [cache_folder(Runtime.of(env)), cache_folder(Runtime.of(env))] == [None] * 2
    # Only what was asked for is missed.
    assert ["CXG_CACHE_MB" in record.getMessage() for record in caplog.records] == [True] * named


def test_where_the_system_does_not_say_it_is_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cachefolder, "MOUNTS", tmp_path / "missing")
    assert cache_folder(Runtime.of({"CXG_CACHE_DIR": str(tmp_path)})) is not None


@pytest.mark.parametrize("text", ["10GB", "-1", "1.5", "²", "9" * 5000])
def test_a_budget_that_is_no_number_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"CXG_CACHE_MB .* whole number of megabytes"):
        cache_folder(Runtime.of({"CXG_CACHE_DIR": str(tmp_path), "CXG_CACHE_MB": text}))


def test_a_named_folder_that_cannot_be_used_is_told_once(tmp_path: Path, mount: Mount, caplog) -> None:
    (tmp_path / "file").touch()
    for _ in range(2):
        assert cache_folder(Runtime.of({"CXG_CACHE_DIR": str(tmp_path / "file")})) is None
    (told,) = caplog.records
    assert "CXG_CACHE_DIR" in told.getMessage()
    assert told.levelname == "WARNING"


def test_a_folder_others_can_write_to_is_not_used(tmp_path: Path, mount: Mount, caplog) -> None:
    tmp_path.chmod(0o777)
    assert cache_folder(Runtime.of({"CXG_CACHE_DIR": str(tmp_path)})) is None
    assert "write" in caplog.text


def test_a_link_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert cache_folder(Runtime.of({"CXG_CACHE_DIR": str(tmp_path / "link")})) is None


def test_the_size_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "a" / "b" / "five").write_bytes(b"12345")
    assert folder_bytes(tmp_path) == 6
    assert folder_bytes(tmp_path / "missing") == 0
    (tmp_path / "a" / "out").symlink_to(tmp_path / "a" / "b")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    link_bytes = (tmp_path / "link").lstat().st_size
    # No link is followed.
    assert folder_bytes(tmp_path / "link") == link_bytes
    assert folder_bytes(tmp_path / "a") == 5
    assert folder_bytes(tmp_path / "one") == 1


def test_removing_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "file").touch()
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "inside").symlink_to(tmp_path / "theirs")
    (tmp_path / "link").symlink_to(tmp_path / "theirs")
    for name in ("ours", "link", "missing"):
        remove(tmp_path / name)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["theirs"]
    assert (tmp_path / "theirs" / "file").exists()


ENV_MB = {"CXG_CACHE_MB": "1"}


def is_made(item: Path) -> None:
    item.mkdir()


def holds_a_file(item: Path) -> None:
    item.mkdir()
    (item / "thesis").touch()


def has_another_marker(item: Path) -> None:
    item.mkdir()
    (item / MARKER).write_text("Signature: 8a477f597d28d172789f06886806bc55\n# by somebody else\n")


def has_a_marker_behind_a_link(item: Path) -> None:
    ours = CacheFolder(item.parent / "ours", 1)
    assert ours.is_ready()
    item.mkdir()
    (item / MARKER).symlink_to(ours.path / MARKER)


def is_a_link_to_one(item: Path) -> None:
    ours = CacheFolder(item.parent / "ours", 1)
    assert ours.is_ready()
    item.symlink_to(ours.path)


TAKEN = [is_made, holds_a_file, has_another_marker, has_a_marker_behind_a_link, is_a_link_to_one, Path.touch]


@pytest.mark.parametrize("take", TAKEN)
def test_a_folder_without_our_marker_is_left_alone(tmp_path: Path, mount: Mount, caplog, take) -> None:
    take(tmp_path / OWN_NAME)
    before = sorted(tmp_path.rglob("*"))
    assert cache_folder(Runtime.of({"CXG_CACHE_DIR": str(tmp_path), **ENV_MB})) is None
    assert not CacheFolder(tmp_path / OWN_NAME, 1).is_ready()
    assert sorted(tmp_path.rglob("*")) == before
    (told,) = caplog.records
    assert all(part in told.getMessage() for part in ("CXG_CACHE_DIR", OWN_NAME, "rename or remove"))


def test_our_own_folder_must_be_private_too(tmp_path: Path, mount: Mount, caplog) -> None:
    found = cache_folder(Runtime.of({"CXG_CACHE_DIR": str(tmp_path), **ENV_MB}))
    assert found is not None
    found.path.chmod(0o777)
    assert cache_folder(Runtime.of({"CXG_CACHE_DIR": str(tmp_path), **ENV_MB})) is None
    assert "nobody else" in caplog.text


def test_what_others_keep_beside_it_is_not_measured(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cachefolder, "MOUNTS", tmp_path / "missing")
    monkeypatch.setattr(cachefolder.shutil, "disk_usage", lambda _: SimpleNamespace(free=40))
    (tmp_path / "theirs").write_bytes(bytes(1 << 20))
    found = cache_folder(Runtime.of({"CXG_CACHE_DIR": str(tmp_path)}))
    assert found is not None
    assert found.budget_bytes == (40 + folder_bytes(found.path)) // 4


def test_two_processes_make_one_folder(tmp_path: Path, monkeypatch) -> None:
    own, rename = tmp_path / OWN_NAME, Path.rename

    def be_late(path: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        assert CacheFolder(own, 1).is_ready()
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", be_late)
    assert CacheFolder(own, 1).is_ready()
    assert [item.name for item in tmp_path.iterdir()] == [OWN_NAME]


def hold_as_folder(lock: Path) -> None:
    lock.mkdir()


def hold_as_link(lock: Path) -> None:
    (lock.parent.parent / "theirs").write_text("text")
    lock.symlink_to(lock.parent.parent / "theirs")


@pytest.mark.parametrize("spoil", [Path.touch, hold_as_folder, hold_as_link, os.mkfifo])
def test_the_lock_may_be_anything(tmp_path: Path, spoil) -> None:
    ours = CacheFolder(tmp_path / OWN_NAME, 1)
    assert ours.is_ready()
    spoil(ours.path / "lock")
    with ours.locked() as first, ours.locked() as second:
        assert (first, second) == (True, False)
    if (tmp_path / "theirs").exists():
        assert (tmp_path / "theirs").read_text() == "text"


def test_a_full_disk_is_not_used(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cachefolder, "MOUNTS", tmp_path / "missing")
    monkeypatch.setattr(cachefolder.shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    monkeypatch.setattr(cachefolder, "folder_bytes", lambda _: 0)
    assert cache_folder(Runtime.of({"CXG_CACHE_DIR": str(tmp_path)})) is None


def test_a_copy_is_removed_in_one_step(tmp_path: Path, monkeypatch) -> None:
    ours = CacheFolder(tmp_path / OWN_NAME, 0)
    assert ours.is_ready()
    copy = ours.path / f"{'0' * 32}-obs"
    copy.mkdir()
    removing, seen = shutil.rmtree, list[bool]()

    def rmtree(path: Path, **options: bool) -> None:
        seen.append(copy.exists())
        removing(path, **options)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    ours.make_room(1)
    assert seen == [False]
    assert [item.name for item in ours.path.iterdir()] == [MARKER]
