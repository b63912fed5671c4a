"""What `cxg config check` and `cxg config docs` print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cxg.config.reader import load
from cxg.config.render import docs_markdown
from cxg.errors import ConfigError


@dataclass(frozen=True)
class Checked:
    """Outcome of `cxg config check`: lines to print and the exit code (0 or 2)."""

    lines: tuple[str, ...]
    exit_code: int


def read_config_file(path: Path) -> str:
    """Text of a configuration file on this machine.

    Raises
    ------
    ConfigError
        It cannot be read, or is not UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file.") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: this is a folder; name the configuration file in it.") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start + 1} is not UTF-8 text; save the file as UTF-8.") from None
    except OSError as error:
        raise ConfigError(f"{path}: it cannot be read: {error.strerror}.") from None


def check_file(path: Path, env: Mapping[str, str]) -> Checked:
    """Check a configuration file as the server would read it in this environment."""
    try:
        loaded = load(read_config_file(path), env, str(path))
    except ConfigError as error:
        return Checked(error.problems, 2)
    count = len(loaded.warnings)
    summary = f"{path}: valid" + (f", {count} warning{'s' if count > 1 else ''}" if count else "") + "."
    return Checked((*(f"warning: {one}" for one in loaded.warnings), summary), 0)


def docs_text() -> str:
    """Text of docs/config.md."""
    return docs_markdown()
