"""The check whether the dataroot answers, for `/health`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout

from cxg.datasets.catalog import Catalog
from cxg.errors import CxgError


class Readiness:
    """Checks whether the dataroot answers: at most once in `ttl_s`, and with a bounded wait.

    Parameters
    ----------
    wait_s : float
        Longest wait for an answer.
    ttl_s : float
        Time for which an answer counts.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self,
        catalog: Catalog,
        wait_s: float = 3.0,
        ttl_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog, self._wait_s, self._ttl_s, self._clock = catalog, wait_s, ttl_s, clock
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, "readiness")
        self._asked: Future[None] | None = None
        self._known: tuple[float, str | None] | None = None

    def problem(self) -> str | None:
        """Say in one sentence what is wrong with the dataroot; None when it answers."""
        with self._lock:
            if self._known is not None and self._clock() - self._known[0] < self._ttl_s:
                return self._known[1]
            if self._asked is None:
                self._asked = self._pool.submit(self._catalog.root.check)
            asked = self._asked
        try:
            asked.result(self._wait_s)
            problem = None
        except FutureTimeout:
            return "The dataroot has not answered yet."
        except CxgError as error:
            problem = str(error)
        finally:
            # Whatever the outcome, the next call checks again.
            with self._lock:
                if asked.done() and self._asked is asked:
                    self._asked = None
        with self._lock:
            self._known = (self._clock(), problem)
        return problem
