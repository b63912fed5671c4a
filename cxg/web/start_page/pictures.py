"""The small pictures of the dataset list: drawn once for each version of a dataset, then kept in memory."""

from __future__ import annotations

import threading

import numpy as np
from cachetools import LRUCache

from cxg.compute import thumbnail
from cxg.format.columns import Labels
from cxg.format.dataset import Dataset
from cxg.format.sampling import sample_embedding
from cxg.memory_bounds import PICTURES_BYTES
from cxg.timeouts.calls import timed_calls
from cxg.web.start_page.summaries import color_column, picture_version, shown_embedding

_DRAWING_AT_ONCE = 2
_PLAIN = "#4477aa"


class Pictures:
    """PNGs by dataset name and version, the least recently used dropped when they exceed `max_bytes`."""

    def __init__(self, max_bytes: int = PICTURES_BYTES) -> None:
        self._lock = threading.Lock()
        self._drawing = threading.BoundedSemaphore(_DRAWING_AT_ONCE)
        self._kept: LRUCache[tuple[str, str], bytes] = LRUCache(max_bytes, getsizeof=len)

    def kept(self, name: str, version: str) -> bytes | None:
        """Return the picture of this version of a dataset if it has been drawn; touches no storage."""
        with self._lock:
            return self._kept.get((name, version))

    def draw(self, dataset: Dataset) -> bytes | None:
        """Return the picture of an open dataset; None when it has no embedding.

        The first call reads one embedding and one column. Only a few pictures are drawn at the same time, so
        that a page full of new datasets leaves the processors to other visitors.

        Raises
        ------
        DatasetInvalid, StorageUnavailable
            The embedding or the column cannot be read.
        """
        with timed_calls.hold(self._drawing):
            key = dataset.name, picture_version(dataset.fingerprint)
            png = self.kept(*key)
            if png is None:
                png = draw_dataset(dataset)
                if png is not None:
                    with self._lock:
                        self._kept[key] = png
        return png


def draw_dataset(dataset: Dataset) -> bytes | None:
    """Draw the embedding that the web client shows first, from a sample of cells; None when there is none."""
    embedding, column = shown_embedding(dataset), color_column(dataset)
    if embedding is None:
        return None
    cells = thumbnail.sample_cells(dataset.n_obs)
    xy = sample_embedding(dataset, embedding, cells)
    values = dataset.read_column("obs", column) if column is not None else None
    if column is None or not isinstance(values, Labels):
        return thumbnail.draw(xy, np.zeros(len(cells), np.int64), [_PLAIN])
    colors = thumbnail.label_colors(values.categories, dataset.colors.get(column))
    return thumbnail.draw(xy, values.codes[cells], colors)
