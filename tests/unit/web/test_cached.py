"""Answers of an application whose cache folder is shared, disturbed or damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from cxg.config import load
from cxg.config.runtime import Runtime
from cxg.datasets.catalog import Catalog
from cxg.decoded import matrix as runs
from cxg.decoded.cache import DecodedCache
from cxg.decoded.pace import Pace
from cxg.memory import MemoryPlan
from cxg.storage import checksums
from cxg.storage.cache_folder import OWN_NAME, cache_folder
from cxg.web.app import create_app
from tests import cxgs
from tests.background import Background, Clock
from tests.served import put_parts, stand_in_client

# No answer is kept: each one shows what is on disk.
PLAN = MemoryPlan(total_mb=1000, workers=1, threads=8, answers_mb=0)


class Server:
    """An application with a cache folder; what it does in the background is done when it is told to."""

    def __init__(self, folder: Path, cache_mb: int = 8, root: Path | None = None) -> None:
        self.root, self.cache = root or folder / "root", folder / "cache"
        env = {"CXG_CACHE_DIR": str(self.cache), "CXG_CACHE_MB": str(cache_mb)}
        config = load("", {"CXG_DATAROOT": str(self.root)}).config
        self.app: Flask = create_app(config, stand_in_client(folder / "client"), runtime=Runtime.of(env), plan=PLAN)
        self.app.testing = False
        self.client: FlaskClient = self.app.test_client()
        self.catalog: Catalog = self.app.extensions["cxg"].catalog
        self.background = Background()
        # With a clock that hardly moves: nothing is asked for a second time.
        clock = Clock()
        pace = Pace(delay_s=0.0, clock=clock, sleep=clock.sleep, start=self.background)
        self.decoded = DecodedCache(self.catalog, cache_folder(Runtime.of(env)), pace=pace)
        put_parts(self.app, decoded=self.decoded)

    def decode(self, *names: str) -> None:
        for name in names:
            self.decoded.make(name)


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


def test_other_files_in_the_folder_are_left_alone(folder: Path) -> None:
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
    assert sorted(made) == ["columns", "columns", "labels", "labels", "obs", "obs", "var", "var"]
    kept = {item: item.lstat() for item in before}
    assert {item: (one.st_size, one.st_mtime) for item, one in kept.items()} == {
        item: (one.st_size, one.st_mtime) for item, one in before.items()
    }


def test_a_folder_that_is_taken_only_prevents_copies(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
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


def test_datasets_that_look_alike_are_both_decoded(folder: Path, twins) -> None:
    server = Server(folder)
    for name in twins:
        with server.catalog.lease(name) as dataset:
            server.decoded.request(dataset)
    server.background.run()
    for name in twins:
        with server.catalog.lease(name) as dataset:
            assert (server.cache / OWN_NAME / f"{dataset.identity}-columns").is_dir()


@pytest.mark.parametrize("running", [True, False])
def test_values_altered_under_their_name_are_detected(folder: Path, twins, running) -> None:
    server = Server(folder)
    server.decode("a.cxg")
    assert answers(server, "a.cxg") == twins["a.cxg"]
    alter(folder / "root" / "a.cxg")
    if running:
        server.catalog.recheck("a.cxg")
    else:
        server = Server(folder)
    assert answers(server, "a.cxg") == twins["zz.cxg"]
    server.decode("a.cxg")
    assert answers(server, "a.cxg") == twins["zz.cxg"]


def test_a_link_to_a_similar_dataset_is_detected(folder: Path, twins) -> None:
    link = folder / "root" / "link.cxg"
    link.symlink_to("a.cxg")
    server = Server(folder)
    server.decode("link.cxg")
    assert answers(server, "link.cxg") == twins["a.cxg"]
    link.unlink()
    link.symlink_to("zz.cxg")
    server.catalog.recheck("link.cxg")
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


COPIES = ("columns", "labels", "obs", "var")
# Sums are compared with their checksums when a comparison uses them; see tests/unit/decoded/test_label_sums.py.
FILES = {
    "columns": ("manifest", "obs-1.npy", "emb-1.npy"),
    "labels": ("manifest", "columns.json", "codes-0.npy"),
} | dict.fromkeys(("obs", "var"), ("manifest", "indptr.npy", "other.u2", "value.f4"))


@pytest.fixture(scope="module")
def decoded_once(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes]]:
    """A cache folder that holds copies of both datasets, and the answers about the first without any."""
    folder = tmp_path_factory.mktemp("decoded")
    server = Server(folder, root=made)
    expected = answers(server, "a.cxg")
    server.decode("a.cxg", "b.cxg")
    return folder / "cache", expected


class Damaged:
    """The copies of one dataset in a folder of the test's own, the answers there should be, and the server."""

    def __init__(self, folder: Path, made: Path, cache: Path, expected: dict[str, bytes], monkeypatch) -> None:
        shutil.copytree(cache, folder / "cache", copy_function=shutil.copy2)
        self.expected, self._folder, self._made, self._monkeypatch = expected, folder, made, monkeypatch
        self.restart()
        with self.server.catalog.lease("a.cxg") as dataset, self.server.catalog.lease("b.cxg") as other:
            self.copies = {what: self.own / f"{dataset.identity}-{what}" for what in COPIES}
            self.others = {what: self.own / f"{other.identity}-{what}" for what in COPIES}

    @property
    def own(self) -> Path:
        return self._folder / "cache" / OWN_NAME

    def restart(self) -> None:
        self.server, self.wanted = Server(self._folder, root=self._made), list[str]()
        self._monkeypatch.setattr(self.server.decoded, "request", lambda dataset: self.wanted.append(dataset.name))

    def ask(self) -> None:
        assert answers(self.server, "a.cxg") == self.expected

    def files(self) -> list[Path]:
        return [path for folder in self.copies.values() for path in folder.iterdir()]

    def check_copies_are_used(self) -> None:
        """No answer but that about the names of cells may come from the CXG."""
        with self._monkeypatch.context() as patch, self.server.catalog.lease("a.cxg") as dataset:
            for owner, name in (
                (dataset, "read_X_columns"),
                (dataset, "sum_X_columns"),
                (dataset, "iter_X_rows"),
                (dataset, "read_embedding"),
                (dataset.obs, "read_stored"),
            ):
                patch.setattr(owner, name, lambda *_, name=name: pytest.fail(f"{name} was called"))
            self.ask()


@pytest.fixture
def damaged(made: Path, decoded_once, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog) -> Damaged:
    caplog.clear()
    return Damaged(tmp_path, made, *decoded_once, monkeypatch)


def test_valid_copies_are_used(damaged: Damaged, caplog: pytest.LogCaptureFixture) -> None:
    damaged.check_copies_are_used()
    damaged.check_copies_are_used()
    assert not caplog.records


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(64))


def half_zeros(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2].ljust(len(data), b"\0"))


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip_first(path: Path) -> None:
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])


def flip_last(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 0x80]))


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def become_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def become_link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


DAMAGES = [empty, cut, lengthen, half_zeros, zeros, flip_first, flip_last]
DAMAGES += [Path.unlink, become_folder, become_fifo, become_link]


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "damaged and made again" in record.getMessage()]


@pytest.mark.parametrize("running", [False, True], ids=["found", "running"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_all_files(damaged: Damaged, caplog, damage, running: bool) -> None:
    if running:
        damaged.check_copies_are_used()
    for path in damaged.files():
        if path.is_file():
            damage(path)
    for _ in range(3):
        damaged.ask()
    # What is merely removed under a running server is missed only when it is looked for.
    assert len(told(caplog)) == len(COPIES)
    assert all("a.cxg" in line for line in told(caplog))
    assert set(damaged.wanted) == {"a.cxg"}
    damaged.server.decode("a.cxg")
    damaged.check_copies_are_used()
    assert len(told(caplog)) == len(COPIES)


@pytest.mark.parametrize("damage", [flip_last, zeros, Path.unlink])
@pytest.mark.parametrize("what, name", [(what, name) for what in COPIES for name in FILES[what]])
def test_damage_to_one_file(damaged: Damaged, caplog, what: str, name: str, damage) -> None:
    damage(damaged.copies[what] / name)
    damaged.ask()
    (line,) = told(caplog)
    assert f"({what})" in line
    assert name in line
    damaged.server.decode("a.cxg")
    damaged.check_copies_are_used()


def swap(one: Path, other: Path) -> None:
    one.rename(one.parent / "aside")
    other.rename(one)
    (one.parent / "aside").rename(other)


@pytest.mark.parametrize(
    "names",
    [("columns/obs-1.npy", "columns/obs-2.npy"), ("columns/emb-0.npy", "columns/emb-1.npy")]
    + [(f"obs/{name}", f"var/{name}") for name in ("value.f4", "other.u2", "manifest")],
)
def test_swapped_files(damaged: Damaged, caplog, names) -> None:
    one, other = (damaged.copies[name.split("/")[0]] / name.split("/")[1] for name in names)
    swap(one, other)
    damaged.ask()
    assert told(caplog)
    damaged.server.decode("a.cxg")
    damaged.check_copies_are_used()


@pytest.mark.parametrize("what", COPIES)
def test_copies_of_another_dataset(damaged: Damaged, caplog, what: str) -> None:
    swap(damaged.copies[what], damaged.others[what])
    damaged.ask()
    assert "belongs to another dataset" in told(caplog)[0]
    damaged.server.decode("a.cxg")
    damaged.check_copies_are_used()


def become_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("text")


def become_empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def become_dangling(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to("nowhere")


@pytest.mark.parametrize("running", [False, True], ids=["found", "running"])
@pytest.mark.parametrize("damage", [become_file, become_empty, become_dangling, shutil.rmtree])
def test_damage_to_the_folders(damaged: Damaged, caplog, damage, running: bool) -> None:
    if running:
        damaged.check_copies_are_used()
    for folder in damaged.copies.values():
        damage(folder)
    damaged.ask()
    damaged.server.decode("a.cxg")
    damaged.check_copies_are_used()


def test_an_extra_file_does_not_matter(damaged: Damaged, caplog) -> None:
    for folder in damaged.copies.values():
        (folder / "other.u4").write_text("text")
        (folder / "obs-99.npy").write_text("text")
    damaged.check_copies_are_used()
    assert not caplog.records


@pytest.mark.parametrize("call", ["open", "preadv"])
@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE])
def test_files_that_cannot_be_read(damaged: Damaged, caplog, monkeypatch, call: str, number: int) -> None:
    real = getattr(os, call)

    def fail(what: object, *rest: object) -> object:
        name = str(Path(f"/proc/self/fd/{what}").readlink() if isinstance(what, int) else what)
        if any(str(folder) in name for folder in damaged.copies.values()):
            raise OSError(number, os.strerror(number))
        return real(what, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        for _ in range(3):
            damaged.ask()
    assert len(told(caplog)) == len(COPIES)
    damaged.server.decode("a.cxg")
    damaged.check_copies_are_used()


def test_too_many_open_files_are_not_damage(damaged: Damaged, caplog, monkeypatch) -> None:
    real = os.open

    def fail(path: object, *rest: object) -> int:
        if OWN_NAME in str(path):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", fail)
        damaged.ask()
    assert not caplog.records
    damaged.check_copies_are_used()


def test_damage_on_a_read_only_disk_is_reported_once(damaged: Damaged, caplog, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    for path in damaged.files():
        zeros(path)
    with monkeypatch.context() as patch:
        for owner, name in ((Path, "unlink"), (Path, "chmod"), (shutil, "rmtree"), (Path, "rename")):
            patch.setattr(owner, name, refuse)
        for _ in range(3):
            damaged.ask()
            with pytest.raises(OSError, match="Read-only"):
                damaged.server.decode("a.cxg")
    assert len(told(caplog)) == len(COPIES)
    damaged.server.decode("a.cxg")
    damaged.check_copies_are_used()


def test_a_copy_that_is_damaged_again_is_not_made_at_once(damaged: Damaged, monkeypatch) -> None:
    """The disk may be at fault: without a bound, copies would be made again and again."""
    server = damaged.server
    monkeypatch.setattr(server.decoded, "request", partial(DecodedCache.request, server.decoded))
    with server.catalog.lease("a.cxg") as dataset:
        server.decoded.request(dataset)
    server.background.run()
    for expected in (2, 2, 2):
        zeros(damaged.copies["var"] / "value.f4")
        damaged.ask()
        assert server.background.started == expected
        server.background.run()
        server.decode("a.cxg")


def test_a_process_does_not_remove_a_copy_that_another_made_again(damaged: Damaged, caplog) -> None:
    damaged.check_copies_are_used()
    first = damaged.server
    zeros(damaged.copies["obs"] / "value.f4")
    damaged.restart()
    damaged.ask()
    damaged.server.decode("a.cxg")
    made = (damaged.copies["obs"] / "manifest").stat().st_ino
    damaged.server = first
    damaged.check_copies_are_used()
    damaged.server.decode("a.cxg")
    assert (damaged.copies["obs"] / "manifest").stat().st_ino == made
    assert len(told(caplog)) == 1


def test_a_comparison_continues_from_the_cxg_where_its_copy_is_damaged(damaged: Damaged, caplog, monkeypatch) -> None:
    """Of many pieces some are read before the damage is met; no cell may count twice or not at all."""
    monkeypatch.setattr(runs, "PIECE_VALUES", 7)
    monkeypatch.setattr(checksums, "BLOCK_BYTES", 64)
    shutil.rmtree(damaged.copies["obs"])
    damaged.server.decode("a.cxg")
    flip_last(damaged.copies["obs"] / "value.f4")
    with damaged.server.catalog.lease("a.cxg") as dataset:
        cells, direct = np.arange(dataset.n_obs), np.zeros(dataset.n_var)
        mine, blocks = direct.copy(), 0
        for block in damaged.server.decoded.expression(dataset).iter_rows(cells):
            mine, blocks = mine + np.bincount(block.var, block.value, dataset.n_var), blocks + 1
        for block in dataset.iter_X_rows(cells):
            direct += np.bincount(block.var, block.value, dataset.n_var)
    assert blocks > 5
    np.testing.assert_allclose(mine, direct, rtol=1e-6)
    assert len(told(caplog)) == 1
