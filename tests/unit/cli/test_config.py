"""`cxg config check` and `cxg config docs`."""

from pathlib import Path

import pytest

from cxg.cli.main import main
from cxg.config.render import docs_markdown


def check(file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, what was printed, and what was printed as an error."""
    code = main(["config", "check", str(file)])
    return (code, *capsys.readouterr())


def test_check_names_every_fault_and_says_when_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, odd = tmp_path / "good.yaml", tmp_path / "bad.yaml", tmp_path / "odd.yaml"
    good.write_text("server: {port: 80}\n")
    bad.write_text("server: {prot: 80}\nlimit: 1\n")
    odd.write_text("user_annotations: {enable: true}\n")
    assert check(good, capsys) == (0, f"{good}: valid.\n", "")
    assert check(bad, capsys) == (
        2,
        "",
        (
            f"{bad} line 1: server.prot is not a known key; the nearest one is server.port.\n"
            f"{bad} line 2: limit is not a known key; the nearest one is limits.\n"
        ),
    )
    code, printed, errors = check(odd, capsys)
    assert (code, errors) == (0, "")
    assert printed.startswith(f"warning: {odd} line 1: user_annotations.enable has no effect")
    assert printed.endswith(f"\n{odd}: valid, 1 warning.\n")


def test_check_says_why_a_file_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"server: {host: \xe9}\n")
    missing, latin = tmp_path / "none.yaml", tmp_path / "latin.yaml"
    assert check(missing, capsys) == (2, "", f"{missing}: there is no such file.\n")
    assert check(tmp_path, capsys) == (
        2,
        "",
        f"{tmp_path}: this is a folder; name the configuration file in it.\n",
    )
    assert check(latin, capsys) == (2, "", f"{latin}: byte 16 is not UTF-8 text; save the file as UTF-8.\n")


def test_docs_prints_the_reference(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "docs"]) == 0
    assert capsys.readouterr().out == docs_markdown()
