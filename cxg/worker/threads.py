"""Threads that take jobs from a queue; the futures of the standard library cost more than a short answer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

Job = tuple[Callable[[Any], None], Any]


class Threads:
    """A fixed number of threads; the clients whose jobs wait take turns, so that a flood delays its sender only."""

    def __init__(self, count: int, name: str) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, deque[Job]] = {}  # by client; the next one first
        # One entry for each job that waits; None ends a thread.
        self._calls: SimpleQueue[bool | None] = SimpleQueue()
        # Daemons: an interpreter that ends at once (SIGINT, SIGQUIT) does not wait for them.
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, client: str, function: Callable[[Any], None], argument: Any) -> None:
        """Call the function in one of the threads when it is the client's turn; it must not raise."""
        with self._lock:
            self._waiting.setdefault(client, deque()).append((function, argument))
        self._calls.put(True)

    def shutdown(self, wait: bool = False) -> None:
        """End the threads after their current jobs, and drop all other jobs."""
        with self._lock:
            self._waiting.clear()
        for _ in self._threads:
            self._calls.put(None)
        if wait:
            for thread in self._threads:
                thread.join()

    def _run(self) -> None:
        while self._calls.get() is not None:
            job = self._next()
            if job is None:
                continue
            function, argument = job
            function(argument)
            # Release the job's memory while the thread waits for the next one.
            del job, function, argument

    def _next(self) -> Job | None:
        """Take the oldest job of the client whose turn it is; None after a shutdown."""
        with self._lock:
            client = next(iter(self._waiting), None)
            if client is None:
                return None
            jobs = self._waiting.pop(client)
            job = jobs.popleft()
            if jobs:
                self._waiting[client] = jobs
            return job
