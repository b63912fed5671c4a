"""The application object for gunicorn: ``cxg.web.wsgi:app``.

Importing this module reads the configuration from the environment (`CXG_CONFIG_FILE` and
the overrides listed in docs/config.md). gunicorn loads it before it forks its workers, so
they share its memory; TileDB contexts are made in each worker, at its first read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from cxg.config import Config
from cxg.config.files import load_config
from cxg.config.runtime import Runtime
from cxg.errors import ConfigError
from cxg.timeouts.process_end import end_process_despite_stuck_calls
from cxg.web.app import create_app


def read_back(env: Mapping[str, str]) -> tuple[Config, Runtime]:
    """Read what `cxg.startup.gunicorn.server_environment` has put into the environment.

    Raises
    ------
    ConfigError
        The configuration cannot be read, or something in it is wrong.
    """
    runtime = Runtime.of(env)
    return load_config(runtime), runtime


end_process_despite_stuck_calls()
try:
    config, runtime = read_back(os.environ)
    app = create_app(config, runtime=runtime)
except ConfigError as error:  # a plugin, most likely: the rest was checked before gunicorn started
    for problem in error.problems:
        sys.stderr.write(f"cellxgene-eb: error: {problem}\n")
    sys.exit(2)
