"""The folder that caches on disk are kept in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cxg import cachefolder
from cxg.cachefolder import cache_folder, folder_bytes
from cxg.errors import ConfigError

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
        monkeypatch.setattr(cachefolder, "_MOUNTS", tmp_path / "mountinfo")

    cachefolder._warn.cache_clear()
    say("ext4")
    return say


def test_switched_off(tmp_path: Path) -> None:
    assert cache_folder({"CXG_CACHE_DIR": str(tmp_path), "CXG_CACHE_MB": "0"}) == (None, 0)


@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_budget_in_megabytes(tmp_path: Path, mount: Mount, kind: str) -> None:
    mount(kind)
    folder = tmp_path / "new"
    assert cache_folder({"CXG_CACHE_DIR": str(folder), "CXG_CACHE_MB": "7"}) == (folder, 7 << 20)


def test_without_a_budget_a_share_of_the_disk(tmp_path: Path, mount: Mount, caplog: pytest.LogCaptureFixture) -> None:
    folder, budget_bytes = cache_folder({"CXG_CACHE_DIR": str(tmp_path)})
    assert folder == tmp_path
    assert budget_bytes > 0
    assert not caplog.records


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
@pytest.mark.parametrize("named", [True, False])
def test_without_a_budget_memory_is_not_used(
    tmp_path: Path, mount: Mount, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind, named
) -> None:
    mount(kind)
    monkeypatch.setattr(cachefolder.tempfile, "tempdir", str(tmp_path))
    env = {"CXG_CACHE_DIR": str(tmp_path)} if named else {}
    assert [cache_folder(env), cache_folder(env)] == [(None, 0)] * 2
    # Only what was asked for is missed.
    assert ["CXG_CACHE_MB" in record.getMessage() for record in caplog.records] == [True] * named


def test_where_the_system_does_not_say_it_is_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cachefolder, "_MOUNTS", tmp_path / "missing")
    assert cache_folder({"CXG_CACHE_DIR": str(tmp_path)})[0] == tmp_path


@pytest.mark.parametrize("text", ["10GB", "-1", "1.5", "²", "9" * 5000])
def test_a_budget_that_is_no_number_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"CXG_CACHE_MB .* whole number of megabytes"):
        cache_folder({"CXG_CACHE_DIR": str(tmp_path), "CXG_CACHE_MB": text})


def test_a_named_folder_that_cannot_be_used_is_told_once(tmp_path: Path, mount: Mount, caplog) -> None:
    (tmp_path / "file").touch()
    for _ in range(2):
        assert cache_folder({"CXG_CACHE_DIR": str(tmp_path / "file")}) == (None, 0)
    (told,) = caplog.records
    assert "CXG_CACHE_DIR" in told.getMessage()
    assert told.levelname == "WARNING"


def test_a_folder_others_can_write_to_is_not_used(tmp_path: Path, mount: Mount, caplog) -> None:
    tmp_path.chmod(0o777)
    assert cache_folder({"CXG_CACHE_DIR": str(tmp_path)}) == (None, 0)
    assert "write" in caplog.text


def test_a_link_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert cache_folder({"CXG_CACHE_DIR": str(tmp_path / "link")}) == (None, 0)


def test_the_size_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "one").write_bytes(b"1")
    (tmp_path / "a" / "b" / "five").write_bytes(b"12345")
    assert folder_bytes(tmp_path) == 6
    assert folder_bytes(tmp_path / "missing") == 0
