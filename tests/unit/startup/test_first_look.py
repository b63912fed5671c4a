"""What is wrong with the datasets is told on the console before the server starts, without keeping it waiting."""

import json
import os
import shutil
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import entrypoint
from cxg.cli import launch
from cxg.cli.main import main
from cxg.config import load
from cxg.config.runtime import Runtime
from cxg.format.dataset import Dataset, open_dataset
from cxg.startup import first_look as firstlook
from cxg.startup.first_look import FirstLook
from cxg.storage.storage import Storage
from tests import cxgs
from tests.served import serve, stand_in_client


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    calls: list[Any] = []
    monkeypatch.setattr(launch, "_become", lambda command, env: calls.append(env) or 0)
    monkeypatch.setenv("CXG_CLIENT_DIR", str(stand_in_client(tmp_path / "client")))
    return calls


def launched(capsys: pytest.CaptureFixture[str], path: Path) -> tuple[int, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    code = main(["launch", str(path), "--port", str(port)])
    return code, capsys.readouterr().err


def keep(*names: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        for item in list(root.iterdir()):
            if item.name not in names:
                shutil.rmtree(item) if item.is_dir() else item.unlink()

    return damage


def lose(*names: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        for name in names:
            shutil.rmtree(root / name)

    return damage


DAMAGED = {
    "obs": (lose("obs"), "This CXG is damaged: it has no obs array. Copy the dataset again from its source."),
    "var": (lose("var"), "This CXG is damaged: it has no var array."),
    "obs and var": (lose("obs", "var"), "This CXG is damaged: it has no obs and var arrays."),
    "schema of obs": (lose("obs/__schema"), "it has no obs array"),
    "all but emb": (keep("emb"), "it has no obs and var arrays"),
    "all but Xr": (keep("Xr"), "it has no obs and var arrays"),
    "all but the marker": (keep("__tiledb_group.tdb"), "it has no obs and var arrays"),
    "everything": (keep(), "This CXG is damaged: it is an empty folder. Copy the dataset again from its source."),
    "commits of obs": (lose("obs/__commits"), "obs cannot be read because its commit files are missing"),
}


@pytest.mark.parametrize("name", ["x.cxg", "x"])
@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_dataset_is_not_taken_for_an_empty_dataroot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], started: list[Any], what: str, name: str
) -> None:
    damage, sentence = DAMAGED[what]
    path = cxgs.build(tmp_path / "data" / name, n_obs=5, n_var=5).path
    damage(path)
    if what == "everything" and name == "x":
        return  # an empty folder of any name may be a dataroot
    code, err = launched(capsys, path)
    assert code == 2
    assert started == []
    assert err.startswith(f"cxg: {path}: ")
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("what", DAMAGED)
def test_inside_a_dataroot_the_same_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], started: list[Any], what: str
) -> None:
    damage, sentence = DAMAGED[what]
    damage(cxgs.build(tmp_path / "data" / "x.cxg", n_obs=5, n_var=5).path)
    cxgs.build(tmp_path / "data" / "good.cxg", n_obs=5, n_var=5)
    code, err = launched(capsys, tmp_path / "data")
    assert (code, len(started)) == (0, 1)
    assert err.startswith("cxg: warning: x.cxg: ")
    assert sentence in err
    assert "good.cxg" not in err
    client = serve(tmp_path / "data", tmp_path / "client")
    assert sentence in client.get("/d/x.cxg/api/v0.2/schema").json["message"]
    assert sentence in client.get("/d/x.cxg/").text
    capsys.readouterr()
    assert main(["inspect", "--json", str(tmp_path / "data" / "x.cxg")]) == 1
    assert sentence in json.dumps(json.loads(capsys.readouterr().out)["findings"])


@pytest.mark.parametrize("name", ["x", "data.cxg"])
def test_what_is_a_dataroot_stays_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], started: list[Any], name: str
) -> None:
    cxgs.build(tmp_path / name / "emb.cxg", n_obs=5, n_var=5)
    assert launched(capsys, tmp_path / name) == (0, "")
    assert started[0]["CXG_DATAROOT"] == str(tmp_path / name)


def test_a_folder_that_is_none_is_called_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.cxg").mkdir()
    (tmp_path / "x.cxg" / "notes.txt").write_text("mine")
    assert main(["inspect", str(tmp_path / "x.cxg")]) == 1
    assert "This is not a CXG: it has no obs and var arrays." in capsys.readouterr().out


LACKING: dict[str, tuple[dict[str, Any], str]] = {
    "expression": ({"missing_commit": "Xr"}, "expression"),
    "embedding": ({"missing_commit": "emb/umap"}, "Embedding 'umap' is left out: its commit files are missing"),
    "every embedding": ({"embeddings": ()}, "no embedding"),
}


@pytest.mark.parametrize("what", LACKING)
def test_what_a_dataset_lacks_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], started: list[Any], what: str
) -> None:
    options, sentence = LACKING[what]
    path = cxgs.build(tmp_path / "data" / "x.cxg", n_obs=5, n_var=5, **options).path
    for place in (path, path.parent):
        code, err = launched(capsys, place)
        assert (code, err.count("\n")) == (0, 1)
        assert err.startswith("cxg: warning: ")
        assert sentence in err
    assert len(started) == 2


def made_damaged(root: Path, n: int) -> None:
    for i in range(n):
        (root / f"x{i:02}.cxg").mkdir(parents=True)


def test_many_damaged_ones_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str], started: list[Any]) -> None:
    made_damaged(tmp_path / "data", 24)
    code, err = launched(capsys, tmp_path / "data")
    lines = err.splitlines()
    assert (code, len(lines), len(started)) == (0, 13, 1)
    assert lines[-1] == "cxg: warning: and 12 more datasets have something wrong: run cxg doctor."


def test_a_dataset_that_hangs_does_not_keep_the_start_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_damaged(tmp_path / "data", 1)
    cxgs.build(tmp_path / "data" / "z.cxg", n_obs=5, n_var=5)
    answered = threading.Event()

    def hang(storage: Storage, uri: str, name: str) -> Dataset:
        if name == "z.cxg":
            assert answered.wait(30)
        return open_dataset(storage, uri, name)

    monkeypatch.setattr(firstlook, "open_dataset", hang)
    look = FirstLook(load("", {"CXG_DATAROOT": str(tmp_path / "data")}).config, Runtime())
    look.run(within_s=0.3)
    try:
        assert list(look.lines())[1:] == ["only 1 of 2 datasets were looked at in time: run cxg doctor for all."]
    finally:
        answered.set()


def test_the_container_tells_it_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made_damaged(tmp_path / "data", 1)
    monkeypatch.setenv("CXG_DATAROOT", str(tmp_path / "data"))
    monkeypatch.delenv("CXG_CONFIG_FILE", raising=False)

    class Started(BaseException):
        pass

    def become(*_: object) -> None:
        raise Started

    monkeypatch.setattr(os, "execvpe", become)
    with pytest.raises(Started):
        entrypoint.main(tmp_path / "absent.yaml", entrypoint.Machine(drop_root=lambda user: None))
    assert "cellxgene-eb: warning: x00.cxg: This CXG is damaged: it is an empty folder." in capsys.readouterr().err
    assert firstlook.WITHIN_S <= 2
