"""The site's own files in `customize/`: what may be there, and how they are staged for the image.

Every file is checked before the first is copied, and all that is wrong is said at once: a typo in
a folder's name must not give an image that lacks, say, the identity check.
"""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from assembly.errors import AssemblyError
from assembly.fetch import sha256_of
from assembly.pins import find_violations

COMMIT_MARK = "__CELLXGENE_COMMIT__"

# Folder: the ending its files must have ("" for any), and whether it may hold folders.
_FOLDERS = {
    "deploy": ("", True),
    "inline_scripts": (".js", False),
    "plugins": (".py", False),
    "ebextensions": (".config", False),
}
_FILES = frozenset({"config.yaml", "requirements.txt"})
_KNOWN = "config.yaml, requirements.txt, README.md, deploy/, inline_scripts/*.js, plugins/*.py, ebextensions/*.config"
# Left by editors, Python and version control; never part of a site.
_PASSED_OVER = frozenset({"README.md", ".DS_Store", ".gitignore", ".gitkeep", "__pycache__"})
_MARKED = frozenset({"inline_scripts", "plugins"})


@dataclass(frozen=True)
class Overlays:
    """The files of one `customize/` folder, sorted by path.

    root : the folder.
    files : paths relative to it, for the image; without those of ebextensions.
    ebextensions : paths relative to it, for the deployment bundle.
    """

    root: Path
    files: tuple[Path, ...]
    ebextensions: tuple[Path, ...]

    @property
    def requirements(self) -> Path | None:
        """Return the site's own requirements.txt, if it has one."""
        path = Path("requirements.txt")
        return self.root / path if path in self.files else None

    @property
    def digest(self) -> str:
        """Return 8 hex digits of the names and contents of the image's overlays; "" when there are none."""
        lines = "".join(f"{sha256_of(self.root / path)}  {path.as_posix()}\n" for path in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()[:8] if lines else ""


def read_overlays(root: Path, own_requirements: Path) -> Overlays:
    """Look through `customize/`; a folder that is not there is an empty one.

    Parameters
    ----------
    root : Path
        The `customize/` folder.
    own_requirements : Path
        Our requirements.txt, which the site's must not contradict.

    Raises
    ------
    AssemblyError
        One line for every file that is unknown, cannot be used or breaks a rule of the requirements.
    """
    found = sorted(_walk(root)) if root.is_dir() else []
    problems: list[str] = []
    unknown = [path for path in found if not _is_known(path.relative_to(root))]
    if unknown:
        names = ", ".join(_shown(root, path) for path in unknown)
        problems.append(f"{names}: not known here; {root.name}/ takes {_KNOWN}")
    kept = [path for path in found if path not in unknown]
    for path in kept:
        problems += [f"{_shown(root, path)}: {problem}" for problem in _check(path, path.relative_to(root))]
    requirements = root / "requirements.txt"
    if requirements in kept and requirements.is_file() and not requirements.is_symlink():
        problems += find_violations(
            requirements.read_text(encoding="utf-8", errors="replace"),
            own_requirements.read_text(encoding="utf-8"),
            _shown(root, requirements),
        )
    if problems:
        raise AssemblyError("\n".join(problems))
    relative = [path.relative_to(root) for path in kept if path.is_file()]
    extensions = tuple(path for path in relative if path.parts[0] == "ebextensions")
    return Overlays(root, tuple(path for path in relative if path not in extensions), extensions)


def stage_overlays(overlays: Overlays, target: Path, commit: str) -> None:
    """Copy the image's overlays to a new `customize/` folder.

    `__CELLXGENE_COMMIT__` in scripts and plugins becomes `commit`; every file gets the same rights.
    """
    target.mkdir(parents=True, exist_ok=True)
    for path in overlays.files:
        source, destination = overlays.root / path, target / path
        destination.parent.mkdir(parents=True, exist_ok=True)
        if path.parts[0] in _MARKED:
            text = source.read_bytes().decode("utf-8").replace(COMMIT_MARK, commit)
            destination.write_bytes(text.encode("utf-8"))
        else:
            shutil.copyfile(source, destination)
        destination.chmod(0o644)


def _walk(folder: Path) -> Iterator[Path]:
    """Files, links and empty folders below a folder; links are not followed."""
    for path in folder.iterdir():
        if path.name in _PASSED_OVER or path.name.endswith("~"):
            continue
        if path.is_dir() and not path.is_symlink() and any(path.iterdir()):
            yield from _walk(path)
        else:
            yield path


def _is_known(path: Path) -> bool:
    top = path.parts[0]
    if len(path.parts) == 1:
        return path.name in _FILES or top in _FOLDERS
    ending, nested = _FOLDERS.get(top, ("", False))
    return top in _FOLDERS and path.name.endswith(ending) and (nested or len(path.parts) == 2)


def _check(path: Path, relative: Path) -> list[str]:
    """Say what is wrong with one known file, without its name."""
    if path.is_symlink():
        return ["this is a symbolic link; put the file itself here"]
    if path.is_dir():
        # An empty folder is in nobody's way, unless a file was meant.
        return ["this is a folder; it must be a file"] if relative.name in _FILES else []
    if not path.is_file():
        return ["this is not a plain file; remove it"]
    if relative.parts[0] == "deploy":
        return _check_deploy_name(relative)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        return [f"byte {error.start + 1} is not UTF-8 text; save the file as UTF-8"]
    if relative.parts[0] == "plugins":
        return _check_python(text)
    if relative.parts[0] == "ebextensions":
        return _check_yaml(text)
    return []


def _check_deploy_name(relative: Path) -> list[str]:
    unsound = [part for part in relative.parts[1:] if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", part)]
    return [f"{part!r} cannot be part of a URL here; use letters, digits, '.', '_' and '-'" for part in unsound]


def _check_python(text: str) -> list[str]:
    try:
        ast.parse(text)
    except (SyntaxError, ValueError) as error:
        line = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
        return [f"{line}not valid Python: {error.msg if isinstance(error, SyntaxError) else error}"]
    return []


def _check_yaml(text: str) -> list[str]:
    try:
        # Nodes only: CloudFormation's own tags (!Ref) need not be known.
        yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        return [f"line {line}: not valid YAML: {error.problem}"]
    except yaml.YAMLError as error:
        return [f"not valid YAML: {' '.join(str(error).split())}"]
    return []


def _shown(root: Path, path: Path) -> str:
    return f"{root.name}/{path.relative_to(root).as_posix()}" + ("/" if path.is_dir() else "")
