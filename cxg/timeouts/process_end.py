"""Ends a process although calls hang that cannot be cancelled (`cxg.timeouts.calls`)."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import sys

from cxg.timeouts.calls import timed_calls

_exit_codes = [0]


def end_process_despite_stuck_calls() -> None:
    """Let the process end without waiting, as TileDB would, for threads in calls that hang."""
    atexit.register(_leave)


def note_exit_code(code: int) -> int:
    """Remember the code that the process will exit with, and return it."""
    _exit_codes[0] = code
    return code


def _leave() -> None:
    if timed_calls.stuck:
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(_exit_codes[0])
