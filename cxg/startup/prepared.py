"""What the start has found out, as one value; `cxg.startup.gunicorn` turns it into the environment of the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cxg.config import Config
from cxg.config.runtime import Runtime
from cxg.errors import CxgError

if TYPE_CHECKING:
    from cxg.startup.secret_key import SecretKey


@dataclass(frozen=True)
class Data:
    """What to serve: its path or URI, the variable or key that names it, and the variable a server takes it from."""

    uri: str
    setting: str
    variable: str


@dataclass(frozen=True)
class Prepared:
    """A deployment that is ready to be served.

    Attributes
    ----------
    runtime : Runtime
        What the environment says, with the AWS region that was found.
    data : Data
        What the configuration says to serve.
    path : str
        Path or URI to serve: a mount, where `data` asks for one.
    config_file : str or None
        Where the server reads the configuration; None when there is no file.
    secret : SecretKey or None
    region : str or None
        AWS region that was found for the data; None leaves it as it is.
    warnings : tuple of str
        What is odd about the data.
    failures : mapping
        Error of each step that failed, by the name of the step, where failures are collected.
    """

    config: Config
    runtime: Runtime
    data: Data
    path: str
    config_file: str | None = None
    secret: SecretKey | None = None
    region: str | None = None
    warnings: tuple[str, ...] = ()
    failures: Mapping[str, CxgError] = field(default_factory=dict)
