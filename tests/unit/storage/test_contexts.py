"""TileDB contexts: counted, replaced in time, and ended when nothing needs them any more."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref
from pathlib import Path

from cxg.config import default
from cxg.format.dataset import open_dataset
from cxg.storage.contexts import Contexts, note_use
from cxg.storage.storage import Storage
from tests import cxgs


def few_uses() -> Storage:
    """A storage whose contexts are replaced after three uses."""
    storage = Storage(default())
    storage.contexts.most_uses = 3
    return storage


def test_a_context_is_replaced_after_so_many_uses() -> None:
    contexts = Contexts({"column": {}, "row": {}})
    contexts.most_uses = 3
    calls: list[int] = []
    contexts.on_replaced(lambda: calls.append(contexts.generation))
    first = contexts.find("column"), contexts.find("row")
    for ctx in (first[0], first[1]):
        note_use(ctx)
    assert contexts.find("column") is first[0]
    assert contexts.generation == 0
    note_use(first[0])
    assert calls == [contexts.generation] == [1]
    assert contexts.find("column") is not first[0]
    assert contexts.find("row") is not first[1]


def test_every_read_and_every_open_counts(tmp_path: Path) -> None:
    cxgs.build(tmp_path / "a.cxg")
    storage = Storage(default())
    before = storage.contexts.uses
    dataset = open_dataset(storage, str(tmp_path / "a.cxg"), "a.cxg")
    opened = storage.contexts.uses
    assert opened - before == 5  # obs, var, two embeddings, metadata
    dataset.read_embedding("umap")
    dataset.read_column("obs", dataset.obs.index)  # text is read in a way of its own
    assert storage.contexts.uses - opened == 2
    dataset.close()


def test_a_replaced_context_ends_with_the_last_array_that_needs_it(tmp_path: Path) -> None:
    cxgs.build(tmp_path / "a.cxg", embeddings=("umap",))
    storage = few_uses()
    old = weakref.ref(storage.column_ctx)
    dataset = open_dataset(storage, str(tmp_path / "a.cxg"), "a.cxg")
    for _ in range(4):
        dataset.read_embedding("umap")
    gc.collect()
    assert storage.column_ctx is not old()
    assert old() is not None
    assert dataset.read_embedding("umap").shape == (30, 2)
    dataset.close()
    del dataset
    gc.collect()
    assert old() is None


def test_objects_of_a_replaced_context_are_made_anew() -> None:
    storage = few_uses()
    objects, old = storage.objects, storage.column_ctx
    assert storage.objects is objects
    for _ in range(3):
        note_use(old)
    assert storage.objects is not objects
    assert storage.objects.ctx is storage.column_ctx
    ended = weakref.ref(old)
    del objects, old
    gc.collect()
    assert ended() is None


def test_memory_does_not_grow_with_reads_and_opens(project: Path) -> None:
    """If contexts stayed, what TileDB keeps for each use would add up to about 2,000 and 900 kB here."""
    command = [sys.executable, "-m", "tests.growth", "--reads", "1400", "--opens", "400", "--most-uses", "50"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["generation"] > 20
    assert found["reads"] < 1_300, found
    assert found["opens"] < 650, found
