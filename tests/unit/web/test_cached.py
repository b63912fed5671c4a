"""Answers of an application whose cache folder is shared, disturbed or damaged."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from cxg.cachefolder import OWN_NAME
from cxg.catalog import Catalog
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
        self.catalog: Catalog = self.app.extensions["cxg"].catalog

    def decode(self, *names: str) -> None:
        for name in names:
            self.decoded._make(name)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataroot of two datasets."""
    root = tmp_path_factory.mktemp("made")
    for number, name in enumerate(("a.cxg", "b.cxg")):
        cxgs.build(root / name, "Xr/Xc", n_obs=50, n_var=20, seed=number)
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A folder with a copy of it, which may be changed."""
    shutil.copytree(made, tmp_path / "root", copy_function=shutil.copy2)
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


API = "/d/{}/api/v0.2/"
BODY = json.dumps(
    {
        "mode": "topN",
        "count": 10,
        "set1": {"filter": {"obs": {"index": [[0, 25]]}}},
        "set2": {"filter": {"obs": {"index": [[25, 50]]}}},
    }
)


def answers(server: Server, name: str) -> dict[str, bytes]:
    """One answer of each kind that comes from a copy where there is one."""
    api = API.format(name)
    urls = {
        "embedding": "layout/obs?layout-name=umap",
        "column": "annotations/obs?annotation-name=number",
        "gene": "data/var?var:name_0=gene7",
        "mean": "summarize/var?method=mean&var:name_0=gene1&var:name_0=gene4&var:name_0=gene5",
    }
    found = {what: server.client.get(api + url) for what, url in urls.items()}
    found["comparison"] = server.client.post(f"{api}diffexp/obs", data=BODY, content_type="application/json")
    assert {what: answer.status_code for what, answer in found.items()} == dict.fromkeys(found, 200)
    return {what: answer.get_data() for what, answer in found.items()}


def alter(dataset: Path) -> None:
    """Change the values of a dataset in place; sizes and times stay."""
    for file in (*dataset.glob("emb/umap/**/a0.tdb"), *dataset.glob("X?/**/a0.tdb"), *dataset.glob("obs/**/a1.tdb")):
        status, data = file.stat(), bytearray(file.read_bytes())
        data[66::4] = bytes(byte ^ 0x10 for byte in data[66::4])
        file.write_bytes(data)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.fixture
def twins(folder: Path) -> dict[str, dict[str, bytes]]:
    """Two datasets of equal names, sizes and times of files but other values, and their answers without any copy."""
    shutil.copytree(folder / "root" / "a.cxg", folder / "root" / "zz.cxg", copy_function=shutil.copy2)
    alter(folder / "root" / "zz.cxg")
    server = Server(folder, cache_mb=0)
    with server.catalog.lease("a.cxg") as one, server.catalog.lease("zz.cxg") as other:
        assert one.fingerprint == other.fingerprint
    found = {name: answers(server, name) for name in ("a.cxg", "zz.cxg")}
    assert not [what for what in found["a.cxg"] if found["a.cxg"][what] == found["zz.cxg"][what]]
    return found


@pytest.mark.parametrize("order", [("a.cxg", "zz.cxg"), ("zz.cxg", "a.cxg")])
def test_datasets_that_look_alike_have_copies_of_their_own(folder: Path, twins, order) -> None:
    server = Server(folder)
    for name in order:
        server.client.get(f"/d/{name}/")
        server.decode(name)
        assert answers(server, name) == twins[name]
    # Another process, say, that begins with an empty memory.
    server = Server(folder)
    for name in order:
        assert answers(server, name) == twins[name]


def test_datasets_that_look_alike_are_both_decoded(folder: Path, twins, monkeypatch: pytest.MonkeyPatch) -> None:
    server, wanted = Server(folder), list[str]()
    monkeypatch.setattr(server.decoded, "_wanted", wanted)
    monkeypatch.setattr(server.decoded, "_work", lambda: None)
    for name in twins:
        with server.catalog.lease(name) as dataset:
            server.decoded.want(dataset)
    assert wanted == list(twins)


@pytest.mark.parametrize("running", [True, False])
def test_values_altered_under_their_name_are_noticed(folder: Path, twins, running) -> None:
    server = Server(folder)
    server.decode("a.cxg")
    assert answers(server, "a.cxg") == twins["a.cxg"]
    alter(folder / "root" / "a.cxg")
    if running:
        server.catalog.suspect("a.cxg")
    else:
        server = Server(folder)
    assert answers(server, "a.cxg") == twins["zz.cxg"]
    server.decode("a.cxg")
    assert answers(server, "a.cxg") == twins["zz.cxg"]


def test_a_link_that_leads_to_a_lookalike_is_noticed(folder: Path, twins) -> None:
    link = folder / "root" / "link.cxg"
    link.symlink_to("a.cxg")
    server = Server(folder)
    server.decode("link.cxg")
    assert answers(server, "link.cxg") == twins["a.cxg"]
    link.unlink()
    link.symlink_to("zz.cxg")
    server.catalog.suspect("link.cxg")
    assert answers(server, "link.cxg") == twins["zz.cxg"]


def test_machines_agree_on_etags(folder: Path, twins) -> None:
    """Each has its own cache, and other times of change."""
    shutil.copytree(folder / "root", folder / "two" / "root", copy_function=shutil.copy2)
    url = API.format("a.cxg") + "layout/obs"
    etags = {Server(place).client.get(url).headers["ETag"] for place in (folder, folder / "two")}
    # The configuration, of which the place of the data is a part, is in them too.
    assert len(etags) == 2
    with (
        Server(folder).catalog.lease("a.cxg") as one,
        Server(folder / "two").catalog.lease("a.cxg") as other,
    ):
        assert one.fingerprint == other.fingerprint
        assert one.identity != other.identity
