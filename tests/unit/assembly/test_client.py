"""The web client folder: what is taken from the package, and what is refused."""

import io
import tarfile

import pytest

import build
from assembly import client, fetch
from assembly.errors import AssemblyError
from assembly.staged import is_intact, stamp_source

ROOT = "cellxgene-1.3.0/server/common/web"
GOOD = {
    "cellxgene-1.3.0/setup.py": b"raise SystemExit('never run')",
    f"{ROOT}/templates/index.html": b"<html>v0.2/</html>",
    f"{ROOT}/static/main.js": b"js",
    f"{ROOT}/static/assets/font.ttf": b"font",
}


def write_sdist(path, files, links=()):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in links:
            member = tarfile.TarInfo(name)
            member.type = tarfile.SYMTYPE
            member.linkname = target
            archive.addfile(member)
    return path


def names_in(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def downloads(monkeypatch, tmp_path):
    """A stand-in for the download; returns the list of calls."""
    calls = []

    def fetch_sdist(pin, folder):
        calls.append(pin)
        return write_sdist(folder / pin.filename, GOOD)

    monkeypatch.setattr(client, "fetch_sdist", fetch_sdist)
    return calls


@pytest.fixture
def own_build(tmp_path):
    folder = tmp_path / "mine" / "build"
    (folder / "static").mkdir(parents=True)
    (folder / "index.html").write_text("<html>v0.2/ mine</html>")
    (folder / "static" / "main.js").write_text("mine")
    return folder


def test_only_the_client_is_taken(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    client.unpack_client(write_sdist(tmp_path / "p.tar.gz", GOOD), work)
    assert names_in(work) == {"index.html", "static/main.js", "static/assets/font.ttf", "LICENSE"}
    text = (work / "LICENSE").read_text()
    assert "Copyright (c)" in text
    assert "Permission is hereby granted" in text


@pytest.mark.parametrize(
    "files, links, sentence",
    [
        ({f"{ROOT}/static/../../../../../evil": b""}, (), "unsafe path"),
        ({}, ((f"{ROOT}/static/link.js", "/etc/passwd"),), "a link or special file"),
        ({f"{ROOT}/static/main.js": b"js"}, (), "index.html missing"),
        ({f"{ROOT}/templates/index.html": b""}, (), "static missing"),
        ({"readme": b""}, (), "index.html and static missing"),
    ],
)
def test_a_strange_package_is_refused(tmp_path, files, links, sentence):
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(AssemblyError, match=sentence):
        client.unpack_client(write_sdist(tmp_path / "p.tar.gz", files, links), work)
    assert not (tmp_path / "evil").exists()


def test_a_huge_package_is_refused(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    with pytest.raises(AssemblyError, match="larger than"):
        client.unpack_client(write_sdist(tmp_path / "p.tar.gz", GOOD), work, 10)


def test_the_second_call_downloads_nothing(tmp_path, downloads):
    target = tmp_path / "build" / "client"
    client.ensure_client(target, print)
    client.ensure_client(target, print)
    assert len(downloads) == 1
    assert sorted(path.name for path in target.parent.iterdir()) == ["client"]  # nothing left beside it


@pytest.mark.parametrize("damage", ["changed", "lost", "added"])
def test_a_damaged_client_is_fetched_again(tmp_path, downloads, damage):
    target = tmp_path / "client"
    client.ensure_client(target, print)
    script = target / "static" / "main.js"
    if damage == "changed":
        script.write_text("other")
    elif damage == "lost":
        script.unlink()
    else:
        (target / "static" / "extra.js").write_text("x")
    client.ensure_client(target, print)
    assert len(downloads) == 2
    assert is_intact(target)
    assert script.read_text() == "js"


def test_a_failing_download_leaves_nothing(tmp_path, monkeypatch):
    def fail(pin, folder):
        return write_sdist(folder / pin.filename, {"readme": b""})

    monkeypatch.setattr(client, "fetch_sdist", fail)
    with pytest.raises(AssemblyError):
        client.ensure_client(tmp_path / "out" / "client", print)
    assert list((tmp_path / "out").iterdir()) == []


def test_foreign_files_are_not_overwritten(tmp_path, downloads):
    target = tmp_path / "client"
    target.mkdir()
    (target / "thesis.txt").write_text("precious")
    with pytest.raises(AssemblyError, match=r"not put there by build\.py"):
        client.ensure_client(target, print)
    assert (target / "thesis.txt").read_text() == "precious"


def test_own_client_is_copied_and_kept(tmp_path, own_build, downloads, capsys):
    target = tmp_path / "client"
    client.use_own_client(own_build, target, print)
    client.ensure_client(target, print)
    assert (target / "static" / "main.js").read_text() == "mine"
    assert stamp_source(target)["kind"] == "own"
    assert downloads == []
    assert "your own client, kept" in capsys.readouterr().out


def test_own_client_replaces_the_published_one(tmp_path, own_build, downloads):
    target = tmp_path / "client"
    client.ensure_client(target, print)
    client.use_own_client(own_build, target, print)
    assert names_in(target) == {"index.html", "static/main.js", "stamp.json"}


def remove_index(build_dir):
    (build_dir / "index.html").unlink()


def remove_scripts(build_dir):
    (build_dir / "static" / "main.js").unlink()


def other_api(build_dir):
    (build_dir / "index.html").write_text('version: "v0.3/"')


def link_inside(build_dir):
    (build_dir / "static" / "more").symlink_to("/etc")


@pytest.mark.parametrize(
    "break_it, sentence",
    [
        (remove_index, "not a built client, index.html missing"),
        (remove_scripts, "static/ holds no script"),
        (other_api, "speaks API v0.3"),
        (link_inside, "is a link or special file"),
    ],
)
def test_a_wrong_own_client_is_refused(tmp_path, own_build, capsys, break_it, sentence):
    break_it(own_build)
    code = build.main(["client", "--client", str(own_build), "--out", str(tmp_path / "client")])
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 1
    assert sentence in lines[0]
    assert not (tmp_path / "client").exists()


def test_the_folder_above_build_gets_a_hint(own_build):
    with pytest.raises(AssemblyError, match="did you mean its `build` folder"):
        client.check_client(own_build.parent)


def test_a_missing_own_client_is_named(tmp_path):
    with pytest.raises(AssemblyError, match="there is no such folder"):
        client.check_client(tmp_path / "nowhere")


def test_pins_are_whole():
    assert client.CELLXGENE.requirement == f"cellxgene==1.3.0 --hash=sha256:{client.CELLXGENE.sha256}\n"
    assert all(len(pin.sha256) == 64 for pin in (client.CELLXGENE, fetch.SETUPTOOLS))
