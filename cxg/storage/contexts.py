"""TileDB contexts, replaced after a bounded number of uses.

A TileDB context notes statistics of every query and every open array, and keeps them until it ends
(measured with TileDB-Py 0.36.1: 12.5 kB for a query, 3 kB for an array, whether statistics are
switched on or not). `tiledb.stats_reset` gives three quarters of it back; the rest goes when the
context does. So a context serves a bounded number of uses, then a new one takes its place. The old
one lives until the last array that was opened with it is closed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import tiledb

# Of each use 3.4 kB remain after the statistics were reset, so contexts in use hold some 3.5 MB more than new ones.
MOST_USES = 1000
_USES_PER_RESET = 100


class Context(tiledb.Ctx):  # type: ignore[misc]
    """A TileDB context that says when it is used; an array knows the one it was opened with (`Array.ctx`)."""

    def __init__(self, settings: Mapping[str, str], note_use: Callable[[], None]) -> None:
        super().__init__(dict(settings))
        self.note_use = note_use


class Contexts:
    """The contexts of one process; safe to share between threads. None is made before the first use.

    Parameters
    ----------
    settings : {name: TileDB configuration}
        One context is made for each name.

    Attributes
    ----------
    most_uses : int
        Uses after which the contexts are replaced.
    """

    def __init__(self, settings: Mapping[str, Mapping[str, str]]) -> None:
        self._settings = settings
        self.most_uses = MOST_USES
        self._lock = threading.Lock()
        self._made: dict[str, Context] = {}
        self._uses = self._allowed = self._generation = 0
        self._listeners: list[Callable[[], None]] = []

    @property
    def generation(self) -> int:
        """Tell how often the contexts were replaced."""
        return self._generation

    @property
    def uses(self) -> int:
        """Tell how often the current contexts were used."""
        return self._uses

    @property
    def are_made(self) -> bool:
        """Tell whether any context exists, with threads of its own that a fork would lose."""
        return bool(self._made)

    def on_replaced(self, listener: Callable[[], None]) -> None:
        """Have `listener` called whenever new contexts take over, so that it lets go of arrays of old ones.

        The thread that made the last use of the old contexts calls it, so it must return at once.
        """
        self._listeners.append(listener)

    def allow(self, uses: int) -> None:
        """Let the current contexts serve for a number of uses more."""
        with self._lock:
            self._allowed += uses

    def find(self, name: str) -> Context:
        """Return the context of that name that is to be used now."""
        with self._lock:
            if name not in self._made:
                self._made[name] = Context(self._settings[name], self.note_use)
            return self._made[name]

    def note_use(self) -> None:
        """Count one query, or one array that is opened."""
        with self._lock:
            self._uses += 1
            is_worn = self._uses >= self.most_uses + self._allowed
            is_reset_due = is_worn or self._uses % _USES_PER_RESET == 0
            if is_worn:
                self._uses, self._allowed, self._made = 0, 0, {}
                self._generation += 1
        if is_reset_due:
            tiledb.stats_reset()
        if is_worn:
            for listener in self._listeners:
                listener()


def note_use(ctx: tiledb.Ctx) -> None:
    """Count one query with a context, if it is one of ours."""
    if isinstance(ctx, Context):
        ctx.note_use()
