"""What open datasets need again and again, in memory that is bounded in bytes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from cachetools import LRUCache

T = TypeVar("T")


class BoundedCache:
    """Objects made once for an owner and used again; the least recently used make room. Share it between threads.

    What made room ends when the last one who uses it lets go of it: a TileDB array is never closed under its
    reader.

    Parameters
    ----------
    budget_bytes : most that all objects take together; the one used last is kept even if it alone takes more
    """

    def __init__(self, budget_bytes: int) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[tuple[object, Hashable], tuple[Any, int]] = LRUCache(
            budget_bytes, getsizeof=lambda item: min(item[1], budget_bytes)
        )

    @property
    def used_bytes(self) -> int:
        """What all that is kept takes, as it was said to."""
        return int(self._kept.currsize)

    def find_or_make(
        self, owner: object, what: Hashable, make: Callable[[], T], held_bytes: int | Callable[[T], int]
    ) -> T:
        """The object of this owner, made now if need be; by several threads at once, if they come at once.

        Parameters
        ----------
        held_bytes : the memory it takes, or how to tell once it is made
        """
        key = owner, what
        with self._lock:
            item = self._kept.get(key)
        if item is not None:
            value: T = item[0]
            return value
        value = make()
        size = held_bytes(value) if callable(held_bytes) else held_bytes
        with self._lock:
            self._kept[key] = value, size
        return value

    def owned(self, owner: object) -> list[Hashable]:
        """Which objects of an owner are kept."""
        with self._lock:
            return [what for holder, what in self._kept if holder is owner]

    def drop(self, owner: object, *whats: Hashable) -> None:
        """Let go of some objects of an owner, or of all."""
        for what in whats or self.owned(owner):
            with self._lock:
                self._kept.pop((owner, what), None)
