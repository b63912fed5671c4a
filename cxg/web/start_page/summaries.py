"""The entries of the list of datasets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cxg.compute.thumbnail import choose_column
from cxg.descriptions.model import NOTHING_SAID, Description
from cxg.descriptions.portal import from_dataset
from cxg.format.dataset import Dataset
from cxg.web.start_page.facts import NO_FACTS, Facts, facts_of
from cxg.web.start_page.texts import NAME_MAX, SENTENCE_MAX, TITLE_MAX, shorten

# Hex digits of a fingerprint that tell versions of one dataset apart; with all digits they were a fifth of a long list.
_VERSION_LENGTH = 8
_FAVOURITES = ("umap", "tsne", "pca")  # the web client's choices when the dataset names no default


@dataclass(frozen=True, slots=True)
class DatasetSummary:
    """One entry of the list; its texts are short, whatever the dataset says.

    Attributes
    ----------
    name : str
        As in the URL.
    title : str
    n_obs, n_var : int
        Cells and genes; 0 when the dataset cannot be opened.
    problem : str or None
        Why the dataset cannot be opened or shown, one sentence; its card then has no link.
    note : str or None
        Which part is missing although the dataset opens, one sentence.
    version : str
        Version of the files that were read; part of the picture's address, so that browsers may keep it.
    embedding : str or None
        The embedding in the picture; None when there is none to draw.
    color_by : str or None
        The categorical column that the picture is coloured by.
    facts : Facts
        What its description and the CXG itself say of it.
    """

    name: str
    title: str
    n_obs: int = 0
    n_var: int = 0
    problem: str | None = None
    note: str | None = None
    version: str = ""
    embedding: str | None = None
    color_by: str | None = None
    facts: Facts = NO_FACTS


def view_problem(dataset: Dataset, offered: Sequence[str] = ()) -> str | None:
    """Say in one sentence why the web client cannot show an open dataset; None when it can.

    Parameters
    ----------
    dataset : Dataset
    offered : sequence of str
        Names of embeddings that the configuration allows; empty allows all.
    """
    if dataset.view_problem is not None or not offered or set(offered) & set(dataset.embeddings):
        return dataset.view_problem
    wanted = ", ".join(offered)
    return f"It has none of the embeddings that embeddings.names in the configuration offers ({wanted})."


def summarize(dataset: Dataset, offered: Sequence[str] = (), description: Description = NOTHING_SAID) -> DatasetSummary:
    """Describe an open dataset; reads no values.

    Parameters
    ----------
    dataset : Dataset
    offered : sequence of str
        As in `view_problem`.
    description : Description
        What the file beside the dataset says; it wins over what the CXG says.
    """
    problem, note = view_problem(dataset, offered), dataset.x_problem
    return DatasetSummary(
        name=dataset.name,
        title=shorten(description.title or dataset.title, TITLE_MAX) or shorten(dataset.name, TITLE_MAX),
        n_obs=dataset.n_obs,
        n_var=dataset.n_var,
        problem=None if problem is None else shorten(problem, SENTENCE_MAX),
        note=None if note is None else shorten(note, SENTENCE_MAX),
        version=picture_version(dataset.fingerprint),
        embedding=_short_name(shown_embedding(dataset)) if problem is None else None,
        color_by=_short_name(color_column(dataset)),
        facts=facts_of(description.over(from_dataset(dataset))),
    )


def picture_version(fingerprint: str) -> str:
    """Shorten a fingerprint for the address of a picture."""
    return fingerprint[:_VERSION_LENGTH]


def shown_embedding(dataset: Dataset) -> str | None:
    """Name the embedding that the web client shows first; None when there is none."""
    wishes = (dataset.default_embedding, *_FAVOURITES, *dataset.embeddings[:1])
    return next((name for name in wishes if name in dataset.embeddings), None)


def color_column(dataset: Dataset) -> str | None:
    """Name the categorical column for the picture; None when none is suitable."""
    columns = [(column.name, len(column.categories)) for column in dataset.obs.columns if column.categories]
    return choose_column(columns, coloured=dataset.colors)


def _short_name(name: str | None) -> str | None:
    return None if name is None else shorten(name, NAME_MAX)


def unreadable(name: str, problem: str, description: Description = NOTHING_SAID) -> DatasetSummary:
    """Describe a dataset that cannot be opened."""
    title = shorten(description.title or name.removesuffix(".cxg"), TITLE_MAX)
    return DatasetSummary(name, title, problem=shorten(problem, SENTENCE_MAX), facts=facts_of(description))
