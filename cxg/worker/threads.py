"""Threads that take jobs from a queue; the futures of the standard library cost more than a short answer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

Job = tuple[Callable[[Any], None], Any]


class Threads:
    """A fixed number of threads; jobs wait their turn."""

    def __init__(self, count: int, name: str) -> None:
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        # Daemons: an interpreter that ends at once (SIGINT, SIGQUIT) does not wait for them.
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable[[Any], None], argument: Any) -> None:
        """Call the function in one of the threads; it must not raise."""
        self._jobs.put((function, argument))

    def shutdown(self, wait: bool = False) -> None:
        """End the threads after their current jobs, and drop all other jobs."""
        with contextlib.suppress(Empty):
            while True:
                self._jobs.get_nowait()
        for _ in self._threads:
            self._jobs.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, argument = job
            function(argument)
            # Release the job's memory while the thread waits for the next one.
            del job, function, argument
