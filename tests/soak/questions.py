"""What ordinary visitors ask of a dataset: every question by a key under which its right answer is known."""

from __future__ import annotations

import json
from typing import NamedTuple

from tests.integration.hostile import API

PAGE, SCHEMA, COLUMN, EMBEDDING = "page", "schema", "column", "embedding"
GENE, MEAN, COMPARISON, PICTURE = "gene", "mean", "comparison", "picture"
START = "start page"
KINDS = (START, PAGE, SCHEMA, PICTURE, COLUMN, EMBEDDING, GENE, MEAN, COMPARISON)
COLUMNS = ("name_0", "label", "number", "count", "flag", "note")
EMBEDDINGS = ("umap", "pca")
# Oddly named genes come last; they are not asked for.
_ODD = 9
_GENES_PER_MEAN = 5


class Question(NamedTuple):
    """One request about a dataset.

    Attributes
    ----------
    kind : str
        One of `KINDS`; latencies are told by it.
    key : str
        Names the question among those of a dataset.
    route : str
        Path and query below the dataset's own address.
    body : bytes, or None
        JSON to post.
    """

    kind: str
    key: str
    route: str
    body: bytes | None = None


def questions(n_obs: int, n_var: int) -> tuple[Question, ...]:
    """Everything that is asked of a dataset of this size; its genes are called gene0, gene1, ..."""
    found = [Question(PAGE, "page", ""), Question(PICTURE, "picture", "thumbnail.png")]
    found += [Question(SCHEMA, name, f"{API}{name}") for name in ("schema", "config", "colors", "genesets")]
    found += [Question(COLUMN, f"obs {name}", f"{API}annotations/obs?annotation-name={name}") for name in COLUMNS]
    found.append(Question(COLUMN, "var name_0", f"{API}annotations/var?annotation-name=name_0"))
    found += [Question(EMBEDDING, name, f"{API}layout/obs?layout-name={name}") for name in EMBEDDINGS]
    genes = n_var - _ODD if n_var > 20 else n_var
    found += [Question(GENE, f"gene{i}", f"{API}data/var?var:name_0=gene{i}") for i in range(genes)]
    for first in range(0, genes - _GENES_PER_MEAN, _GENES_PER_MEAN):
        names = "&".join(f"var:name_0=gene{i}" for i in mean_genes(first))
        found.append(Question(MEAN, f"mean {first}", f"{API}summarize/var?method=mean&{names}"))
    found += [
        Question(COMPARISON, f"comparison {part}", f"{API}diffexp/obs", comparison_body(n_obs, part))
        for part in range(2, 8)
    ]
    return tuple(found)


def mean_genes(first: int) -> list[int]:
    """Positions of the genes whose mean is asked for under the key `mean <first>`."""
    return list(range(first, first + _GENES_PER_MEAN))


def compared_cells(n_obs: int, part: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two runs of cells, by start and end: a share of 1 / `part` of the dataset, and as many after it."""
    size = n_obs // (part + 1)
    return (0, size), (size, 2 * size)


def comparison_body(n_obs: int, part: int) -> bytes:
    """Body of a comparison of `compared_cells`."""
    first, second = ({"filter": {"obs": {"index": [list(run)]}}} for run in compared_cells(n_obs, part))
    return json.dumps({"mode": "topN", "count": 10, "set1": first, "set2": second}).encode()
