"""The command line: defaults, --check, the report, and what is on the screen."""

import io
import json
import sys

import h5py
import numpy as np
import pytest

from cxg.cli.main import main
from cxg.convert import progress
from tests.unit.convert.h5ads import make_h5ad


def test_default_output_is_beside_the_input(tmp_path, capsys):
    assert main(["convert", str(make_h5ad(tmp_path / "my.data.h5ad"))]) == 0
    assert (tmp_path / "my.data.cxg" / "obs").is_dir()
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "n obs" in captured.out
    assert "Converted" in captured.out


def test_check_writes_nothing(tmp_path, convert, capsys):
    counts = np.arange(24).reshape(6, 4)
    path = make_h5ad(tmp_path / "in.h5ad", counts, obs={"bad": np.arange(6) * 1j})
    code, report = convert(path, "--check")
    assert code == 0
    assert {"x_counts", "column_dropped"} <= {note["code"] for note in report["notes"]}
    assert report["non_zeros"] == 23
    assert "output" not in report
    assert sorted(item.name for item in tmp_path.iterdir()) == ["in.h5ad", "report.json"]
    assert "Checked" in capsys.readouterr().out


def test_check_ignores_an_existing_output(tmp_path, convert):
    path = make_h5ad(tmp_path / "in.h5ad")
    assert convert(path)[0] == 0
    assert convert(path, "--check")[0] == 0


def test_report_says_the_same_in_both_forms(tmp_path, convert, capsys):
    path = make_h5ad(tmp_path / "in.h5ad", obs={"__x": np.array([0.1] * 6)})
    _, report = convert(path, "--title", "é")
    text = capsys.readouterr().out
    for note in report["notes"]:
        assert note["text"] in text
        assert set(note) == {"level", "code", "subject", "text"}
    assert (report["n_obs"], report["n_var"], report["x_from"]) == (6, 4, "X")
    assert report["output"].endswith("in.cxg")
    assert report["obs_columns"] == ["name_0", "_x"]


def test_old_options_are_accepted(tmp_path):
    assert main(["convert", "--backed", str(make_h5ad(tmp_path / "in.h5ad"))]) == 0


def test_report_on_a_terminal_that_knows_only_ascii(tmp_path, monkeypatch):
    screen = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", screen)
    assert main(["convert", str(make_h5ad(tmp_path / "in.h5ad", obs={"é": np.arange(6)}))]) == 0
    screen.flush()
    assert b"obs columns  name_0, \\xe9" in screen.buffer.getvalue()


@pytest.mark.parametrize(
    "arguments",
    [["--sparse-threshold", "101"], ["--sparse-threshold", "many"], ["--layer", "a", "--raw"], ["--no-such"]],
)
def test_wrong_usage_is_exit_code_2(tmp_path, capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(["convert", str(tmp_path / "in.h5ad"), *arguments])
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_report_that_cannot_be_written(tmp_path, capsys):
    path = make_h5ad(tmp_path / "in.h5ad")
    assert main(["convert", str(path), "--report", str(tmp_path)]) == 2
    assert "the CXG itself is complete" in capsys.readouterr().err


def test_progress_only_on_a_terminal(capsys, monkeypatch):
    with progress.bar() as step:
        assert step is progress.silent
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.bar() as step:
        step("first pass", 1, 2)
        step("second pass", 2, 2)
        step("first pass", 2, 2)
    assert capsys.readouterr().out == ""


def test_input_is_only_read(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad")
    path.chmod(0o444)
    before = path.read_bytes()
    with h5py.File(path, "r", locking=False):  # open elsewhere
        converted(path)
    assert path.read_bytes() == before


def test_report_is_strict_json(tmp_path, convert):
    given = np.full((6, 4), np.nan, np.float32)
    code, report = convert(make_h5ad(tmp_path / "in.h5ad", given))
    assert code == 0
    assert (report["x_minimum"], report["x_maximum"]) == (0.0, 0.0)
    assert json.dumps(report, allow_nan=False)
