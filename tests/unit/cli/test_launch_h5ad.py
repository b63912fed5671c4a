"""`cxg launch FILE.h5ad`: converted into the cache folder once for each state of the file, then served."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxg.cli import launch
from tests.served import stand_in_client
from tests.unit.convert.h5ads import default_matrix, make_h5ad

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An h5ad file whose report has a warning; the cache folder and the client are the test's own."""
    monkeypatch.setenv("CXG_CLIENT_DIR", str(stand_in_client(tmp_path / "client")))
    monkeypatch.setenv("CXG_CACHE_DIR", str(tmp_path / "cache"))
    return make_h5ad(tmp_path / "my cells.h5ad", obs={"odd": ["a" * 60_000, *"bcdef"]})


def port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def served(started: list[Any]) -> Path:
    """The one dataset that the last server was given."""
    return Path(started[-1][1]["CXG_DATAPATH"])


def test_a_file_is_converted_once(run: Run, file: Path, started: list[Any], tmp_path: Path) -> None:
    code, out, _ = run("launch", str(file), "--port", port())
    assert code == 0
    assert f"Converted {file}" in out
    first, report = served(started), out.split("Serving")[0].split("\n", 1)[1]
    assert first.name == "my cells.cxg"
    assert first.is_relative_to(tmp_path / "cache")
    written = {path: path.stat().st_mtime_ns for path in first.rglob("*")}
    assert written
    code, out, _ = run("launch", str(file), "--port", port())
    assert code == 0
    assert out.startswith(f"Converted before: {file}\n{report}")
    assert served(started) == first
    assert {path: path.stat().st_mtime_ns for path in first.rglob("*")} == written


def test_a_file_that_changed_is_converted_again(run: Run, file: Path, started: list[Any]) -> None:
    seen = []
    for value in (2.0, 3.0, 4.0):
        assert run("launch", str(file), "--port", port())[0] == 0
        seen.append(served(started))
        make_h5ad(file, default_matrix() * value)
        os.utime(file, ns=(int(value), int(value)))
    assert len(set(seen)) == 3
    assert [path.is_dir() for path in seen] == [False, True, True]


def test_two_files_of_one_name_are_two_datasets(run: Run, file: Path, started: list[Any], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make_h5ad(tmp_path / "other" / file.name, default_matrix())
    for each in (file, other, file):
        assert run("launch", str(each), "--port", port())[0] == 0
    assert served(started[:1]) == served(started) != served(started[1:2])


def test_a_conversion_that_was_cut_off_is_made_anew(run: Run, file: Path, started: list[Any]) -> None:
    assert run("launch", str(file), "--port", port())[0] == 0
    (served(started).parent / "report.txt").unlink()
    code, out, _ = run("launch", str(file), "--port", port())
    assert code == 0
    assert out.startswith(f"Converted {file}\n")


def test_a_file_that_cannot_be_converted_is_told_in_one_sentence(
    run: Run, file: Path, started: list[Any], tmp_path: Path
) -> None:
    make_h5ad(file, obsm={})
    code, out, err = run("launch", str(file), "--port", port())
    assert (code, out) == (2, "")
    assert err.startswith("cxg: ")
    assert err.count("\n") == 1
    assert "embedding" in err
    assert started == []
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_nothing_is_converted_while_the_port_is_in_use(run: Run, file: Path, tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        code, _, err = run("launch", str(file), "--port", str(busy.getsockname()[1]))
    assert code == 2
    assert "Cannot listen on" in err
    assert not (tmp_path / "cache").exists()


def test_a_cache_folder_that_cannot_be_made_is_named(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXG_CACHE_DIR", str(file))
    code, _, err = run("launch", str(file), "--port", port())
    assert code == 2
    assert "name another folder in CXG_CACHE_DIR" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "options, display, at_a_terminal, opens",
    [
        ((), ":0", True, True),
        ((), "", True, False),
        ((), ":0", False, False),
        (("--no-open",), ":0", True, False),
        (("--open",), "", False, True),
    ],
)
def test_the_browser_opens_where_somebody_sees_it(
    run: Run,
    file: Path,
    started: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    display: str,
    at_a_terminal: bool,
    opens: bool,
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(launch, "open_when_ready", opened.append)
    monkeypatch.setattr(launch, "at_a_terminal", lambda: at_a_terminal)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    assert run("launch", str(file), "--port", port(), *options)[0] == 0
    assert len(opened) == opens
    assert started
