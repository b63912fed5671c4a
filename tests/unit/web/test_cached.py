"""Answers of an application whose cache folder is shared, disturbed or damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from cxg.cachefolder import OWN_NAME
from cxg.config import load
from cxg.decoded import DecodedCache
from cxg.web.app import create_app
from tests import cxgs
from tests.served import stand_in_client


class Server:
    """An application with a cache folder; what it does in the background is done when it is told to."""

    def __init__(self, folder: Path, cache_mb: int = 8) -> None:
        self.root, self.cache = folder / "root", folder / "cache"
        env = {"CXG_CACHE_DIR": str(self.cache), "CXG_CACHE_MB": str(cache_mb)}
        config = load("", {"CXG_DATAROOT": str(self.root)}).config
        self.app: Flask = create_app(config, stand_in_client(folder / "client"), env=env)
        self.app.testing = False
        self.client: FlaskClient = self.app.test_client()
        self.decoded: DecodedCache = self.app.extensions["cxg"].decoded

    def decode(self, *names: str) -> None:
        for name in names:
            self.decoded._make(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataroot of two datasets in a folder."""
    for name in ("a.cxg", "b.cxg"):
        cxgs.build(tmp_path / "root" / name, "Xr/Xc", n_obs=50, n_var=20, seed=len(name))
    return tmp_path


def test_what_others_keep_in_the_folder_is_left_alone(folder: Path) -> None:
    cache = folder / "cache"
    cache.mkdir(mode=0o700)
    for name in ("partial-thesis", "my-columns", f"{'0' * 32}-columns", "s3-backup"):
        (cache / name).mkdir()
        (cache / name / "work").write_bytes(bytes(1 << 20))
    for name in ("lock", "s3-old.part", "cells-obs"):
        (cache / name).write_text("theirs")
    (cache / "partial-link").symlink_to(cache / "my-columns")
    for item in cache.iterdir():
        os.utime(item, (1, 1), follow_symlinks=False)
    before = {item: item.lstat() for item in cache.rglob("*")}
    server = Server(folder, cache_mb=1)
    # What they take does not count either.
    server.decode("a.cxg", "b.cxg")
    made = [item.name.rpartition("-")[2] for item in (cache / OWN_NAME).iterdir() if item.is_dir()]
    assert sorted(made) == ["columns", "columns", "obs", "obs", "var", "var"]
    kept = {item: item.lstat() for item in before}
    assert {item: (one.st_size, one.st_mtime) for item, one in kept.items()} == {
        item: (one.st_size, one.st_mtime) for item, one in before.items()
    }


def test_a_folder_that_is_taken_costs_the_copies_only(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "cache" / OWN_NAME / "partial-thesis").mkdir(parents=True)
    (folder / "cache").chmod(0o700)
    server = Server(folder)
    server.decode("a.cxg")
    assert [item.name for item in (folder / "cache").rglob("*")] == [OWN_NAME, "partial-thesis"]
    assert OWN_NAME in caplog.text
    assert server.client.get("/d/a.cxg/api/v0.2/layout/obs").status_code == 200


def test_a_folder_that_is_removed_is_made_again(folder: Path) -> None:
    server = Server(folder)
    server.decode("a.cxg")
    names = sorted(item.name for item in (folder / "cache" / OWN_NAME).iterdir())
    (folder / "cache").rename(folder / "gone")
    server.decode("a.cxg")
    assert sorted(item.name for item in (folder / "cache" / OWN_NAME).iterdir()) == names
