"""Ending a process while calls hang that nobody can end (`cxg.timeouts.calls`)."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys

from cxg.timeouts.calls import stalls

_exit_codes = [0]


def end_process_despite_stuck_calls() -> None:
    """When the process ends, do not wait for what TileDB would wait for: threads in calls that hang."""
    atexit.register(_leave)


def note_exit_code(code: int) -> int:
    """Remember with which code the process is going to end."""
    _exit_codes[0] = code
    return code


def _leave() -> None:
    if stalls.stuck:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(_exit_codes[0])
