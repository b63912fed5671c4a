"""A dataroot that goes away and comes back: it is told as such, what is open stays, and nobody has to restart."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from cxg.config import default, load
from cxg.datasets.dataroot import Dataroot, SingleRoot
from cxg.datasets.opening import Times
from cxg.errors import DatasetNotFound, StorageUnavailable
from cxg.format.dataset import Dataset
from cxg.storage.storage import Storage
from cxg.web.app import create_app
from cxg.web.readiness import Readiness
from tests import cxgs
from tests.served import put_parts, serve, stand_in_client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    for number, name in enumerate(("a.cxg", "b.cxg")):
        cxgs.build(path / name, n_obs=12, n_var=6, seed=number, embeddings=("umap",))
    return path


@pytest.fixture
def root(folder: Path) -> Dataroot:
    return Dataroot(Storage(default()), str(folder))


def fail(monkeypatch: pytest.MonkeyPatch, path: Path, code: int) -> None:
    """Have every look at `path`, and below it, fail."""

    def failing(call: Any) -> Any:
        def look(what: Any, *args: Any, **options: Any) -> Any:
            if not isinstance(what, int) and f"{os.fspath(what)}/".startswith(f"{path}/"):
                raise OSError(code, os.strerror(code), str(what))
            return call(what, *args, **options)

        return look

    for name in ("stat", "lstat", "scandir"):
        monkeypatch.setattr(os, name, failing(getattr(os, name)))


def test_a_name_that_is_not_there_is_not_found_while_the_root_is_there(root: Dataroot) -> None:
    with pytest.raises(DatasetNotFound):
        root.dataset_uri("c.cxg")


def test_a_root_that_was_renamed_away_is_not_a_missing_dataset(root: Dataroot, folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    for name in ("a.cxg", "c.cxg"):
        with pytest.raises(StorageUnavailable, match="dataroot"):
            root.dataset_uri(name)
    folder.with_name("elsewhere").rename(folder)
    assert root.dataset_uri("a.cxg") == str(folder / "a.cxg")


def test_nor_is_a_root_that_is_no_folder_any_more_or_a_link_that_leads_nowhere(root: Dataroot, folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))
    folder.write_text("")
    with pytest.raises(StorageUnavailable):
        root.dataset_uri("a.cxg")
    folder.unlink()
    folder.symlink_to(folder.with_name("gone"))
    with pytest.raises(StorageUnavailable):
        root.dataset_uri("a.cxg")


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ENOTCONN, errno.ESTALE, errno.ENOENT, errno.ETIMEDOUT])
def test_nor_is_a_root_that_cannot_be_looked_at(
    root: Dataroot, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fail(monkeypatch, folder, code)
    with pytest.raises(StorageUnavailable):
        root.dataset_uri("a.cxg")
    with pytest.raises(StorageUnavailable):
        root.names()
    with pytest.raises(StorageUnavailable):
        root.check()


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOTCONN, errno.ESTALE])
def test_a_dataset_whose_folder_does_not_answer_is_not_missing(
    root: Dataroot, folder: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fail(monkeypatch, folder / "a.cxg", code)
    with pytest.raises(StorageUnavailable):
        root.dataset_uri("a.cxg")
    assert root.dataset_uri("b.cxg")


def test_a_mount_point_without_its_file_system_is_an_empty_folder(root: Dataroot, folder: Path) -> None:
    """Another folder than before, without any dataset."""
    assert root.dataset_uri("a.cxg")
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()
    (folder / "lost+found").mkdir()
    for look in (lambda: root.dataset_uri("a.cxg"), root.names, root.check):
        with pytest.raises(StorageUnavailable, match="mount"):
            look()
    shutil.rmtree(folder)
    folder.with_name("elsewhere").rename(folder)
    assert root.names() == ("a.cxg", "b.cxg")
    root.check()


def test_a_folder_that_took_the_place_of_the_old_one_is_the_dataroot_from_then_on(root: Dataroot, folder: Path) -> None:
    assert root.names() == ("a.cxg", "b.cxg")
    folder.rename(folder.with_name("elsewhere"))
    cxgs.build(folder / "new.cxg", n_obs=12, n_var=6)
    with pytest.raises(DatasetNotFound):
        root.dataset_uri("a.cxg")
    assert root.names() == ("new.cxg",)
    shutil.rmtree(folder / "new.cxg")
    assert root.names() == ()


def test_a_root_whose_datasets_were_removed_one_by_one_is_empty(root: Dataroot, folder: Path) -> None:
    assert root.names() == ("a.cxg", "b.cxg")
    for name in ("a.cxg", "b.cxg"):
        shutil.rmtree(folder / name)
    with pytest.raises(DatasetNotFound):
        root.dataset_uri("a.cxg")
    assert root.names() == ()
    root.check()


def test_a_root_that_was_always_empty_is_empty(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    root = Dataroot(Storage(default()), str(tmp_path / "root"))
    assert root.names() == ()
    root.check()
    with pytest.raises(DatasetNotFound):
        root.dataset_uri("a.cxg")


@pytest.mark.parametrize("is_empty", [False, True])
def test_a_single_dataset_that_went_away_is_no_missing_one(folder: Path, *, is_empty: bool) -> None:
    root = SingleRoot(Storage(default()), str(folder / "a.cxg"))
    assert root.dataset_uri("") == str(folder / "a.cxg")
    (folder / "a.cxg").rename(folder / "elsewhere")
    if is_empty:
        (folder / "a.cxg").mkdir()
    for look in (lambda: root.dataset_uri(""), root.check):
        with pytest.raises(StorageUnavailable, match=r"dataroot|dataset"):
            look()
    with pytest.raises(DatasetNotFound):
        root.dataset_uri("other")


GENE = "api/v0.2/data/var?var:name_0=gene"


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of datasets as they are closed."""
    names: list[str] = []
    close = Dataset.close
    monkeypatch.setattr(Dataset, "close", lambda dataset: (names.append(dataset.name), close(dataset))[1])
    return names


# Every request looks at the files again.
ALWAYS = Times(names_s=-1.0, failure_s=0.0, check_s=-1.0, most_check_s=-1.0)


def check_away(client: FlaskClient, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 503, (url, answer.text)
    assert answer.headers["Retry-After"] == "5"
    return answer.text


@pytest.mark.parametrize("way", ["renamed", "unmounted"])
def test_open_datasets_go_on_while_the_dataroot_is_away(
    folder: Path, tmp_path: Path, closed: list[str], way: str
) -> None:
    client = serve(folder, tmp_path / "client", times=ALWAYS)
    catalog = client.application.extensions["cxg"].catalog
    put_parts(client.application, readiness=Readiness(catalog, ttl_s=0.0))
    warm = client.get(f"/d/a.cxg/{GENE}1")
    assert warm.status_code == 200
    away = folder.with_name("elsewhere")
    folder.rename(away)
    if way == "unmounted":
        folder.mkdir()

    assert client.get(f"/d/a.cxg/{GENE}1").data == warm.data
    assert client.get("/d/a.cxg/api/v0.2/schema").status_code == 200  # nothing has to be read for it
    # What was not read before, what was not open before, and what never was.
    for url in (f"/d/a.cxg/{GENE}2", "/d/a.cxg/thumbnail.png", f"/d/b.cxg/{GENE}1", "/d/b.cxg/", "/d/no.cxg/"):
        assert "damaged" not in check_away(client, url)
    assert "<html" in check_away(client, "/")
    health = client.get("/health")
    assert (health.status_code, client.get("/health/live").status_code) == (503, 200)
    assert closed == ["a.cxg"] * closed.count("a.cxg")
    with catalog.lease("a.cxg"):  # it is still open
        pass

    if way == "unmounted":
        folder.rmdir()
    away.rename(folder)
    for url in (f"/d/a.cxg/{GENE}2", f"/d/b.cxg/{GENE}1", "/d/a.cxg/thumbnail.png", "/", "/health"):
        assert client.get(url).status_code == 200, url
    assert client.get("/d/no.cxg/").status_code == 404


def test_a_dataset_that_is_deleted_while_others_stay_is_not_found(
    folder: Path, tmp_path: Path, closed: list[str]
) -> None:
    client = serve(folder, tmp_path / "client", times=ALWAYS)
    assert client.get(f"/d/a.cxg/{GENE}1").status_code == 200
    shutil.rmtree(folder / "a.cxg")
    assert client.get(f"/d/a.cxg/{GENE}1").status_code == 404
    assert closed == ["a.cxg"]


def test_a_single_dataset_that_is_away_is_answered_from_what_is_there(
    folder: Path, tmp_path: Path, closed: list[str]
) -> None:
    config = load(f"single_dataset:\n  datapath: {folder}/a.cxg\n", {}).config
    client = create_app(config, stand_in_client(tmp_path / "client"), times=ALWAYS).test_client()
    warm = client.get(f"/{GENE}1")
    assert warm.status_code == 200
    (folder / "a.cxg").rename(folder / "elsewhere")
    assert client.get(f"/{GENE}1").data == warm.data
    check_away(client, f"/{GENE}2")
    (folder / "elsewhere").rename(folder / "a.cxg")
    assert client.get(f"/{GENE}2").status_code == 200
    assert not closed
