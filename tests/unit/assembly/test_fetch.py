"""Downloads through pip, here from a folder of wheels: no network."""

import hashlib
import zipfile

import pytest

from assembly import fetch
from assembly.errors import AssemblyError


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder that pip takes packages from, with one wheel in it; returns the wheel's pin."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    wheel = folder / "tinything-1.0-py3-none-any.whl"
    info = "tinything-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tinything.py", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinything\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return fetch.PinnedFile("tinything", "1.0", hashlib.sha256(wheel.read_bytes()).hexdigest(), wheel.name)


def test_a_pinned_wheel_is_fetched_through_pip(shelf, tmp_path):
    path = fetch.fetch_wheel(shelf, tmp_path / "out")
    assert path == tmp_path / "out" / shelf.filename
    assert fetch.sha256_of(path) == shelf.sha256


def test_another_hash_is_refused(shelf, tmp_path):
    wrong = fetch.PinnedFile(shelf.name, shelf.version, "0" * 64, shelf.filename)
    with pytest.raises(AssemblyError, match=r"could not get tinything 1\.0"):
        fetch.fetch_wheel(wrong, tmp_path / "out")
    assert not (tmp_path / "out" / shelf.filename).exists()


def test_a_package_that_is_not_there_is_named(shelf, tmp_path):
    missing = fetch.PinnedFile("tinything", "2.0", shelf.sha256, shelf.filename)
    with pytest.raises(AssemblyError, match=r"could not get tinything 2\.0: .*check the network"):
        fetch.fetch_wheel(missing, tmp_path / "out")


def test_the_file_is_hashed_again(shelf, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"something else")
    with pytest.raises(AssemblyError, match="it was not used"):
        fetch.check_sha256(path, shelf)
