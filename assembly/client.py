"""The web client in `build/client`: the published one, or one the user built.

The published client rides, already built, inside the source package of
`cellxgene` 1.3.0. Only its page template and its `static/` tree are taken; the
Python code around them is not used. The result is a folder of this shape::

    build/client/
        index.html      page template (Jinja blocks for extra scripts)
        static/...      scripts, styles, fonts, icons
        LICENSE         the client's licence
        stamp.json      where it came from, sha256 of every file
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from assembly import Say
from assembly.errors import AssemblyError
from assembly.fetch import PinnedFile, fetch_sdist
from assembly.staged import copy_tree, is_intact, staged_folder, stamp_source

CELLXGENE = PinnedFile(
    name="cellxgene",
    version="1.3.0",
    sha256="4c220c5b34f121c17b94a302119ac30fc31a308c3eb9101d05fa905cd133925e",
    filename="cellxgene-1.3.0.tar.gz",
)
CLIENT_DIR = Path("build/client")

_PACKAGE = PurePosixPath("cellxgene-1.3.0")
_TEMPLATE = _PACKAGE / "server/common/web/templates/index.html"
_STATIC = _PACKAGE / "server/common/web/static"
_LICENSE = Path(__file__).with_name("client-license.txt")
_PUBLISHED = {"kind": "published", "name": CELLXGENE.name, "version": CELLXGENE.version, "sha256": CELLXGENE.sha256}
MAX_BYTES = 100 << 20  # the 1.3.0 client is 10 MB; far more than that is not a client


def add_verb(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `client` to the verbs of `build.py`."""
    parser = verbs.add_parser("client", help="put the web client into build/client")
    parser.add_argument(
        "--client",
        type=Path,
        metavar="DIR",
        help="use a client you built yourself: its `build` folder, with index.html and static/ in it",
    )
    parser.add_argument("--out", type=Path, default=CLIENT_DIR, metavar="DIR", help="default: %(default)s")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace, say: Say) -> None:
    if options.client is not None:
        use_own_client(options.client, options.out, say)
    else:
        ensure_client(options.out, say)


def ensure_client(target: Path, say: Say) -> None:
    """Make sure `target` holds a complete client; fetches the published one when nothing usable is there.

    A client the user put there is kept. Without a download this reads and hashes about 10 MB.

    Raises
    ------
    AssemblyError
        The download failed or is not the pinned file, or `target` holds foreign files.
    """
    source = stamp_source(target)
    if source is not None and is_intact(target):
        if source.get("kind") == "own":
            say(f"client: {target} holds your own client, kept (delete the folder to get the published one)")
            return
        if source == _PUBLISHED:
            return
    say(f"client: fetching the web client of {CELLXGENE.name} {CELLXGENE.version}")
    with tempfile.TemporaryDirectory() as scratch:
        sdist = fetch_sdist(CELLXGENE, Path(scratch))
        with staged_folder(target, _PUBLISHED) as work:
            unpack_client(sdist, work)
    say(f"client: ready in {target}")


def use_own_client(build: Path, target: Path, say: Say) -> None:
    """Copy a client the user built into `target`.

    Raises
    ------
    AssemblyError
        `build` is not the build folder of a client, or it is one for another API version.
    """
    check_client(build)
    with staged_folder(target, {"kind": "own", "path": str(build.resolve())}) as work:
        for name in ("index.html", "obsolete.js", "LICENSE"):
            if (build / name).is_file():
                (work / name).write_bytes((build / name).read_bytes())
        copy_tree(build / "static", work / "static")
    say(f"client: {build} copied to {target}")


def check_client(build: Path) -> None:
    """Raise AssemblyError unless the folder is a built client that this server can work with."""
    if not build.is_dir():
        raise AssemblyError(f"--client {build}: there is no such folder")
    missing = [name for name in ("index.html", "static") if not (build / name).exists()]
    if missing:
        hint = "; did you mean its `build` folder?" if (build / "build" / "index.html").is_file() else ""
        raise AssemblyError(f"--client {build}: not a built client, {' and '.join(missing)} missing{hint}")
    if not any((build / "static").glob("*.js")):
        raise AssemblyError(f"--client {build}: static/ holds no script; run the client's own build first")
    if "v0.3/" in (build / "index.html").read_text(encoding="utf-8", errors="replace"):
        raise AssemblyError(
            f"--client {build}: this client speaks API v0.3; the server speaks v0.2 (cellxgene up to 1.3.0)"
        )


def unpack_client(sdist: Path, work: Path, most_bytes: int = MAX_BYTES) -> None:
    """Take page template, static files and licence out of the source package into the empty folder `work`.

    Raises
    ------
    AssemblyError
        The package lacks the client, or holds a link, an unsafe path or an absurd amount of data.
    """
    left = most_bytes
    with tarfile.open(sdist, "r:gz") as package:
        for member in package:
            name = _target_name(member)
            if name is None:
                continue
            left -= member.size
            content = package.extractfile(member)
            if left < 0 or content is None:
                raise AssemblyError(f"{sdist.name}: the client in it is larger than {most_bytes >> 20} MiB")
            path = work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.read())
    (work / "LICENSE").write_text(_license(), encoding="utf-8")
    missing = [name for name in ("index.html", "static") if not (work / name).exists()]
    if missing:
        raise AssemblyError(f"{sdist.name}: no built client in it, {' and '.join(missing)} missing")


def _target_name(member: tarfile.TarInfo) -> PurePosixPath | None:
    """Path of a member below the client folder; None when it is not part of the client."""
    path = PurePosixPath(member.name)
    if path != _TEMPLATE and not path.is_relative_to(_STATIC):
        return None
    if ".." in path.parts:
        raise AssemblyError(f"unsafe path in the source package: {member.name}")
    if member.isdir():
        return None
    if not member.isfile():
        raise AssemblyError(f"a link or special file in the source package: {member.name}")
    return PurePosixPath("index.html") if path == _TEMPLATE else PurePosixPath("static") / path.relative_to(_STATIC)


def _license() -> str:
    return (
        f"index.html and static/ are the web client of cellxgene {CELLXGENE.version}, unchanged, from its published\n"
        "source package, which names the Chan Zuckerberg Initiative as author and MIT as the licence.\n"
        "The licences of the libraries inside its script are in static/*.LICENSE.txt.\n\n"
        + _LICENSE.read_text(encoding="utf-8")
    )
