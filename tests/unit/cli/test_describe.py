"""`cxg describe` writes a description beside a dataset; `inspect` and `doctor` name what is wrong in one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cxg.cli.main import main
from cxg.descriptions.reader import read_description
from tests import cxgs
from tests.served import stand_in_client


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    return cxgs.build(root / "a.cxg", n_obs=25).path


def test_it_is_written_beside_the_dataset_and_is_right(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", str(dataset)]) == 0
    file = dataset.parent / "a.yaml"
    assert str(file) in capsys.readouterr().out
    found = read_description(file.read_bytes(), "a.yaml")
    assert found.problems == ()
    assert found.description.title == "A corpora title"


def test_a_file_that_is_there_is_left_alone(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (dataset.parent / "a.yaml").write_text("title: mine\n")
    assert main(["describe", f"{dataset}/"]) == 2
    assert "is there already and is left as it is" in capsys.readouterr().err
    assert (dataset.parent / "a.yaml").read_text() == "title: mine\n"
    assert main(["describe", "--stdout", str(dataset)]) == 0
    assert "title: " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["a.cxg", "a"])
def test_a_name_is_looked_for_below_the_dataroot(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXG_DATAROOT", str(dataset.parent))
    assert main(["describe", name]) == 0
    assert (dataset.parent / "a.yaml").is_file()


@pytest.mark.parametrize("name", ["none.cxg", "/no/such.cxg"])
def test_what_is_not_there_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", name]) == 2
    assert f"There is no folder {name}" in capsys.readouterr().err


def test_a_folder_that_is_read_only_is_told(
    dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert main(["describe", str(dataset)]) == 2
    assert "cannot be written (Permission denied); --stdout prints it" in capsys.readouterr().err


def test_inspect_names_what_is_wrong(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "--quick", "--json", str(dataset)]) == 0
    assert json.loads(capsys.readouterr().out)["description"] is None
    (dataset.parent / "a.yaml").write_text("title: x\nlicence_url: y\ngene_sets: m.gmt\n")
    (dataset.parent / "m.gmt").write_text("\t\tG\n")
    assert main(["inspect", "--quick", str(dataset)]) == 0
    text = capsys.readouterr().out
    assert "a.yaml, line 2: 'licence_url' is not a key; did you mean 'license'?" in text
    assert "m.gmt, line 1: the gene set has no name." in text


def test_doctor_names_what_is_wrong_and_which_description_has_no_dataset(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CXG_DATAROOT", str(dataset.parent))
    monkeypatch.setenv("CXG_CLIENT_DIR", str(stand_in_client(tmp_path / "client")))

    def descriptions() -> dict[str, object]:
        main(["doctor", "--json"])
        return next(one for one in json.loads(capsys.readouterr().out)["checks"] if one["name"] == "descriptions")

    assert descriptions() == {"name": "descriptions", "status": "ok", "text": "0 of 1 datasets have one", "details": []}
    (dataset.parent / "a.yaml").write_text("order: last\n")
    (dataset.parent / "b.yaml").write_text("title: x\n")
    for name in ("a.yml", "c.YAML"):
        (dataset.parent / name).write_text("visible_to: []\n")
    found = descriptions()
    assert found["status"] == "warning"
    assert found["details"] == [
        "a.yaml, line 1: order must be a number such as 10, but is the text 'last'.",
        "a.yml is not read: call it a.yaml.",
        "c.YAML is not read: call it c.yaml.",
        "b.yaml: there is no dataset b.cxg beside it.",
    ]
