"""Read the configuration from a file on this machine, and the overrides from the environment."""

from __future__ import annotations

import logging
from pathlib import Path

from cxg.config.model import Config
from cxg.config.reader import load
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError
from cxg.redact import redacted

log = logging.getLogger(__name__)


def read_config_file(path: Path) -> str:
    """Read a configuration file on this machine.

    Raises
    ------
    ConfigError
        The file cannot be read, or is not UTF-8 text.
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


def load_config(runtime: Runtime) -> Config:
    """Load the configuration: the file that `CXG_CONFIG_FILE` names, if any, and the variables that win over its keys.

    Raises
    ------
    ConfigError
        The file cannot be read, or a key or value in it is wrong.
    """
    path = runtime.config_file
    loaded = load(read_config_file(Path(path)) if path else "", runtime.overrides, path or "the environment")
    for warning in loaded.warnings:
        log.warning("%s", redacted(warning))
    return loaded.config
