"""Visitors that ask without pause and compare every answer with the right ones."""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import requests

from tests.integration.hostile import API
from tests.integration.launched import Launched

ROUTES = (
    *("schema", "config", "colors", "layout/obs?layout-name=umap", "layout/obs?layout-name=pca"),
    *("annotations/obs?annotation-name=name_0", "annotations/obs?annotation-name=label"),
    *("annotations/var?annotation-name=name_0", *(f"data/var?var:name_0=gene{i}" for i in range(0, 30, 3))),
    *("summarize/var?method=mean&var:name_0=gene0&var:name_0=gene7", "diffexp/obs"),
)
COMPARISON = {
    "mode": "topN",
    "count": 10,
    "set1": {"filter": {"obs": {"index": [[0, 10]]}}},
    "set2": {"filter": {"obs": {"index": [[10, 25]]}}},
}


def bodies(ask: Any, dataset: str) -> dict[str, bytes]:
    """Right answers of every route: `ask` is a test client whose dataset is well."""
    found = {}
    for route in ROUTES:
        path = f"/d/{dataset}/{API}{route}"
        answer = ask.post(path, json=COMPARISON) if "diffexp" in route else ask.get(path)
        assert answer.status_code == 200, (path, answer.data)
        found[route] = answer.data
    return found


class Visitors:
    """Threads that ask about one dataset.

    Parameters
    ----------
    right : for each route, the bodies that are right; more may be added while they ask
    fresh : ask so that no answer comes from the cache, where the route has a parameter for that
    """

    def __init__(
        self, server: Launched, dataset: str, right: Sequence[Mapping[str, bytes]], fresh: bool = False
    ) -> None:
        self._server, self._dataset, self._fresh = server, dataset, fresh
        self.right = list(right)
        self.statuses: Counter[int] = Counter()
        self.wrong: list[tuple[str, int, bytes]] = []
        self.dropped: list[str] = []
        self.slowest_s = 0.0
        self._done = threading.Event()
        self._numbers = itertools.count()

    def ask(self, session: requests.Session, route: str) -> None:
        """Ask once and judge the answer."""
        url = f"{self._server.url}/d/{self._dataset}/{API}{route}"
        if self._fresh and route.startswith("data/"):
            url += f"&nbins={next(self._numbers)}"  # left out of the filter, but part of the cache's key
        started = time.monotonic()
        try:
            answer = (
                session.post(url, json=COMPARISON, timeout=60) if "diffexp" in route else session.get(url, timeout=60)
            )
        except requests.RequestException as error:
            self.dropped.append(f"{route}: {error!r}")
            return
        self.slowest_s = max(self.slowest_s, time.monotonic() - started)
        self.statuses[answer.status_code] += 1
        if not self._is_right(route, answer):
            self.wrong.append((route, answer.status_code, answer.content[:300]))

    def _is_right(self, route: str, answer: requests.Response) -> bool:
        if answer.status_code == 200:
            return any(_same(route, answer.content, known[route]) for known in self.right)
        with contextlib.suppress(ValueError):
            message = json.loads(answer.content)["message"]
            return answer.status_code in (400, 404, 503) and message.endswith(".")
        return False

    def _visit(self, seed: int, pause_s: float) -> None:
        rng = random.Random(seed)
        with requests.Session() as session:
            while not self._done.wait(pause_s):
                self.ask(session, rng.choice(ROUTES))

    @contextlib.contextmanager
    def asking(self, threads: int = 2, pause_s: float = 0.005) -> Iterator[None]:
        """Ask in the background until the block ends."""
        running = [threading.Thread(target=self._visit, args=(seed, pause_s)) for seed in range(threads)]
        for thread in running:
            thread.start()
        try:
            yield
        finally:
            self._done.set()
            for thread in running:
                thread.join()
            self._done.clear()


def _same(route: str, body: bytes, right: bytes) -> bool:
    """Whether a body is right; where X is damaged, the configuration says that there is no differential expression."""
    if route == "config":
        body, right = (one.replace(b'"disable-diffexp": true', b'"disable-diffexp": false') for one in (body, right))
    return body == right
