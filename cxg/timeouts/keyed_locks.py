"""One lock for each key, kept as long as a thread holds or awaits it."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Hashable


class KeyedLock:
    """The lock of one key; keep a reference to this object, not to `lock` alone, while it is needed."""

    def __init__(self) -> None:
        self.lock = threading.Lock()


class KeyedLocks:
    """Locks by key, so that one thread at a time works on a key; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: weakref.WeakValueDictionary[Hashable, KeyedLock] = weakref.WeakValueDictionary()

    def of(self, key: Hashable) -> KeyedLock:
        """Find or make the lock of `key`; it stays the same as long as a thread refers to it."""
        with self._lock:
            return self._locks.setdefault(key, KeyedLock())
