"""One lock for each key, as long as somebody holds or awaits it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable


class KeyedLock:
    """The lock of one key. Refer to it as long as it is needed, not to `lock` alone."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class KeyedLocks:
    """Locks by key, so that of several threads one does what belongs to a key; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: weakref.WeakValueDictionary[Hashable, KeyedLock] = weakref.WeakValueDictionary()

    def of(self, key: Hashable) -> KeyedLock:
        """Find or make the lock of `key`; it is the same one until nobody refers to it."""
        with self._lock:
            return self._locks.setdefault(key, KeyedLock())
