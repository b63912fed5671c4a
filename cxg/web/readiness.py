"""Whether the dataroot answers, for `/health`."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout

from cxg.datasets.catalog import Catalog
from cxg.errors import CxgError

_WAIT_S = 3.0
_TTL_S = 2.0


class Readiness:
    """Whether the dataroot answers; asked at most every two seconds, and never waited for long."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, "readiness")
        self._asked: Future[None] | None = None
        self._known: tuple[float, str | None] | None = None

    def problem(self) -> str | None:
        """One sentence about what is wrong; None when all is well."""
        with self._lock:
            if self._known is not None and time.monotonic() - self._known[0] < _TTL_S:
                return self._known[1]
            if self._asked is None:
                self._asked = self._pool.submit(self._catalog.root.check)
            asked = self._asked
        try:
            asked.result(_WAIT_S)
            problem = None
        except FutureTimeout:
            return "The dataroot has not answered yet."
        except CxgError as error:
            problem = str(error)
        finally:
            # Whatever came of it, the next one asks anew.
            with self._lock:
                if asked.done() and self._asked is asked:
                    self._asked = None
        with self._lock:
            self._known = (time.monotonic(), problem)
        return problem
