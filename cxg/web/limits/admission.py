"""Bounds on the memory-intensive work that one worker does at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from cxg.web.limits.turns import Turn, Turns


class Admission:
    """Admits one long read at a time, and as many other answers as fit into a number of bytes.

    Parameters
    ----------
    making_bytes : int
        Bytes that answers may take together while they are made.
    most_scans : int
        Requests that may read or wait to read; more would leave no thread for other requests.
    """

    def __init__(self, making_bytes: int, most_scans: int) -> None:
        self._making_bytes = making_bytes
        self.turns = Turns(most_scans)
        self._changed = threading.Condition()
        self._made_bytes = 0

    @property
    def room_bytes(self) -> int:
        """Return the bytes that answers may take together while they are made."""
        return self._making_bytes

    @property
    def made_bytes(self) -> int:
        """Return the bytes that all answers being made take now."""
        return self._made_bytes

    def long_read(self, address: str = "", dataset: str = "") -> AbstractContextManager[Turn]:
        """Make one long read for a visitor: wait for its turn, and pause when it is another read's turn.

        Parameters
        ----------
        address, dataset : str
            The client and the dataset. All addresses have equal shares, and so have all datasets of an address.

        Raises
        ------
        Busy
            Too many reads wait already, most of them for this address.
        """
        return self.turns.turn(address, dataset)

    @contextmanager
    def background_scan(self) -> Iterator[None]:
        """Make one long read that no visitor waits for."""
        with self.turns.turn("", "", is_visitor=False):
            yield

    @contextmanager
    def memory(self, size_bytes: int | None) -> Iterator[None]:
        """Reserve memory while an answer is made; waits until it fits.

        Parameters
        ----------
        size_bytes : int or None
            A size beyond the whole room, or None for unknown, waits until no other answer is being made.
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
