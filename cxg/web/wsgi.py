"""The application object for gunicorn: ``cxg.web.wsgi:app``.

Importing this module reads the configuration from the environment (`CXG_CONFIG_FILE` and
the overrides listed in docs/config.md). gunicorn loads it before it forks its workers, so
they share its memory; TileDB contexts are made in each worker, at its first read.
"""

from __future__ import annotations

import sys

from cxg.config.files import load_config
from cxg.errors import ConfigError
from cxg.timeouts.process_end import end_process_despite_stuck_calls
from cxg.web.app import create_app

end_process_despite_stuck_calls()
try:
    app = create_app(load_config())
except ConfigError as error:  # a plugin, most likely: the rest was checked before gunicorn started
    for problem in error.problems:
        sys.stderr.write(f"cellxgene-eb: error: {problem}\n")
    sys.exit(2)
