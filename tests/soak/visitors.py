"""Ordinary visitors: they open datasets, colour by columns and genes, compare, and think in between.

They live in a process of their own. Each has its own address of this machine, as far as it
has several, and keeps its connection. What they get goes to the parent as `Answer`s.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import random
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from tests.soak import questions as kinds
from tests.soak.client import Client, address, digest_of, end_with_a_thread, source_address
from tests.soak.datasets import ALL, STEADY, questions_of
from tests.soak.judge import Answer, RightAnswers
from tests.soak.questions import Question

_THINK_S = 0.35
# Steady datasets are asked for half of the time.
_STEADY_SHARE = 0.5
# So many genes are asked for in a way that no cache can answer.
_FRESH_SHARE = 0.5
_MOST_KEPT = 40
_numbers = itertools.count()


class Job(NamedTuple):
    """What the process of the visitors has to do.

    Attributes
    ----------
    ports : dict of str to int
        Of the servers, by name.
    visitors : int
        For each server.
    seed : int
    right : mapping
        Right answers, to tell which bodies are worth keeping.
    folder : Path
        Bodies that nobody knows are kept there.
    """

    ports: dict[str, int]
    visitors: int
    seed: int
    right: RightAnswers
    folder: Path


class Visitor:
    """One of them.

    Parameters
    ----------
    number : int
        Of all visitors; it gives the address.
    """

    def __init__(self, job: Job, server: str, number: int) -> None:
        self._job, self._server = job, server
        self._rng = random.Random(job.seed * 1000 + number)
        self._client = Client(job.ports[server], source_address(number))
        self._known = {name: {question.key: question for question in questions_of(name)} for name in ALL}

    def visit(self, done: threading.Event, note: Any) -> None:
        """Ask, and tell what came, until `done`."""
        while not done.is_set():
            for dataset, question in self._walk():
                note(self._ask(dataset, question))
                if done.wait(min(2.0, self._rng.expovariate(1 / _THINK_S))):
                    break
        self._client.close()

    def _walk(self) -> Iterator[tuple[str, Question]]:
        """What one visitor does in a row: open a dataset, then look at it in some ways."""
        rng = self._rng
        dataset = rng.choice(STEADY if rng.random() < _STEADY_SHARE else ALL)
        known = list(self._known[dataset].values())
        yield dataset, Question(kinds.START, "start", "")
        opening = ("page", "schema", "config", "colors", "genesets", "umap", "var name_0", "obs label", "picture")
        for key in opening:
            yield dataset, self._known[dataset][key]
        for _ in range(rng.randint(4, 12)):
            chance = rng.random()
            kind = kinds.GENE if chance < 0.6 else kinds.COLUMN if chance < 0.75 else kinds.EMBEDDING
            kind = kind if chance < 0.82 else kinds.MEAN if chance < 0.92 else kinds.COMPARISON
            yield dataset, self._fresh(rng.choice([one for one in known if one.kind == kind]))

    def _fresh(self, question: Question) -> Question:
        """The same gene under another address: `nbins` is no part of a filter, but of what the cache goes by."""
        if question.kind != kinds.GENE or self._rng.random() >= _FRESH_SHARE:
            return question
        return question._replace(route=f"{question.route}&nbins={next(_numbers)}")

    def _ask(self, dataset: str, question: Question) -> Answer:
        path = "/" if question.kind == kinds.START else address(dataset, question)
        began_s, error, found = time.monotonic(), "", (0, b"", False)
        try:
            found = self._client.ask(path, question.body)
        except (OSError, http.client.HTTPException, EOFError) as failure:
            error = f"{type(failure).__name__}: {failure}"
        status, body, retry_after = found
        asked = (self._server, dataset, question.key, question.kind, path, began_s, time.monotonic())
        digest = digest_of(question, body)
        kept = self._keep(dataset, question, body, digest) if status == 200 else ""
        error = error or (body[:200].decode(errors="replace") if status != 200 else "")
        return Answer(*asked, status, digest, len(body), retry_after, error, kept)

    def _keep(self, dataset: str, question: Question, body: bytes, digest: str) -> str:
        """Keep a body that is no right answer to this question about any dataset; gives its file."""
        if question.kind == kinds.START:
            return "" if STEADY[0].encode() in body or b'http-equiv="refresh"' in body else self._write(body)
        known = (answers.get(question.key) for answers in self._job.right.values())
        return "" if any(one is not None and one.digest == digest for one in known) else self._write(body)

    def _write(self, body: bytes) -> str:
        target = self._job.folder / f"wrong-{self._server}-{next(_numbers)}"
        with contextlib.suppress(OSError):
            if len(list(self._job.folder.glob("wrong-*"))) < _MOST_KEPT:
                target.write_bytes(body)
        return str(target)


def run(job: Job, parent: Connection) -> None:
    """Let the visitors ask until the parent says something; for a process of its own."""
    end_with_a_thread()
    done, lock = threading.Event(), threading.Lock()
    batch: list[Answer] = []

    def note(answer: Answer) -> None:
        with lock:
            batch.append(answer)

    numbers = itertools.count()
    visitors = [Visitor(job, server, next(numbers)) for server in job.ports for _ in range(job.visitors)]
    threads = [threading.Thread(target=visitor.visit, args=(done, note)) for visitor in visitors]
    for thread in threads:
        thread.start()
    while not done.is_set() or any(thread.is_alive() for thread in threads):
        if parent.poll(0.5) and not done.is_set():
            parent.recv()
            done.set()
        with lock:
            sent, batch[:] = list(batch), []
        if sent:
            parent.send(sent)
    with lock:
        parent.send(list(batch))
    parent.send(None)
