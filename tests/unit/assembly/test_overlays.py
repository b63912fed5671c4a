"""`customize/`: what is taken, what is refused, and what is staged."""

from __future__ import annotations

from pathlib import Path

import pytest

from assembly.errors import AssemblyError
from assembly.overlays import read_overlays, stage_overlays

PROJECT = Path(__file__).parents[3]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.txt"
    path.write_text("flask==3.1.3\n")
    return path


def fill(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


WHOLE: dict[str, str | bytes] = {
    "README.md": "notes",
    "config.yaml": "server:\n",
    "requirements.txt": "humanize==4.17.0\n",
    "deploy/tos.html": "<p>__CELLXGENE_COMMIT__",
    "deploy/img/logo_1.png": b"\x89PNG\xff",
    "inline_scripts/note.js": "console.log('__CELLXGENE_COMMIT__', 'é')\n",
    "plugins/10_a.py": "COMMIT = '__CELLXGENE_COMMIT__'\r\n",
    "ebextensions/90-site.config": "Resources:\n  A: !Ref B\n",
    "plugins/__pycache__/10_a.pyc": b"\0",
    "deploy/.DS_Store": b"\0",
    "plugins/10_a.py~": "old",
}


def test_the_whole_set_is_read_and_staged(tmp_path: Path, own: Path) -> None:
    overlays = read_overlays(fill(tmp_path / "customize", WHOLE), own)
    assert overlays.requirements == tmp_path / "customize" / "requirements.txt"
    target = tmp_path / "image" / "customize"
    stage_overlays(overlays, target, COMMIT)
    staged = sorted(path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file())
    assert staged == [path.as_posix() for path in overlays.files]
    assert staged == [
        "config.yaml",
        "deploy/img/logo_1.png",
        "deploy/tos.html",
        "inline_scripts/note.js",
        "plugins/10_a.py",
        "requirements.txt",
    ]
    assert (target / "inline_scripts/note.js").read_text(encoding="utf-8") == f"console.log('{COMMIT}', 'é')\n"
    assert (target / "plugins/10_a.py").read_bytes() == f"COMMIT = '{COMMIT}'\r\n".encode()
    assert (target / "deploy/tos.html").read_text() == "<p>__CELLXGENE_COMMIT__", "pages are left as they are"
    assert (target / "deploy/img/logo_1.png").read_bytes() == b"\x89PNG\xff"
    assert {path.stat().st_mode & 0o777 for path in target.rglob("*") if path.is_file()} == {0o644}
    assert [path.as_posix() for path in overlays.ebextensions] == ["ebextensions/90-site.config"]


@pytest.mark.parametrize("made", [False, True])
def test_no_customize_folder_or_an_empty_one_is_fine(made: bool, tmp_path: Path, own: Path) -> None:
    root = tmp_path / "customize"
    if made:
        fill(root, {"README.md": "", "plugins/.gitkeep": ""})
        (root / "deploy").mkdir()
        (root / "ebextensions").mkdir()
    overlays = read_overlays(root, own)
    assert (overlays.files, overlays.ebextensions) == ((), ())
    assert overlays.requirements is None
    stage_overlays(overlays, tmp_path / "out", COMMIT)
    assert list((tmp_path / "out").iterdir()) == []


def test_unknown_files_are_all_named(tmp_path: Path, own: Path) -> None:
    unknown: dict[str, str | bytes] = {
        "config.yml": "",
        "plugin/a.py": "",
        "plugins/sub/a.py": "",
        "plugins/a.txt": "",
        "ebextensions/a.yaml": "",
    }
    root = fill(tmp_path / "customize", unknown | {"config.yaml": ""})
    (root / "scripts").mkdir()
    with pytest.raises(AssemblyError) as caught:
        read_overlays(root, own)
    assert str(caught.value) == (
        "customize/config.yml, customize/ebextensions/a.yaml, customize/plugin/a.py, customize/plugins/a.txt, "
        "customize/plugins/sub/a.py, customize/scripts/: not known here; customize/ takes config.yaml, "
        "requirements.txt, README.md, deploy/, inline_scripts/*.js, plugins/*.py, ebextensions/*.config"
    )


# name: (file, content, sentence after the name)
BAD_FILES: dict[str, tuple[str, str | bytes, str]] = {
    "plugin": ("plugins/a.py", "\ndef f(:\n", "line 2: not valid Python: invalid syntax"),
    "script": ("inline_scripts/a.js", b"// \xe9", "byte 4 is not UTF-8 text; save the file as UTF-8"),
    "config": ("config.yaml", b"\xff", "byte 1 is not UTF-8 text; save the file as UTF-8"),
    "ebextension": ("ebextensions/a.config", "a:\n  b: [\n", "line 3: not valid YAML: expected the node content, but "),
    "page": ("deploy/my page.html", "", "'my page.html' cannot be part of a URL here; use letters, digits, '.', '_' "),
    "pin": ("requirements.txt", "humanize>=4\n", " line 1: humanize>=4 is not exact; pin it as humanize==version"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named_with_its_fault(name: str, tmp_path: Path, own: Path) -> None:
    file, content, sentence = BAD_FILES[name]
    with pytest.raises(AssemblyError) as caught:
        read_overlays(fill(tmp_path / "customize", {file: content}), own)
    separator = "" if sentence.startswith(" ") else ": "
    assert str(caught.value).startswith(f"customize/{file}{separator}{sentence}")
    assert "\n" not in str(caught.value)


def test_all_faults_are_listed_at_once(tmp_path: Path, own: Path) -> None:
    files: dict[str, str | bytes] = {
        "x.txt": "",
        "plugins/a.py": "1 +\n",
        "requirements.txt": "flask==1.0\nhumanize\n",
    }
    with pytest.raises(AssemblyError) as caught:
        read_overlays(fill(tmp_path / "customize", files), own)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "customize/x.txt",
        "customize/plugins/a.py",
        "customize/requirements.txt line 1",
        "customize/requirements.txt line 2",
    ]


def test_links_are_refused(tmp_path: Path, own: Path) -> None:
    root = fill(tmp_path / "customize", {"plugins/a.py": ""})
    (root / "config.yaml").symlink_to(own)
    (root / "deploy").symlink_to(tmp_path)
    with pytest.raises(AssemblyError) as caught:
        read_overlays(root, own)
    assert str(caught.value).splitlines() == [
        "customize/config.yaml: this is a symbolic link; put the file itself here",
        "customize/deploy/: this is a symbolic link; put the file itself here",
    ]
