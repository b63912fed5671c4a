"""The built web client: its page, rendered once at start, and its static files."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import DictLoader, Environment

from cxg.config import Config
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError
from cxg.web.headers import client_policy
from cxg.web.visit.modules import load_modules, with_modules
from cxg.web.visit.pinned import client_version

# File names of the client's build, and the folder of our own modules, carry a hash of their content.
_HASHED = re.compile(r"-[0-9a-f]{16,}[./]")
_TYPES = {".js": "text/javascript", ".map": "application/json", ".ttf": "font/ttf", ".woff": "font/woff"}


@dataclass(frozen=True)
class Client:
    """A client folder, checked.

    Attributes
    ----------
    page : bytes
        The page with all scripts filled in, the same for every dataset.
    policy : str
        Content security policy of the page.
    files : mapping of str to Path
        The client's files and our modules, by path below `static/`.
    version : str or None
        None for a build that our modules do not know.
    """

    page: bytes
    policy: str
    files: Mapping[str, Path]
    version: str | None


def default_folder(runtime: Runtime) -> Path:
    """Where the client is: `CXG_CLIENT_DIR`, else `build/client` beside the package."""
    return runtime.client_dir or Path(__file__).resolve().parents[2] / "build" / "client"


def load_client(folder: Path, config: Config, scripts: Path | None) -> Client:
    """Read a client folder and render its page.

    Parameters
    ----------
    folder : holds index.html and static/
    scripts : folder of the files named in `server.inline_scripts`

    Raises
    ------
    ConfigError
        The folder is not a built client, or a script is missing.
    """
    index, static = folder / "index.html", folder / "static"
    if not index.is_file() or not static.is_dir():
        raise ConfigError(
            f"The web client is not in {folder} (no index.html and static/): run 'make build-client', "
            "or name its folder in CXG_CLIENT_DIR."
        )
    page = with_modules(render_page(index.read_text(encoding="utf-8"), config, scripts))
    files = {path.relative_to(static).as_posix(): path for path in sorted(static.rglob("*")) if path.is_file()}
    files.update(load_modules().files)
    return Client(page.encode(), client_policy(config, page), files, client_version(static))


def render_page(template: str, config: Config, scripts: Path | None) -> str:
    """Fill the page's two blocks: external scripts and inline scripts.

    Raises
    ------
    ConfigError
        A script named in `server.inline_scripts` is not there.
    """
    sources = {"index.html": template}
    for name in config.server.inline_scripts:
        path = None if scripts is None else scripts / name
        if path is None or not path.is_file():
            raise ConfigError(f"server.inline_scripts names {name!r}, but there is no such file in {scripts}.")
        # The file is text to put into the page, not a template of ours.
        sources[name] = "{% raw %}" + path.read_text(encoding="utf-8") + "{% endraw %}"
    environment = Environment(loader=DictLoader(sources), autoescape=False)  # noqa: S701  (its values are configuration)
    return environment.get_template("index.html").render(
        SCRIPTS=config.server.scripts, INLINE_SCRIPTS=config.server.inline_scripts
    )


def content_type(path: Path) -> str:
    """Content type by file name."""
    return _TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def is_hashed(path: Path) -> bool:
    """Whether the path below `static/` carries a hash, so that the file never changes under it."""
    return _HASHED.search(path.as_posix()) is not None
