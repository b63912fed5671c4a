"""A cache, bounded in bytes, for the objects that open datasets use repeatedly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from cachetools import LRUCache

T = TypeVar("T")


class BoundedCache:
    """Objects made once for an owner and used again; the least recently used are evicted. Safe for threads.

    An evicted object lives until its last user drops it: a TileDB array is never closed under its reader.

    Parameters
    ----------
    budget_bytes : int
        Most that all objects take together; the one used last is kept even if it alone takes more.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._lock = threading.Lock()
        self._kept: LRUCache[tuple[object, Hashable], tuple[Any, int]] = LRUCache(
            budget_bytes, getsizeof=lambda item: min(item[1], budget_bytes)
        )

    @property
    def used_bytes(self) -> int:
        """Return the bytes that all objects take, as their makers stated them."""
        return int(self._kept.currsize)

    def find_or_make(
        self, owner: object, what: Hashable, make: Callable[[], T], held_bytes: int | Callable[[T], int]
    ) -> T:
        """Return the object of this owner, made now if needed; threads that ask at the same time may each make it.

        Parameters
        ----------
        held_bytes : int or callable
            Memory that the object takes, or a function that computes it from the object.
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
        """List the keys of an owner's objects."""
        with self._lock:
            return [what for holder, what in self._kept if holder is owner]

    def drop(self, owner: object, *whats: Hashable) -> None:
        """Drop some objects of an owner, or all."""
        for what in whats or self.owned(owner):
            with self._lock:
                self._kept.pop((owner, what), None)
