"""Descriptions of a dataroot: only what changed is read again, faults are logged once, nothing leaves the folder."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cxg.config import default
from cxg.datasets.dataroot import Dataroot, SingleRoot
from cxg.descriptions.beside import GENE_SETS_MAX_BYTES, check_beside
from cxg.descriptions.model import UNDESCRIBED
from cxg.descriptions.store import Descriptions, LookTimes
from cxg.errors import StorageUnavailable
from cxg.memory_bounds import DESCRIPTIONS_BYTES
from cxg.storage.beside import Folder
from cxg.storage.storage import Storage
from tests.background import Clock

CSV = "gene_set_name,gene_set_description,gene_symbol,gene_description\nT,,CD3D,\n"


@pytest.fixture
def clock() -> SimpleNamespace:
    return SimpleNamespace(now=0.0)


@pytest.fixture
def made(tmp_path: Path, clock: SimpleNamespace) -> Descriptions:
    storage = Storage(default())
    return Descriptions(storage, Dataroot(storage, str(tmp_path)), LookTimes(clock=lambda: clock.now))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read."""
    names: list[str] = []
    read = Folder.read
    monkeypatch.setattr(
        Folder,
        "read",
        lambda self, name, most: names.append(name) or read(self, name, most),  # type: ignore[func-returns-value]
    )
    return names


def test_a_change_is_seen_after_a_while_and_only_then_read(
    made: Descriptions, clock: SimpleNamespace, tmp_path: Path, reads: list[str]
) -> None:
    (tmp_path / "a.yaml").write_text("title: One\n")
    (tmp_path / "b.yaml").write_text("title: Other\n")
    assert made.of("a.cxg").description.title == "One"
    first = made.of("a.cxg")
    clock.now = 60
    assert made.of("a.cxg") is first
    assert reads == ["a.yaml"]
    (tmp_path / "a.yaml").write_text("title: Two\n")
    assert made.of("a.cxg") is first, "within the pace"
    clock.now = 71
    assert made.of("a.cxg").description.title == "Two"
    assert made.of("a.cxg").version != first.version
    assert reads == ["a.yaml", "a.yaml"]
    (tmp_path / "a.yaml").unlink()
    clock.now = 90
    assert made.of("a.cxg") is UNDESCRIBED


def test_what_is_not_described_costs_one_listing_for_all(
    made: Descriptions, clock: SimpleNamespace, reads: list[str]
) -> None:
    for name in ("a.cxg", "b.cxg", "", "no/such", "x\0.cxg"):
        assert made.of(name) is UNDESCRIBED
    assert reads == []
    files = made.files()
    clock.now = 60
    assert made.files() is files


def test_a_dataset_without_the_ending_and_a_single_one_are_described_too(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_text("title: Old\n")
    storage = Storage(default())
    assert Descriptions(storage, Dataroot(storage, str(tmp_path))).of("old").description.title == "Old"
    single = Descriptions(storage, SingleRoot(storage, str(tmp_path / "old.cxg")))
    assert single.of("").description.title == "Old"


def test_gene_sets_beside_it_are_read_and_their_change_changes_the_version(
    made: Descriptions, clock: SimpleNamespace, tmp_path: Path
) -> None:
    (tmp_path / "a.yaml").write_text("gene_sets: m.csv\n")
    assert made.gene_sets("a.cxg") is None
    assert made.of("a.cxg").problems == (
        "a.yaml, line 1: gene_sets names 'm.csv', but there is no such file beside the dataset.",
    )
    missing = made.of("a.cxg").version
    (tmp_path / "m.csv").write_text(CSV)
    clock.now += 11
    sets = made.gene_sets("a.cxg")
    assert sets is not None
    assert [one["geneset_name"] for one in sets] == ["T"]
    first = made.of("a.cxg")
    assert first.problems == ()
    (tmp_path / "m.csv").write_text(CSV.replace("CD3D", "CD3E"))
    clock.now += 11
    assert len({missing, first.version, made.of("a.cxg").version}) == 3
    assert made.gene_sets("b.cxg") is None


def test_gene_sets_that_are_too_long_are_not_read(
    made: Descriptions, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.yaml").write_text("gene_sets: m.gmt\n")
    (tmp_path / "m.gmt").write_bytes(b"T\t\t" + b"G" * GENE_SETS_MAX_BYTES)
    for _ in range(3):
        assert made.gene_sets("a.cxg") is None
    assert caplog.text.count("has more than 1,048,576 bytes") == 1


def test_a_fault_is_logged_once_for_each_change(
    made: Descriptions, clock: SimpleNamespace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "a.yaml").write_text("titel: x\n")
    for _ in range(5):
        made.of("a.cxg")
        clock.now += 11
    assert len(caplog.records) == 1
    assert "a.yaml, line 1: 'titel' is not a key; did you mean 'title'?" in caplog.text
    (tmp_path / "a.yaml").write_text("titel: x\norder: y\n" + "zz: 1\n" * 30)
    clock.now += 11
    made.of("a.cxg")
    assert len(caplog.records) == 1 + 6
    assert "more faults; cxg doctor names them" in caplog.text


@pytest.mark.parametrize("name", ["a.yaml", "m.csv"])
def test_no_link_leads_out_of_the_folder_and_no_pipe_is_waited_for(tmp_path: Path, name: str) -> None:
    secret = tmp_path / "secret"
    secret.write_text("title: secret\n")
    inside = tmp_path / "root"
    inside.mkdir()
    folder = Folder(Storage(default()), str(inside))
    (inside / name).symlink_to(secret)
    assert folder.read(name, 100) is None
    (inside / name).unlink()
    os.mkfifo(inside / name)
    assert folder.read(name, 100) is None
    assert folder.list_files() == {}
    (inside / name).unlink()
    (inside / name).mkdir()
    assert folder.read(name, 100) is None
    (inside / name).rmdir()
    (inside / "real").write_text("x" * 200)
    (inside / name).symlink_to("real")
    assert folder.read(name, 100) == b"x" * 101


def test_a_file_that_may_not_be_read_is_told(
    made: Descriptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_text("title: x\n")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Folder, "read", refuse)
    assert made.of("a.cxg").problems == ("a.yaml: it cannot be read (Permission denied); let the server read it.",)


def test_while_the_store_is_away_what_was_read_stays(
    made: Descriptions, clock: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.yaml").write_text("title: One\n")
    known = made.of("a.cxg")

    def away(*_: object) -> None:
        raise StorageUnavailable("The storage did not answer.")

    for method in ("list_files", "read"):
        monkeypatch.setattr(Folder, method, away)
    clock.now += 60
    assert made.of("a.cxg") is known
    assert made.of("b.cxg") is UNDESCRIBED


def test_a_missing_dataroot_describes_nothing(tmp_path: Path) -> None:
    storage = Storage(default())
    assert Descriptions(storage, Dataroot(storage, str(tmp_path / "none"))).of("a.cxg") is UNDESCRIBED


def test_memory_is_bounded(made: Descriptions, tmp_path: Path, reads: list[str]) -> None:
    text = "text: |\n" + "  word word word word\n" * 800
    count = DESCRIPTIONS_BYTES // (2 * len(text)) + 20
    for k in range(count):
        (tmp_path / f"{k}.yaml").write_text(text)
    for k in range(count):
        made.of(f"{k}.cxg")
    assert len(reads) == count
    made.of(f"{count - 1}.cxg")
    assert len(reads) == count
    made.of("0.cxg")
    assert len(reads) == count + 1, "the one unused for longest was evicted"


def test_everything_wrong_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("gene_sets: m.csv\norder: x\n")
    (tmp_path / "m.csv").write_text("a,b\n")
    problems = check_beside(Folder(Storage(default()), str(tmp_path)), "a.yaml").problems
    assert [problem.split(":")[0] for problem in problems] == ["a.yaml, line 2", "m.csv, line 1"]


def test_nobody_waits_for_a_store_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was known last is used, and what changed is seen once the store answers again."""
    (tmp_path / "a.cxg").mkdir()
    (tmp_path / "a.yaml").write_text("title: Before\n")
    clock = Clock()
    storage = Storage(default())
    known = Descriptions(storage, Dataroot(storage, str(tmp_path)), LookTimes(clock=clock))
    assert known.of("a.cxg").description.title == "Before"
    answers, list_files = threading.Event(), Folder.list_files

    def hang(folder: Folder) -> object:
        assert answers.wait(30)
        return list_files(folder)

    monkeypatch.setattr(Folder, "list_files", hang)
    (tmp_path / "a.yaml").write_text("title: Afterwards\n")
    for _ in range(3):
        clock.now += 60
        assert known.of("a.cxg").description.title == "Before"
    answers.set()
    deadline = time.monotonic() + 30
    while known.of("a.cxg").description.title == "Before" and time.monotonic() < deadline:
        clock.now += 60
        time.sleep(0.01)
    assert known.of("a.cxg").description.title == "Afterwards"
