"""The sample dataset: fetched once, converted once by the `cxg` command."""

import sys
import zipfile

import pytest

from assembly import sample
from assembly.errors import AssemblyError


@pytest.fixture
def wheels(monkeypatch):
    """A stand-in for the download; returns the list of calls."""
    calls = []

    def fetch_wheel(pin, folder):
        calls.append(pin)
        path = folder / pin.filename
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("scanpy/datasets/10x_pbmc68k_reduced.h5ad", b"cells")
            archive.writestr("scanpy-1.11.5.dist-info/licenses/LICENSE", b"BSD")
            archive.writestr("scanpy/__init__.py", b"raise SystemExit")
        return path

    monkeypatch.setattr(sample, "fetch_wheel", fetch_wheel)
    return calls


@pytest.fixture
def command(tmp_path, monkeypatch):
    """A `cxg` command that notes its arguments and makes the folder, or fails when `broken` is written."""
    path = tmp_path / "bin" / "cxg"
    path.parent.mkdir()
    path.write_text(
        f"#!{sys.executable}\n"
        "import pathlib, sys\n"
        "home = pathlib.Path(__file__).parent\n"
        "with (home / 'calls').open('a') as file: print(*sys.argv[1:], file=file)\n"
        "if (home / 'broken').exists(): sys.exit('cxg: the sentence')\n"
        "pathlib.Path(sys.argv[3]).mkdir(exist_ok=True)\n"
    )
    path.chmod(0o755)
    monkeypatch.setattr(sample, "cxg_command", lambda: str(path))
    return path.parent


def test_only_data_and_licence_are_taken(tmp_path, wheels):
    path = sample.ensure_h5ad(tmp_path / "h5ad", print)
    assert path.read_bytes() == b"cells"
    assert sorted(entry.name for entry in path.parent.iterdir()) == [sample.H5AD, "LICENSE", "stamp.json"]
    sample.ensure_h5ad(tmp_path / "h5ad", print)
    assert len(wheels) == 1


def test_a_damaged_file_is_fetched_again(tmp_path, wheels):
    path = sample.ensure_h5ad(tmp_path / "h5ad", print)
    path.write_bytes(b"half")
    assert sample.ensure_h5ad(tmp_path / "h5ad", print).read_bytes() == b"cells"
    assert len(wheels) == 2


def test_converted_once(tmp_path, wheels, command):
    h5ad = sample.ensure_h5ad(tmp_path / "h5ad", print)
    target = sample.ensure_cxg(h5ad, tmp_path / "root", print)
    sample.ensure_cxg(h5ad, tmp_path / "root", print)
    calls = (command / "calls").read_text().splitlines()
    assert calls == [f"convert {h5ad} {target} --raw --title {sample.TITLE} --overwrite"]


def test_one_that_was_made_with_other_options_is_replaced(tmp_path, wheels, command):
    """Such as one from before the expression was taken from raw; what tells them apart is no dataset."""
    h5ad = sample.ensure_h5ad(tmp_path / "h5ad", print)
    (tmp_path / "root" / sample.CXG).mkdir(parents=True)
    sample.ensure_cxg(h5ad, tmp_path / "root", print)
    sample.ensure_cxg(h5ad, tmp_path / "root", print)
    assert len((command / "calls").read_text().splitlines()) == 1
    assert [path.name for path in (tmp_path / "root").iterdir() if not path.name.startswith(".")] == [sample.CXG]


def test_a_failing_conversion_is_told(tmp_path, wheels, command):
    (command / "broken").touch()
    h5ad = sample.ensure_h5ad(tmp_path / "h5ad", print)
    with pytest.raises(AssemblyError, match="cxg: the sentence"):
        sample.ensure_cxg(h5ad, tmp_path / "root", print)


def test_without_the_command_the_mend_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(AssemblyError, match="run `make env`"):
        sample.ensure_cxg(tmp_path / "x.h5ad", tmp_path / "root", print)
