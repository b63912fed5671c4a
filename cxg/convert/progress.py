"""A progress bar on a terminal, nothing elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Step = Callable[[str, int, int], None]
"""Called with (what is being done, how much is done, of how much)."""


def silent(what: str, done: int, total: int) -> None:
    """Show nothing."""


@contextmanager
def bar() -> Iterator[Step]:
    """Draw on stderr when it is a terminal."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console  # only for a person at a terminal: it takes a while to import
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks: dict[str, int] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = int(progress.add_task(what, total=total))
            progress.update(progress.task_ids[list(tasks).index(what)], completed=done, total=total)

        yield step
