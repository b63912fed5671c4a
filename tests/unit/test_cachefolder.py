"""The folder that caches on disk are kept in."""

from __future__ import annotations

from pathlib import Path

from cxg.cachefolder import cache_folder, folder_bytes


def test_switched_off(tmp_path: Path) -> None:
    assert cache_folder({"CXG_CACHE_DIR": str(tmp_path), "CXG_CACHE_MB": "0"}) == (None, 0)


def test_budget_in_megabytes(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert cache_folder({"CXG_CACHE_DIR": str(folder), "CXG_CACHE_MB": "7"}) == (folder, 7 << 20)


def test_a_folder_others_can_write_to_is_not_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert cache_folder({"CXG_CACHE_DIR": str(tmp_path)}) == (None, 0)


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
