"""How much of the work that takes memory one worker does at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cxg.errors import Busy

# Short reads let everybody through in this time; long ones would keep the threads that are left.
_PATIENCE_S = 1.0


class Work:
    """Lets long reads through one at a time, and of other answers as many as fit into a number of bytes.

    Parameters
    ----------
    making_bytes : what answers may take together while they are made
    most_scans : requests that read or wait to read; with more, no thread would be left for the others
    """

    def __init__(self, making_bytes: int, most_scans: int) -> None:
        self._making_bytes, self._most_scans = making_bytes, max(1, most_scans)
        self._scan = threading.Lock()
        self._changed = threading.Condition()
        self._made_bytes = self._scans = 0

    @property
    def room_bytes(self) -> int:
        """What answers may take together while they are made."""
        return self._making_bytes

    @property
    def made_bytes(self) -> int:
        """What all that is being made takes now."""
        return self._made_bytes

    @contextmanager
    def scan(self) -> Iterator[None]:
        """One long read for a visitor; waits for others to end.

        Raises
        ------
        Busy
            Too many wait already, and did so for a while.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._scans < self._most_scans, _PATIENCE_S):
                raise Busy("The server is busy with comparisons and gene set means; try again soon.")
            self._scans += 1
        try:
            with self._scan:
                yield
        finally:
            with self._changed:
                self._scans -= 1
                self._changed.notify_all()

    @contextmanager
    def background_scan(self) -> Iterator[None]:
        """One long read that no visitor waits for."""
        with self._scan:
            yield

    @contextmanager
    def making(self, size_bytes: int | None) -> Iterator[None]:
        """Make something of which about so many bytes are in memory at a time; waits until they fit.

        Parameters
        ----------
        size_bytes : what is larger than all that there is waits until nothing else is made; so does None, an unknown
        """
        size = self._making_bytes if size_bytes is None else min(size_bytes, self._making_bytes)
        with self._changed:
            self._changed.wait_for(lambda: self._made_bytes + size <= self._making_bytes)
            self._made_bytes += size
        try:
            yield
        finally:
            with self._changed:
                self._made_bytes -= size
                self._changed.notify_all()
