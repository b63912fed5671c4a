"""The right answers: from a quiet server of the same code that nothing disturbs, checked against the arrays that were written.

What a dataset holds is known from the generator, and compared with numpy and scipy; byte for byte the answers are
those of a server that decodes nothing in advance and that nobody else asks.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.stats

from tests.cxgs import Truth
from tests.decode import decode
from tests.integration.launched import Launched, launched
from tests.soak.client import Client, address, digest_of
from tests.soak.datasets import DAMAGES, questions_of
from tests.soak.judge import Right
from tests.soak.questions import COMPARISON, EMBEDDING, GENE, MEAN, Question, compared_cells, mean_genes

_SETTINGS = {"CXG_WORKERS": "1", "CXG_CACHE_MB": "0", "CXG_MEMORY_MB": "1000"}


@contextlib.contextmanager
def running(folder: Path, versions: Path) -> Iterator[Launched]:
    """Run the quiet server over the folder of all versions until the block ends."""
    with launched(folder, str(versions), environment=_SETTINGS) as server:
        yield server


class Oracle:
    """Asks the quiet server.

    Parameters
    ----------
    server : Launched
        As `running` gives it.
    """

    def __init__(self, server: Launched) -> None:
        self._client = Client(server.port, timeout_s=120)

    def ask(self, version: str, question: Question) -> tuple[int, bytes]:
        """Status and body of the right answer."""
        return self._client.ask(address(f"{version}.cxg", question), question.body)[:2]

    def answers(self, version: str, truth: Truth | None) -> dict[str, Right]:
        """Right answers to everything about one version.

        Raises
        ------
        AssertionError
            The quiet server itself is wrong about what was written.
        """
        found = {}
        for question in questions_of(version):
            status, body = self.ask(version, question)
            if truth is not None:
                assert status == 200, f"{version}, {question.key}: {status} {body[:300]!r}"
                check(truth, question, body)
            found[question.key] = Right(status, digest_of(question, body), len(body))
        return found


def check_damaged(found: Mapping[str, Mapping[str, Right]]) -> None:
    """Hold that a damaged dataset gives the values that the good one gave, or none.

    Raises
    ------
    AssertionError
        The quiet server gives other values with status 200.
    """
    for version in DAMAGES:
        statuses = {right.status for right in found[version].values()}
        assert statuses - {200}, f"{version}: every question is answered, so nothing is damaged"
        for question in questions_of(version):
            damaged, good = found[version][question.key], found["damaged.1"][question.key]
            if question.kind in (GENE, MEAN, COMPARISON, EMBEDDING) and damaged.status == 200:
                assert damaged == good, f"{version}, {question.key}: values that differ from those of the good dataset"


def check(truth: Truth, question: Question, body: bytes) -> None:
    """Compare an answer with the arrays that were written.

    Raises
    ------
    AssertionError
        It differs.
    """
    where = f"{truth.path.name}, {question.key}"
    if question.kind == GENE:
        _same(decode(body).columns[0].values, truth.X[:, truth.genes.index(question.key)], where)
    elif question.kind == MEAN:
        genes = mean_genes(int(question.key.split()[1]))
        mean = truth.X[:, genes].astype(np.float64).mean(axis=1).astype(np.float32)
        np.testing.assert_allclose(decode(body).columns[0].values, mean, rtol=1e-5, atol=1e-6, err_msg=where)
    elif question.kind == EMBEDDING:
        _check_embedding(
            np.column_stack([column.values for column in decode(body).columns]), truth.embeddings[question.key], where
        )
    elif question.kind == COMPARISON:
        _check_comparison(truth, int(question.key.split()[1]), json.loads(body), where)
    elif question.key.startswith(("obs ", "var ")):
        axis, name = question.key.split()
        _check_column(decode(body).columns[0].values, getattr(truth, axis)[name].values, where)


def _same(found: Any, wanted: Any, where: str) -> None:
    np.testing.assert_array_equal(found, wanted, err_msg=where)


def _check_column(found: Any, wanted: list[Any], where: str) -> None:
    if isinstance(wanted[0], float):
        _same(np.asarray(found, np.float32), np.asarray(wanted, np.float32), where)
    elif isinstance(wanted[0], bool):
        _same(np.asarray(found).astype(bool), np.asarray(wanted), where)
    else:
        assert [str(one) for one in found] == [str(one) for one in wanted], where


def _check_embedding(found: Any, wanted: Any, where: str) -> None:
    """Compare shapes of the two clouds of points: the answer is scaled into the unit square and keeps proportions."""
    span = np.nanmax(wanted, axis=0) - np.nanmin(wanted, axis=0)
    scaled = (wanted - np.nanmin(wanted, axis=0)) / span.max() + (0.5 - span / (2 * span.max()))
    np.testing.assert_allclose(found, scaled, atol=1e-5, err_msg=where)


def _check_comparison(truth: Truth, part: int, found: dict[str, Any], where: str) -> None:
    """Compare with Welch's test; the sets are equally large, where the published variant agrees with it."""
    first, second = (truth.X[slice(*run)].astype(np.float64) for run in compared_cells(truth.n_obs, part))
    welch = scipy.stats.ttest_ind(first, second, equal_var=False)
    entries = found["positive"] + found["negative"]
    assert entries, where
    for gene, difference, p, _ in entries:
        np.testing.assert_allclose(
            difference, (first.mean(axis=0) - second.mean(axis=0))[gene], rtol=1e-6, err_msg=where
        )
        np.testing.assert_allclose(p, welch.pvalue[gene], rtol=1e-5, atol=1e-300, err_msg=where)
