"""How much of the work that takes memory one worker does at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from cxg.web.limits.turns import Turn, Turns


class Admission:
    """Lets long reads through one at a time, and of other answers as many as fit into a number of bytes.

    Parameters
    ----------
    making_bytes : what answers may take together while they are made
    most_scans : requests that read or wait to read; with more, no thread would be left for the others
    """

    def __init__(self, making_bytes: int, most_scans: int) -> None:
        self._making_bytes = making_bytes
        self.turns = Turns(most_scans)
        self._changed = threading.Condition()
        self._made_bytes = 0

    @property
    def room_bytes(self) -> int:
        """What answers may take together while they are made."""
        return self._making_bytes

    @property
    def made_bytes(self) -> int:
        """What all that is being made takes now."""
        return self._made_bytes

    def long_read(self, address: str = "", dataset: str = "") -> AbstractContextManager[Turn]:
        """One long read for a visitor; waits for its turn, and pauses when others have one.

        Parameters
        ----------
        address, dataset : who asks, and for what; each address has the same share, and each dataset of an address

        Raises
        ------
        Busy
            Too many wait already, most of them for this address.
        """
        return self.turns.turn(address, dataset)

    @contextmanager
    def background_scan(self) -> Iterator[None]:
        """One long read that no visitor waits for."""
        with self.turns.turn("", "", is_visitor=False):
            yield

    @contextmanager
    def memory(self, size_bytes: int | None) -> Iterator[None]:
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
